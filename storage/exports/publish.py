"""Writing an export: whole, with the record of where it comes from, or not at all."""

import importlib
import json
import os
import platform
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.features import STALE
from meldflow.storage.exports.selection import Advance, Exported, Outcome, Selection
from meldflow.storage.places.place import place_of

LICENCES = (
    "meldflow's code is under Apache-2.0. That says nothing of the data.",
    "If the data set is MELD: its annotations (text, speaker, emotion, sentiment) are under "
    "GPL-3.0, and its clips are copyrighted footage of the series Friends. The features in this "
    "export are derived from both; find out what you may do before you pass them on.",
)

PACKAGES = ("meldflow", "icechunk", "numpy", "pyarrow", "zarr")


def describe(outcome: Outcome, *, format_name: str, command: str) -> dict[str, Any]:
    """Everything that is needed to know what an export holds and to make it again, as JSON."""
    selection, snapshot = outcome.selection, outcome.selection.snapshot
    splits = snapshot.utterances["split"][selection.rows]
    all_random = snapshot.random_weights()
    random = [one.name for one in selection.extractors if one.name in all_random]
    extractors = {one.name: _extractor(one, selection) for one in selection.extractors}
    return {
        "format": format_name,
        "snapshot": snapshot.id,
        "store": snapshot.url,
        "ref": selection.ref,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "warnings": [*_warnings(random, extractors), *outcome.remarks],
        "random_weights": random,
        "utterances": {
            "exported": len(selection.rows),
            "by_split": dict(sorted(Counter(splits.tolist()).items())),
            "left_out": dict(selection.left_out),
        },
        "extractors": extractors,
        "missing": [
            {"utterance": snapshot.ids[row], "extractor": one.name, "reason": why, "message": more}
            for one in selection.extractors
            for row, why, more in one.reasons(selection.rows)
        ],
        "details": dict(outcome.details),
        "licences": list(LICENCES),
        "software": {"python": platform.python_version()} | {one: version(one) for one in PACKAGES},
        "runs": _runs(selection),
    }


def _warnings(random: Collection[str], extractors: Mapping[str, Any]) -> Iterator[str]:
    """What nobody should overlook, in plain sentences, the worst first."""
    if random:
        yield f"RANDOM WEIGHTS: the features of {', '.join(random)} mean nothing"
    for name, one in extractors.items():
        if number := one["utterances"]["stale"]:
            yield (
                f"{name}: {number} stale, which count as missing; they belong to an earlier clip, "
                "text or key than the catalogue's, `meldflow extract` renews them"
            )


def _extractor(one: Exported, selection: Selection) -> dict[str, Any]:
    described = ("key", "version", "modality", "parameters", "weights", "arrays")
    why = Counter(reason for _, reason, _ in one.reasons(selection.rows))
    missing = why.total()
    counts = {"ok": len(selection.rows) - missing, "missing": missing, "stale": why[STALE]}
    return {
        **{name: one.attributes[name] for name in described},
        "utterances": counts,
        "reasons": dict(why.most_common()),
    }


def _runs(selection: Selection) -> list[dict[str, Any]]:
    """The runs that made the exported features: when, and on which software and hardware."""
    states = (one.state["run"][selection.rows] for one in selection.extractors)
    made = sorted({number for state in states for number in np.unique(state).tolist()} - {-1})
    return [asdict(selection.snapshot.runs[number]) for number in made]


Writer: TypeAlias = Callable[[Selection, Path, Advance], Outcome]

FORMATS: Mapping[str, bool] = {"zarr": False, "parquet": False, "mertools": False, "mmsa": True}
"""Name of a format, and of the module that has its ``write`` → whether that gives one file."""


def writer_of(name: str) -> Writer:
    """The function that writes a format.

    Raises:
        UsageError: there is no such format.
    """
    if name not in FORMATS:
        raise UsageError(f"format {name!r}: there are {', '.join(FORMATS)}")
    write: Writer = importlib.import_module(f"meldflow.storage.exports.{name}").write
    return write


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
        format_name: a name in ``FORMATS``.
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
            record = describe(outcome, format_name=format_name, command=command)
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
