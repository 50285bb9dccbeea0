"""A pinned snapshot becomes the table that training reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from models.table import MODALITY_ARRAYS, FeatureTable
from storage import Snapshot
from storage.layout import FAILED


def load_table(snapshot: Snapshot) -> FeatureTable:
    """The features of all active utterances with an emotion that the models use, in memory."""
    paths = [path for paths in MODALITY_ARRAYS.values() for path in paths]
    held = [path for path in paths if path.rpartition("/")[0] in snapshot.extractors]
    active, table = snapshot.rows(), snapshot.utterances
    labelled = np.asarray(table["emotion"][active] != "")
    rows = active[labelled]
    attributes = {name: snapshot.attributes(name) for name in snapshot.extractors}
    features, columns = {}, {}
    for path in held:
        extractor, _, name = path.rpartition("/")
        features[path] = snapshot.features(extractor, name)[0][labelled]
        array = next(one for one in attributes[extractor]["arrays"] if one["name"] == name)
        columns[path] = tuple(array["columns"])
    return FeatureTable(
        snapshot=snapshot.id,
        store=snapshot.url,
        keys={name: one["key"] for name, one in attributes.items()},
        weights={name: one["weights"]["kind"] for name, one in attributes.items()},
        split=table["split"][rows].astype(str),
        dialogue=table["dialogue"][rows],
        utterance=table["utterance"][rows],
        speaker=table["speaker"][rows].astype(str),
        text=table["text"][rows],
        emotion=table["emotion"][rows].astype(str),
        features=features,
        columns=columns,
        missing={name: _reasons(snapshot, name, rows) for name in snapshot.extractors},
        unlabelled=len(active) - len(rows),
    )


def _reasons(snapshot: Snapshot, extractor: str, rows: NDArray[np.int64]) -> dict[str, int]:
    state = snapshot.state(extractor)
    failed = rows[np.asarray(state["status"][rows] == FAILED)]
    return dict(Counter(state["reason"][failed].tolist()).most_common())
