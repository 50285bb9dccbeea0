"""The formats by name.

Nothing of a format is imported before it is asked for, so that pyarrow costs nobody else a
start.
"""

from __future__ import annotations

import importlib
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


FORMATS: Mapping[str, bool] = {"zarr": False, "parquet": False, "mmsa": True}
"""Name of a format, and of the module that has its ``write`` → whether that gives one file."""


def writer_of(name: str) -> Writer:
    """The function that writes a format.

    Raises:
        UsageError: there is no such format.
    """
    if name not in FORMATS:
        raise UsageError(f"format {name!r}: there are {', '.join(FORMATS)}")
    writer: Writer = importlib.import_module(f"meldflow.storage.exports.{name}").write
    return writer
