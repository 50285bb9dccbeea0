"""A pinned snapshot becomes the table that training reads."""

import time
from collections import Counter
from collections.abc import Collection
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
from meldflow.models.schema.features import ArraySpec, parted
from meldflow.models.schema.utterances import EMOTION, TARGETS
from meldflow.storage import Snapshot


def load_table(
    snapshot: Snapshot,
    network: str = "reference",
    modalities: Collection[str] = tuple(MODALITY_ARRAYS),
    target: str = EMOTION.name,
) -> FeatureTable:
    """What ``network`` reads of all active utterances that have a label, in memory.

    Nothing else is read from the store. Sound comes as ``meldflow.models.judging.table.segments``;
    ``target`` names what the labels are of, in ``meldflow.models.schema.utterances.TARGETS``.

    Raises:
        UsageError: the labels are not there for any utterance.
    """
    started = time.perf_counter()
    attributes = {name: snapshot.attributes(name) for name in snapshot.extractors}
    held = {
        f"{name}/{array['name']}" for name, one in attributes.items() for array in one["arrays"]
    }
    arrays = wanted(network, modalities, held)
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
        features={path: _read(snapshot, path, spec, labelled) for path, spec in specs.items()},
        columns={path: tuple(spec.columns) for path, spec in specs.items()},
        parameters={name: attributes[name]["parameters"] for name in sorted(used)},
        missing={
            name: dict(Counter(filter(None, snapshot.lacking(name, rows).tolist())).most_common())
            for name in sorted(used)
        },
        undefined={path for path, one in specs.items() if one.may_be_nan or one.rate is not None},
        arrays=arrays,
        target=TARGETS[target],
        unlabelled=len(active) - len(rows),
        seconds=time.perf_counter() - started,
    )


def _read(
    snapshot: Snapshot, path: str, spec: ArraySpec, labelled: NDArray[np.bool_]
) -> NDArray[Any]:
    """One array of the labelled active rows, frames as segments, NaN where there is none."""
    if spec.rate is None:
        return snapshot.features(*parted(path))[0][labelled]
    place = np.cumsum(labelled) - 1
    found = np.empty((int(labelled.sum()), SEGMENTS, *spec.shape), dtype=np.float16)
    for active, (_, frames) in enumerate(snapshot.iter_frames(*parted(path))):
        if labelled[active]:
            found[place[active]] = segments(frames)
    return found
