"""A snapshot as labelled, lazily loaded xarray objects."""

from typing import Any, Self

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.namedarray.parallelcompat import guess_chunkmanager

from meldflow.models.schema.features import ArraySpec
from meldflow.storage.format import layout
from meldflow.storage.format.arrays import RaggedArray, read_span
from meldflow.storage.format.axes import UTTERANCE, Axes, FrameAxis, axes_of, described, entries
from meldflow.storage.reading.pinned import Pinned


class _Pieces:
    """Parts of a stored array, one after another, as an array: of Dask, each is a chunk.

    What is asked for at once is never of two pieces.
    """

    def __init__(self, values: zarr.Array[Any], bounds: NDArray[np.int64]) -> None:
        """The pieces of ``values`` between ``bounds``, shape (n_pieces, 2): first and last + 1."""
        self.sizes = bounds[:, 1] - bounds[:, 0]
        self.shape = (int(self.sizes.sum()), *values.shape[1:])
        self.dtype, self.ndim = values.dtype, values.ndim
        self._values, self._ends = values, np.cumsum(self.sizes)
        self._moved = bounds[:, 1] - self._ends

    @classmethod
    def of(cls, array: RaggedArray) -> Self:
        """The frames of all rows in their order; those of a partition lie together."""
        rows = np.flatnonzero(array.row_size)
        starts, stops = array.start[rows], array.start[rows] + array.row_size[rows]
        apart = starts[1:] != stops[:-1]
        first, last = np.insert(apart, 0, True), np.append(apart, True)
        kept = slice(len(rows))  # none of none
        bounds = np.stack([starts[first[kept]], stops[last[kept]]], axis=1)
        return cls(array.values, bounds)

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        wanted = entries(self.shape[0], key[0])
        if not wanted.size:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *key[1:])]
        low, high = int(wanted.min()), int(wanted.max())
        moved = int(self._moved[np.searchsorted(self._ends, low, side="right")])
        block, begin = read_span(self._values, low + moved, high + moved + 1)
        return block[(wanted + moved - begin, *key[1:])]


LABELS = {
    "split": {},
    "dialogue": {"long_name": "number of the dialogue in its split"},
    "number": {"long_name": "number of the utterance in its dialogue"},
    "name": {},
    "speaker": {},
    "text": {"long_name": "what is said"},
    "emotion": {},
    "sentiment": {},
    "clip_seconds": {"long_name": "length of the clip by its header", "units": "s"},
}
"""Columns of the catalogue that label every utterance of a data set → their attributes."""

COLUMN_OF = {"number": "utterance"}
"""Label → its column, where that has another name: ``utterance`` is the id."""


def dataset(pinned: Pinned, extractor: str) -> xr.Dataset:
    """The arrays of ``extractor`` with the labels of their utterances: ``Snapshot.dataset``."""
    attributes = pinned.attributes(extractor)
    specs = layout.array_specs(attributes)
    stored = {name: pinned.array(extractor, name) for name in specs}
    sizes = {name: one.row_size for name, one in stored.items() if isinstance(one, RaggedArray)}
    axes = axes_of(specs.values(), sizes)
    labels = _labels(pinned, extractor) | _coordinates(axes)
    told = {name: value for name, value in attributes.items() if name != "arrays"}
    found = xr.Dataset(
        {name: _variable(pinned, extractor, spec, axes) for name, spec in specs.items()},
        {name: value for name, value in labels.items() if name not in specs},
        {**told, "store": pinned.url, "snapshot": pinned.id, "Conventions": "CF-1.12"},
    )
    # No silent zeros: numbers of frames and the like become floats, NaN where there is none.
    fixed = [one for one in specs.values() if one.rate is None]
    stale = pinned.stale(extractor).any()  # else floats are NaN already where there is none
    masked = [one.name for one in fixed if stale or np.dtype(one.dtype).kind in "iu"]
    return found.assign({name: found[name].where(found["present"]) for name in masked})


def tree(pinned: Pinned) -> xr.DataTree:
    """The data sets of all extractors, each at its own name: ``Snapshot.tree``."""
    nodes = {name: dataset(pinned, name) for name in pinned.extractors}
    # The labels are with each extractor: the root's ``text`` is the modality.
    root = xr.Dataset(attrs={"store": pinned.url, "snapshot": pinned.id})
    return xr.DataTree.from_dict({"/": root, **nodes})


def _variable(pinned: Pinned, extractor: str, spec: ArraySpec, axes: Axes) -> xr.Variable:
    """An array of the extractor, in chunks that are read by one request each."""
    stored, dims = pinned.array(extractor, spec.name), axes.dims[spec.name]
    if isinstance(stored, RaggedArray):
        pieces = _Pieces.of(stored)
    else:
        n_rows = len(pinned.utterances)
        starts = np.arange(0, n_rows, pinned.partition)
        stops = np.minimum(starts + pinned.partition, n_rows)
        pieces = _Pieces(stored.values, np.stack([starts, stops], axis=1))
    chunks = tuple(pieces.sizes.tolist()) or (0,)
    named = f"{pinned.id}/{extractor}/{spec.name}"
    return xr.Variable(dims, _lazy(pieces, (chunks, *spec.shape), named), described(spec))


def _lazy(array: Any, chunks: Any, name: Any) -> Any:
    """The array as one of Dask's, by which xarray computes later."""
    return guess_chunkmanager("dask").from_array(array, chunks, name=name, fancy=False)


def _labels(pinned: Pinned, extractor: str) -> dict[str, xr.Variable]:
    """What is known of every utterance of the store, and of its feature."""
    table, lacking = pinned.utterances, pinned.lacking(extractor)
    columns = {name: (table[COLUMN_OF.get(name, name)], told) for name, told in LABELS.items()}
    columns |= {
        "active": (table["active"] == 1, {"long_name": "is in the data set"}),
        "present": (lacking == "", {"long_name": "has the feature"}),
        "stale": (
            pinned.stale(extractor),
            {"long_name": "is of an earlier clip, text or extractor"},
        ),
        "reason": (lacking, {"long_name": "why the feature is missing"}),
        "message": (pinned.state(extractor)["message"], {}),
        UTTERANCE: (np.array(pinned.ids, dtype=object), {"long_name": "id of the utterance"}),
    }
    return {name: xr.Variable((UTTERANCE,), *one) for name, one in columns.items()}


def _coordinates(axes: Axes) -> dict[str, xr.Variable]:
    """Names along the dimensions, and where the frames of every utterance lie."""
    found = {}
    for name, dim, values, told in axes.coordinates():
        held = _lazy(values, "auto", None) if isinstance(values, FrameAxis) else values
        found[name] = xr.Variable((dim,), held, told)
    return found
