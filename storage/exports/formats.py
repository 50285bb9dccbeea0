"""The formats by name.

Nothing of a format is imported before it is asked for, so that pyarrow costs nobody else a
start.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from meldflow.models.schema.errors import UsageError
from meldflow.storage.exports.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a format made of a selection, beyond writing it as it is."""

    selection: Selection
    """What was written: the selection, or what is left of it where the format cannot hold all."""
    remarks: tuple[str, ...] = ()
    """What a reader could take for something else, in plain sentences."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for the provenance: how the format's arrays were made."""


Advance: TypeAlias = Callable[[int], None]
Writer: TypeAlias = Callable[[Selection, Path, Advance], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format: who writes it, and whether that gives one file or a folder."""

    writer: str
    """``module:function``; the function is a ``Writer``."""
    is_file: bool = False

    def load(self) -> Writer:
        """The function that writes it."""
        writer: Writer = pkgutil.resolve_name(self.writer)
        return writer


FORMATS: Mapping[str, Format] = {
    "zarr": Format(writer="meldflow.storage.exports.zarr:write"),
    "parquet": Format(writer="meldflow.storage.exports.parquet:write"),
    "mmsa": Format(writer="meldflow.storage.exports.mmsa:write", is_file=True),
}


def format_called(name: str) -> Format:
    """The format called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"format {name!r}: there are {', '.join(FORMATS)}")
    return FORMATS[name]
