"""Writing an export: whole, with its provenance, or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage.exports import provenance
from meldflow.storage.exports.formats import FORMATS, Advance, writer_of
from meldflow.storage.exports.selection import Selection
from meldflow.storage.places.place import place_of

PROVENANCE = "provenance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export holds."""

    format: str
    path: str
    provenance: str
    """The file that says where it comes from."""
    snapshot: str
    utterances: int
    left_out: Mapping[str, int]
    """Why rows of the store are not in it → how many."""
    extractors: Mapping[str, Mapping[str, int]]
    """Extractor → utterances that are ``ok``, ``missing`` or ``stale``."""
    reasons: Mapping[str, Mapping[str, int]]
    """Extractor → why features are missing → how many."""
    warnings: tuple[str, ...]
    n_bytes: int
    """Size on disk, bytes, without the provenance."""


def check_target(target: Path, *, store: str, format_name: str) -> None:
    """Finds out whether an export could be written to ``target``, and creates nothing.

    Raises:
        UsageError: it could not; the message says why.
    """
    writer_of(format_name)
    path = target.absolute()
    if not path.name:
        raise UsageError(f"export {target}: name a path that does not exist yet")
    for one in (path, _provenance(path, format_name)):
        if os.path.lexists(one):
            raise UsageError(f"export {one}: it exists; name a path that does not")
    if place_of(store).contains(path):
        raise UsageError(f"export {path}: it would lie inside the store; name another path")
    nearest = next(folder for folder in path.parents if os.path.lexists(folder))
    if not nearest.is_dir():
        raise UsageError(f"export {path}: {nearest} is a file; name another path")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"export {path}: {nearest} cannot be written; name another path")


def export(
    selection: Selection, *, format_name: str, target: Path, command: str, advance: Advance
) -> ExportReport:
    """Writes ``selection`` to ``target``, with a provenance file.

    Args:
        selection: what to export.
        format_name: a name in ``formats.FORMATS``.
        target: a path that does not exist; missing folders above it are made.
        command: what the user typed, for the provenance.
        advance: told of every amount done; ``selection.total`` in all.

    Raises:
        UsageError: the target exists or cannot be written, or the format cannot hold the
            selection.
        RunError: the disk failed or is full; nothing stays behind.
    """
    check_target(target, store=selection.snapshot.url, format_name=format_name)
    write, path = writer_of(format_name), target.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True
        ) as folder:
            draft = Path(folder) / path.name
            with selection.snapshot.reading():
                outcome = write(selection, draft, advance)
            files = (one for one in (draft, *draft.rglob("*")) if one.is_file())
            size = sum(one.stat().st_size for one in files)
            record = provenance.describe(outcome, format_name=format_name, command=command)
            content = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            _provenance(draft, format_name).write_text(content, encoding="utf-8")
            _publish(draft, path, format_name)
    except OSError as error:
        raise RunError(
            f"export {path}: cannot be written ({error.strerror or error}); nothing stays behind"
        ) from error
    return ExportReport(
        format=format_name,
        path=str(path),
        provenance=str(_provenance(path, format_name)),
        snapshot=record["snapshot"],
        utterances=record["utterances"]["exported"],
        left_out=record["utterances"]["left_out"],
        extractors={name: one["utterances"] for name, one in record["extractors"].items()},
        reasons={name: one["reasons"] for name, one in record["extractors"].items()},
        warnings=tuple(record["warnings"]),
        n_bytes=size,
    )


def _provenance(path: Path, format_name: str) -> Path:
    """Inside a folder, so that it moves with it; beside a file."""
    beside = path.with_name(f"{path.name}.{PROVENANCE}")
    return beside if FORMATS[format_name] else path / PROVENANCE


def _publish(draft: Path, path: Path, format_name: str) -> None:
    """The rename that makes the export appear; its provenance is there before it."""
    if os.path.lexists(path):
        raise UsageError(f"export {path}: something else has been put there meanwhile")
    if not FORMATS[format_name]:
        draft.rename(path)
        return
    beside = _provenance(path, format_name)
    _provenance(draft, format_name).rename(beside)
    try:
        draft.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
