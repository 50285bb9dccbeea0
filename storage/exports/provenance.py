"""Where an export comes from: the record that lies beside it."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from meldflow.models.schema.features import STALE
from meldflow.storage.exports.formats import Outcome
from meldflow.storage.exports.selection import Exported, Selection

LICENCES = (
    "meldflow's code is under Apache-2.0. That says nothing of the data.",
    "If the data set is MELD: its annotations (text, speaker, emotion, sentiment) are under "
    "GPL-3.0, and its clips are copyrighted footage of the series Friends. The features in this "
    "export are derived from both; find out what you may do before you pass them on.",
)

PACKAGES = ("meldflow", "icechunk", "numpy", "pyarrow", "zarr")


def describe(outcome: Outcome, *, format_name: str, command: str) -> dict[str, Any]:
    """Everything that is needed to know what an export holds and to make it again, as JSON."""
    selection = outcome.selection
    splits = selection.snapshot.utterances["split"][selection.rows]
    return {
        "format": format_name,
        "snapshot": selection.snapshot.id,
        "store": selection.snapshot.url,
        "ref": selection.ref,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "warnings": _warnings(outcome),
        "random_weights": _random_weights(selection),
        "utterances": {
            "exported": len(selection.rows),
            "by_split": dict(sorted(Counter(splits.tolist()).items())),
            "left_out": dict(selection.left_out),
        },
        "extractors": {one.name: _extractor(one, selection) for one in selection.extractors},
        "missing": _missing(selection),
        "details": dict(outcome.details),
        "licences": list(LICENCES),
        "software": {"python": platform.python_version()} | {one: version(one) for one in PACKAGES},
        "runs": _runs(selection),
    }


def _reasons(one: Exported, selection: Selection) -> Counter[str]:
    """Why exported utterances lack the extractor's feature → how many."""
    return Counter(reason for _, reason, _ in one.reasons(selection.rows))


def _random_weights(selection: Selection) -> list[str]:
    """The exported extractors whose networks have random weights."""
    random = selection.snapshot.random_weights()
    return [one.name for one in selection.extractors if one.name in random]


def _warnings(outcome: Outcome) -> list[str]:
    """What nobody should overlook, in plain sentences, the worst first."""
    selection = outcome.selection
    random = ", ".join(_random_weights(selection))
    stale = {one.name: _reasons(one, selection)[STALE] for one in selection.extractors}
    return [
        *([f"RANDOM WEIGHTS: the features of {random} mean nothing"] if random else ()),
        *(
            f"{name}: {number} stale, which count as missing; they belong to an earlier clip, text "
            "or key than the catalogue's, `meldflow extract` renews them"
            for name, number in stale.items()
            if number
        ),
        *outcome.remarks,
    ]


def _extractor(one: Exported, selection: Selection) -> dict[str, Any]:
    described = ("key", "version", "modality", "parameters", "weights", "arrays")
    why = _reasons(one, selection)
    missing = why.total()
    counts = {"ok": len(selection.rows) - missing, "missing": missing, "stale": why[STALE]}
    return {
        **{name: one.attributes[name] for name in described},
        "utterances": counts,
        "reasons": dict(why.most_common()),
    }


def _missing(selection: Selection) -> list[dict[str, str]]:
    ids = selection.snapshot.ids
    return [
        {"utterance": ids[row], "extractor": one.name, "reason": reason, "message": message}
        for one in selection.extractors
        for row, reason, message in one.reasons(selection.rows)
    ]


def _runs(selection: Selection) -> list[dict[str, Any]]:
    """The runs that made the exported features: when, and on which software and hardware."""
    states = (one.state["run"][selection.rows] for one in selection.extractors)
    made = sorted({number for state in states for number in np.unique(state).tolist()} - {-1})
    return [asdict(selection.snapshot.runs[number]) for number in made]
