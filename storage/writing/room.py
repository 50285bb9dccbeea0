"""Room for every row of the catalogue, before anything is written to it."""

from collections.abc import Iterable

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.features import FeatureSpec, rows_needed
from meldflow.models.schema.media import BELIEVED_SECONDS, Modality
from meldflow.storage.format import clip_facts, layout
from meldflow.storage.format.columns import Column, ColumnTable, array_of, group_in

UNKNOWN_SECONDS = 60.0
"""Room for a clip whose header does not say how long it is. Shards that nobody fills cost nothing;
where it is too little, the next run knows better, by what this one decoded."""


def make_room(
    root: zarr.Group, spec: FeatureSpec, partition: int, seconds: NDArray[np.float64]
) -> ColumnTable:
    """The state table of an extractor, whose small arrays and frames have room for every row then.

    ``partition`` is rows per partition, ``seconds`` how long each clip may be, shape (n_rows,).
    """
    n_rows, described = len(seconds), layout.describe(spec)
    group = group_in(root, spec.name)
    if group is not None and not layout.fits(group, spec):
        # Other shapes need other arrays. Every row is stale anyway: the key differs.
        del root[spec.name]
        group = None
    if group is None:
        group = layout.create_extractor(root, spec, partition=partition)
    elif dict(group.attrs) != described:
        group.attrs.put(described)
    state = ColumnTable(group, layout.state_columns(spec))
    ragged = layout.ragged_arrays(spec)
    # First frame and number of frames of each partition's slot.
    slot_columns = [Column(f"{array.name}_slot", "int64", 0, (2,)) for array in ragged]
    slots = ColumnTable(group, slot_columns, "partition")
    state.grow(n_rows)
    slots.grow(-(-n_rows // partition))
    for array in ragged:
        frames = rows_needed(array, seconds)
        starts = np.arange(0, n_rows, partition)
        n_frames = layout.allocate_slots(slots, array, np.add.reduceat(frames, starts))
        stored = array_of(group, array.name)
        if stored.shape[0] < n_frames:
            stored.resize((n_frames, *array.shape))
    state.write(group)
    slots.write(group)
    return state


def longest(utterances: ColumnTable, facts: Iterable[ColumnTable]) -> NDArray[np.float64]:
    """How long every clip may be, seconds: by its row, its header, and what was decoded of it."""
    said, checksums = map(utterances.at, ("seconds", "clip_seconds")), utterances.at("clip_sha")
    known = [np.where(one > BELIEVED_SECONDS, np.nan, one) for one in said]
    known += [clip_facts.decoded_seconds(table, checksums) for table in facts]
    of_clip = np.isfinite(np.stack(known[1:])).any(axis=0)
    most: NDArray[np.float64] = np.nan_to_num(np.stack(known, dtype=np.float64)).max(axis=0)
    most[~of_clip] = np.maximum(most[~of_clip], UNKNOWN_SECONDS)
    return most


def lengthen(root: zarr.Group, n_rows: int) -> None:
    """Makes every array that has one entry per row as long as the catalogue, whoever runs."""
    for modality in Modality:
        extractors = group_in(root, modality)
        for _, group in extractors.groups() if extractors is not None else ():
            for _, array in group.arrays():
                dims = getattr(array.metadata, "dimension_names", None) or ("",)
                if dims[0] == "row" and array.shape[0] < n_rows:
                    array.resize((n_rows, *array.shape[1:]))
