"""What decoding a clip showed, kept beside its features: one table per modality.

The columns are the fields of the record, so that a new fact is one field. The rows are the
catalogue's; ``source_sha`` says which file the facts are of, and is zero where none was ever
decoded.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, get_type_hints

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.media import AudioFacts, Modality, VideoFacts
from meldflow.storage.format.columns import Column, ColumnTable, group_of
from meldflow.storage.format.layout import FACTS

if TYPE_CHECKING:
    import pandas as pd

Facts: TypeAlias = AudioFacts | VideoFacts

RECORDS: Mapping[Modality, type[Facts]] = {
    Modality.AUDIO: AudioFacts,
    Modality.VIDEO: VideoFacts,
}

_SOURCE = Column("source_sha", "uint8", 0, (32,))
_STORED = {str: "str", int: "int64", float: "float64", bool: "bool"}
"""Python type of a field → dtype of its column."""


def _names(modality: Modality) -> list[str]:
    return [one.name for one in dataclasses.fields(RECORDS[modality])]


def fact_columns(modality: Modality) -> tuple[Column, ...]:
    """The columns of a modality's table."""
    record = RECORDS[modality]
    types = get_type_hints(record)
    fields = dataclasses.fields(record)
    # A row without facts, or of a release without that fact, holds the field's own default.
    columns = (Column(one.name, _STORED[types[one.name]], one.default) for one in fields)
    return (*columns, _SOURCE)


def make_room(root: zarr.Group, modality: Modality, n_rows: int) -> ColumnTable:
    """The modality's table, created where it is not there, grown to ``n_rows``."""
    group = root.require_group(f"{FACTS}/{modality}")
    table = ColumnTable(group, fact_columns(modality))
    table.grow(n_rows)
    table.write(group)
    return table


def put(table: ColumnTable, facts: Mapping[int, Facts], checksums: NDArray[np.uint8]) -> None:
    """Sets the facts of rows, whose clips have these checksums, shape (n_facts, 32)."""
    records = [dataclasses.asdict(one) for one in facts.values()]
    values = {name: [record[name] for record in records] for name in records[0]}
    table.put(list(facts), values | {"source_sha": checksums})


def decoded_seconds(table: ColumnTable, checksums: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Seconds of every clip that were decoded, gaps and a late start included, shape (n_rows,).

    NaN where none was of the clip as it is now; ``checksums`` are those, shape (n_rows, 32).
    """
    seconds = table.at("seconds") + np.nan_to_num(np.maximum(table.at("start"), 0.0))
    if "gaps" in table:
        seconds = seconds + table.at("gaps")
    current = (table.at("source_sha") == checksums).all(axis=1) & checksums.any(axis=1)
    return np.where(current, seconds, np.nan)


def clip_table(
    root: zarr.Group, utterances: ColumnTable, rows: NDArray[np.int64], ids: Sequence[str]
) -> "pd.DataFrame":
    """What decoding showed of the clips of ``rows``, indexed by ``ids``; see ``Snapshot.clips``."""
    import pandas as pd

    index = pd.Index(ids, name="utterance")
    shown = pd.DataFrame({"clip": utterances["clip_path"][rows]}, index=index)
    checksums = utterances["clip_sha"][rows]
    for modality in RECORDS:
        stored = ColumnTable(group_of(root, f"{FACTS}/{modality}"), fact_columns(modality))
        source = stored["source_sha"][rows]
        decoded = (source == checksums).all(axis=1) & source.any(axis=1)
        held = {name: stored[name][rows[decoded]].tolist() for name in _names(modality)}
        facts = pd.DataFrame(held, index=index[decoded])
        rows_of = (dict(zip(held, one, strict=True)) for one in zip(*held.values(), strict=True))
        facts["damage"] = [RECORDS[modality](**one).damage for one in rows_of]
        shown = shown.join(facts.add_prefix(f"{modality}_"))
    return shown
