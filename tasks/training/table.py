"""A pinned snapshot becomes the table that training reads."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.judging.table import (
    MODALITY_ARRAYS,
    SEGMENTS,
    FeatureTable,
    extractor_of,
    segments,
    wanted,
)
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import parted
from meldflow.models.schema.utterances import EMOTION, TARGETS
from meldflow.storage import Snapshot


def load_table(
    snapshot: Snapshot,
    network: str = "reference",
    modalities: Collection[str] = tuple(MODALITY_ARRAYS),
    target: str = EMOTION.name,
    *,
    extractors: Collection[str] = (),
    once: bool = False,
) -> FeatureTable:
    """What ``network`` reads of all active utterances that have a label, in memory.

    Nothing else is read from the store. Sound comes as ``meldflow.models.judging.table.segments``;
    ``target`` names what the labels are of, in ``meldflow.models.schema.utterances.TARGETS``;
    ``extractors`` those to read, where they are not meldflow's own.

    Raises:
        UsageError: the labels are not there for any utterance.
    """
    started = time.perf_counter()
    bare = outline(snapshot, network, modalities, target, extractors)
    labelled = np.asarray(snapshot.utterances[target][snapshot.rows()] != "")
    features = {path: _read(snapshot, path, labelled) for path in bare.covered}
    seconds = time.perf_counter() - started
    return replace(bare, features=features, covered={}, seconds=seconds, once=once)


def outline(
    snapshot: Snapshot,
    network: str,
    modalities: Collection[str],
    target: str,
    extractors: Collection[str] = (),
) -> FeatureTable:
    """The table of ``load_table`` without its features; it is known who was said to have them.

    Raises:
        UsageError: the labels are not there for any utterance, or see ``table.wanted``; or of one
            modality sequences are asked for beside single vectors.
    """
    started = time.perf_counter()
    attributes = {name: snapshot.attributes(name) for name in snapshot.extractors}
    held = {
        f"{name}/{array['name']}" for name, one in attributes.items() for array in one["arrays"]
    }
    arrays = wanted(network, modalities, held, extractors)
    paths = [path for some in arrays.values() for path in some]
    used = set(map(extractor_of, paths)) & set(attributes)
    active, table = snapshot.rows(), snapshot.utterances
    labelled = np.asarray(table[target][active] != "")
    rows = active[labelled]
    if not len(rows):
        raise UsageError(
            f"no utterance of snapshot {snapshot.id} has {TARGETS[target].one} to learn from"
        )
    specs = {path: snapshot.array_spec(*parted(path)) for path in paths if path in held}
    sequences = {path for path, one in specs.items() if one.is_sequence}
    for modality, some in arrays.items() if extractors else ():
        if 0 < len(sequences & {*some}) < len(some):
            raise UsageError(
                f"{modality}: {', '.join(some)} are sequences and single vectors, which do not go "
                "together; leave one kind out"
            )
    return FeatureTable(
        snapshot=snapshot.id,
        store=snapshot.url,
        keys={name: attributes[name]["key"] for name in sorted(used)},
        weights={name: attributes[name]["weights"]["kind"] for name in sorted(used)},
        split=table["split"][rows].astype(str),
        dialogue=table["dialogue"][rows],
        utterance=table["utterance"][rows],
        speaker=table["speaker"][rows].astype(str),
        text=table["text"][rows],
        label=table[target][rows].astype(str),
        features={},
        covered={path: snapshot.lacking(parted(path)[0], rows) == "" for path in specs},
        columns={path: tuple(spec.columns) for path, spec in specs.items()},
        parameters={name: attributes[name]["parameters"] for name in sorted(used)},
        missing={
            name: dict(Counter(filter(None, snapshot.lacking(name, rows).tolist())).most_common())
            for name in sorted(used)
        },
        sequences=sequences,
        checkpoints={name: attributes[name]["weights"].get("model", "") for name in sorted(used)},
        undefined={path for path, one in specs.items() if one.may_be_nan or one.rate is not None},
        arrays=arrays,
        target=TARGETS[target],
        unlabelled=len(active) - len(rows),
        seconds=time.perf_counter() - started,
    )


def _read(snapshot: Snapshot, path: str, labelled: NDArray[np.bool_]) -> NDArray[Any]:
    """One array of the labelled active rows, frames as segments, NaN where there is none."""
    spec = snapshot.array_spec(*parted(path))
    if spec.rate is None:
        return snapshot.features(*parted(path))[0][labelled]
    place = np.cumsum(labelled) - 1
    found = np.empty((int(labelled.sum()), SEGMENTS, *spec.shape), dtype=np.float16)
    for active, (_, frames) in enumerate(snapshot.iter_frames(*parted(path))):
        if labelled[active]:
            found[place[active]] = segments(frames)
    return found
