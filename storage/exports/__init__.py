"""Exports: a pinned snapshot in formats that need neither Icechunk nor meldflow.

A new format is one file with a ``write`` and one line in ``publish.FORMATS``.
"""

from meldflow.storage.exports.publish import FORMATS, ExportReport, check_target, export
from meldflow.storage.exports.selection import Selection, select

__all__ = ["FORMATS", "ExportReport", "Selection", "check_target", "export", "select"]
