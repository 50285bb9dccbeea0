"""What a snapshot holds and what it has to hold, as one digest per row.

The key of a row is ``(extractor, id of the utterance)``, and ``("catalogue", id)`` for what the
catalogue says of it. Two snapshots show the same if and only if their digests are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from meldflow.models.schema.features import ArraySpec, FeatureSpec, Record
from meldflow.models.schema.media import Missing, Modality
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format.catalogue import text_checksum
from meldflow.storage.format.layout import FAILED, NEVER, OK
from meldflow.storage.reading.snapshot import Snapshot
from tests.storage.corpus import expected

CATALOGUE = "catalogue"

Row: TypeAlias = tuple[str, str]
Digests: TypeAlias = dict[Row, str]

LABELS = ("speaker", "text", "emotion", "sentiment", "clip_path", "clip_size", "clip_mtime_ns")
STATE = ("status", "reason", "message", "key")


def stored_rows(snapshot: Snapshot) -> Digests:
    """The digest of every visible row of a snapshot."""
    if snapshot.is_empty:
        return {}
    rows = [*_stored_catalogue(snapshot)]
    for extractor in snapshot.extractors:
        rows += _stored_features(snapshot, extractor)
    return dict(rows)


def true_rows(utterances: Iterable[Utterance], specs: Iterable[FeatureSpec]) -> Digests:
    """The digest of every row of a data set whose features are all extracted."""
    extractors, rows = list(specs), {}
    for one in utterances:
        rows[CATALOGUE, one.id] = true_labels(one)
        rows.update({(spec.name, one.id): true_features(spec, one) for spec in extractors})
    return rows


def true_labels(one: Utterance) -> str:
    """What the catalogue has to say of an utterance."""
    clip = one.clip
    labels = (one.speaker, one.text, one.emotion, one.sentiment, clip.path)
    facts = (clip.size, clip.mtime_ns, clip.sha256, text_checksum(one.text))
    return _digest(*labels, *facts, np.array([one.seconds, clip.seconds], np.float32))


def true_features(spec: FeatureSpec, one: Utterance, *, stale: bool = False) -> str:
    """What a reader has to see of an utterance's features: of stale ones their state alone."""
    record = expected(spec, one)
    source = text_checksum(one.text) if spec.modality == Modality.TEXT else one.clip.sha256
    state: tuple[object, ...] = (OK, "", "", spec.key, source)
    if isinstance(record, Missing):
        state = (FAILED, record.reason.value, record.message, spec.key, source)
    return _digest(*state, *(_fill(a) if stale else _array(a, record) for a in spec.arrays))


def never_extracted(spec: FeatureSpec) -> str:
    """What the store holds of an utterance that an extractor was never asked for."""
    nothing = (_fill(array) for array in spec.arrays)
    return _digest(NEVER, "", "", "", bytes(32), *nothing)


def _stored_catalogue(snapshot: Snapshot) -> Iterator[tuple[Row, str]]:
    table, names = snapshot.utterances, snapshot.ids
    seconds = np.stack([table["seconds"], table["clip_seconds"]], axis=1).astype(np.float32)
    for row in snapshot.rows().tolist():
        labels = (table[name][row : row + 1].tolist()[0] for name in LABELS)
        checksums = (table[name][row].tobytes() for name in ("clip_sha", "text_sha"))
        yield (CATALOGUE, names[row]), _digest(*labels, *checksums, seconds[row])


def _stored_features(snapshot: Snapshot, extractor: str) -> Iterator[tuple[Row, str]]:
    names, state = snapshot.ids, snapshot.state(extractor)
    arrays = [_by_row(snapshot, extractor, a) for a in snapshot.attributes(extractor)["arrays"]]
    for row in snapshot.rows().tolist():
        cells = (state[name][row : row + 1].tolist()[0] for name in STATE)
        checksum = state["source_sha"][row].tobytes()
        yield (extractor, names[row]), _digest(*cells, checksum, *(one[row] for one in arrays))


def _by_row(snapshot: Snapshot, extractor: str, array: Mapping[str, Any]) -> dict[int, Any]:
    if array["rate"] is not None:
        return dict(snapshot.iter_frames(extractor, array["name"]))
    values, _ = snapshot.features(extractor, array["name"])
    return dict(zip(snapshot.rows().tolist(), values, strict=True))


def _array(array: ArraySpec, record: Record) -> Any:
    return _fill(array) if isinstance(record, Missing) else record[array.name]


def _fill(array: ArraySpec) -> Any:
    """A row without the feature: no frames, or NaN."""
    if array.rate is not None:
        return np.empty((0, *array.shape), array.dtype)
    return np.full(array.shape, np.nan, array.dtype)


def _digest(*parts: object) -> str:
    whole = hashlib.sha256()
    for part in parts:
        shape = part.shape if isinstance(part, np.ndarray) else ()
        content = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        whole.update(repr((shape, len(content))).encode() + content)
    return whole.hexdigest()
