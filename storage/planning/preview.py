"""What a run would do, told without doing it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format import layout
from meldflow.storage.format.catalogue import CatalogueChange, merge_catalogue
from meldflow.storage.format.columns import ColumnTable
from meldflow.storage.format.tables import (
    partition_of,
    refuse_other_data,
    state_table,
    utterance_table,
)
from meldflow.storage.places import location
from meldflow.storage.places.branches import root_of
from meldflow.storage.places.place import place_of
from meldflow.storage.planning.plan import Plan, plan
from meldflow.storage.planning.unpublished import resumable


def preview(
    url: str,
    specs: Sequence[FeatureSpec],
    utterances: Sequence[Utterance],
    *,
    partition: int = 64,
    retry: Collection[str] = (),
) -> tuple[CatalogueChange, Plan]:
    """What a run would do, without a lock and without writing anything.

    Args:
        url: the store; it need not be there.
        specs: the extractors whose features are wanted.
        utterances: what the data set holds now.
        partition: utterances per partition, where there is no store yet.
        retry: reasons of failures that are worth another try.

    Raises:
        UsageError: the store cannot be read, or holds another data set, or see ``resumable``.
    """
    tables: dict[str, ColumnTable] = {}
    catalogue = ColumnTable.empty(layout.UTTERANCE_COLUMNS)
    if location.exists(url):
        repository = location.open_repository(url)
        with place_of(url).explained("cannot be read"):
            branch = resumable(repository, url, specs) or "main"
            root = root_of(repository, branch)
            partition = partition_of(root)
            catalogue = utterance_table(root)
            tables = {spec.name: state_table(root, spec) for spec in specs}
    else:
        place_of(url).check_vacant()
    refuse_other_data(url, catalogue, utterances)
    change = merge_catalogue(catalogue, utterances)
    for spec in specs:
        state = tables.setdefault(spec.name, ColumnTable.empty(layout.state_columns(spec)))
        state.grow(len(catalogue))
    return change, plan(catalogue, tables, specs, partition=partition, retry=retry)
