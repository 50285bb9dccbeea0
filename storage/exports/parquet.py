"""Parquet: one file per extractor and ``utterances.parquet``, which pandas reads.

A row is an utterance, a row group is a partition. A fixed-size array is a column of fixed-size
lists, a ragged one a column of lists of them. Where an utterance lacks the feature, the value is
null, which is neither NaN nor an empty list.
"""

import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec
from meldflow.storage.exports.selection import Advance, Exported, Outcome, Selection
from meldflow.storage.format.arrays import FeatureArray, RaggedArray
from meldflow.storage.format.axes import UTTERANCE, described

_TEXT = ("status", "reason", "message", "key")
"""Columns of few distinct values; a dictionary of feature values would only cost space."""


def write(selection: Selection, target: Path, advance: Advance) -> Outcome:
    """Writes the files; one partition of one extractor is in memory at a time."""
    target.mkdir()
    columns = selection.utterances()
    pq.write_table(pa.table(_columns(columns)), target / "utterances.parquet", compression="zstd")
    for one in selection.extractors:
        path = target / f"{one.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        _extractor(path, one, selection, advance)
    return Outcome(selection=selection)


def _extractor(path: Path, one: Exported, selection: Selection, advance: Advance) -> None:
    description = json.dumps({**one.attributes, "snapshot": selection.snapshot.id})
    schema = _schema(one).with_metadata({"meldflow": description})
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=list(_TEXT)) as writer:
        for rows in selection.partitions():
            table = pa.table(_partition(one, rows, selection.snapshot.ids), schema=schema)
            writer.write_table(table, row_group_size=len(rows))
            advance(len(rows) * len(one.arrays))


def _schema(one: Exported) -> pa.Schema:
    text = [pa.field(name, pa.string(), nullable=False) for name in (UTTERANCE, *_TEXT)]
    masks = [pa.field(name, pa.bool_(), nullable=False) for name in ("stale", "present")]
    features = [
        pa.field(array.spec.name, _type(array.spec), metadata=described(array.spec))
        for array in one.arrays
    ]
    return pa.schema([*text, *masks, *features])


def _type(spec: ArraySpec) -> pa.DataType:
    fixed = reduce(pa.list_, reversed(spec.shape), pa.from_numpy_dtype(spec.dtype))
    return fixed if spec.rate is None else pa.list_(fixed)


def _partition(one: Exported, rows: NDArray[np.int64], ids: list[str]) -> dict[str, pa.Array]:
    lacking = ~one.has(rows)
    features = {array.spec.name: _feature(array, rows, lacking) for array in one.arrays}
    named = np.array([ids[row] for row in rows.tolist()], dtype=object)
    return _columns({UTTERANCE: named, **one.columns(rows)}) | features


def _columns(columns: Mapping[str, NDArray[Any]]) -> dict[str, pa.Array]:
    types = {name: pa.string() for name, values in columns.items() if values.dtype == object}
    return {name: pa.array(values, types.get(name)) for name, values in columns.items()}


def _feature(array: FeatureArray, rows: NDArray[np.int64], lacking: NDArray[np.bool_]) -> pa.Array:
    values = array.gather(rows)
    if not isinstance(array, RaggedArray):
        return _fixed(values, array.spec, lacking)
    ends = np.concatenate([[0], np.cumsum(array.row_size[rows])]).astype(np.int32)
    frames = _fixed(values, array.spec, np.zeros(len(values), bool))
    return pa.ListArray.from_arrays(pa.array(ends), frames, mask=pa.array(lacking))


def _fixed(values: NDArray[Any], spec: ArraySpec, lacking: NDArray[np.bool_]) -> pa.Array:
    """Values of shape (n, *shape) as n nested lists, null where ``lacking``, shape (n,)."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if not spec.shape:
        return pa.array(flat, mask=lacking)
    nested = pa.array(flat)
    for size in reversed(spec.shape[1:]):
        nested = pa.FixedSizeListArray.from_arrays(nested, size)
    return pa.FixedSizeListArray.from_arrays(nested, spec.shape[0], mask=pa.array(lacking))
