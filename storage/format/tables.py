"""The small tables of a store's root, as a run and a plan read them."""

from __future__ import annotations

from collections.abc import Sequence

import zarr

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format import layout
from meldflow.storage.format.catalogue import ids
from meldflow.storage.format.columns import ColumnTable, group_of


def refuse_other_data(store: str, catalogue: ColumnTable, utterances: Sequence[Utterance]) -> None:
    """A store follows one data set: another one would mark everything as removed.

    Raises:
        UsageError: none of the store's utterances is in the data set.
    """
    active = {name for name, on in zip(ids(catalogue), catalogue["active"], strict=True) if on}
    if active and active.isdisjoint(one.id for one in utterances):
        raise UsageError(
            f"store {store}: none of its {len(active)} utterances is in this data set "
            f"(it holds {min(active)}, for one); name another --store"
        )


def partition_of(root: zarr.Group) -> int:
    """Utterances per partition, fixed when the store was created."""
    return int(root.attrs["partition"])  # type: ignore[arg-type]


def utterance_table(root: zarr.Group) -> ColumnTable:
    """The catalogue; without rows where nothing was ever published."""
    if layout.UTTERANCES in root:
        return ColumnTable.read(group_of(root, layout.UTTERANCES), layout.UTTERANCE_COLUMNS)
    return ColumnTable.empty(layout.UTTERANCE_COLUMNS)


def state_table(root: zarr.Group, spec: FeatureSpec) -> ColumnTable:
    """The extractor's state; no rows where its arrays are not there or have to be made anew."""
    columns = layout.state_columns(spec)
    if spec.name not in root or not layout.fits(group_of(root, spec.name), spec):
        return ColumnTable.empty(columns)
    return ColumnTable.read(group_of(root, spec.name), columns)
