"""The dimensions that arrays of one extractor share, by the names that its spec gives them.

A data set and an export name them alike: ``utterance``, and what ``ArraySpec.dims`` say, such as
``keyframe`` or ``descriptor``. Ragged arrays have CF's contiguous ragged form: along ``frame`` lie
the frames of all utterances without gaps, and ``frame_row_size`` says how many of them each has.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec

UTTERANCE = "utterance"
"""The dimension of everything that an utterance has one of, and its coordinate: the ids."""


def entries(n: int, key: int | slice) -> NDArray[np.int64]:
    """Which of ``n`` entries a key names."""
    return np.arange(*key.indices(n)) if isinstance(key, slice) else np.asarray(key)


class FrameAxis:
    """The dimension along which the frames of all utterances lie, one after another.

    As an array, which Dask reads by stretches, it is when every frame begins, seconds from the
    start of its clip.
    """

    dtype, ndim = np.dtype(np.float64), 1

    def __init__(self, rate: float, row_size: NDArray[np.int64]) -> None:
        """``rate``: frames per second. ``row_size``: frames of every utterance."""
        self.rate, self.row_size = rate, row_size
        self.offset = np.cumsum(row_size) - row_size
        """Every utterance's first frame, shape (n_utterances,)."""
        self.shape = (int(row_size.sum()),)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[np.float64]:
        frames = entries(*self.shape, *key)
        owner = np.searchsorted(self.offset + self.row_size, frames, side="right")
        return np.asarray((frames - self.offset[owner]) / self.rate)


@dataclass(slots=True, kw_only=True)
class Axes:
    """The dimensions of an extractor's arrays."""

    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Array → names of its dimensions, the first of them ``utterance`` or a frame axis."""
    frames: dict[str, FrameAxis] = field(default_factory=dict)
    """Dimension → what lies along it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Dimension → its length, where it is no frame axis."""
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Dimension → names along it, where somebody named them."""

    def coordinates(self) -> Iterator[tuple[str, str, NDArray[Any] | FrameAxis, dict[str, str]]]:
        """Variables that tell of the dimensions: name, dimension, values, attributes.

        A frame axis stands for the values of ``<axis>_time``.
        """
        for dim, names in self.labels.items():
            yield dim, dim, np.array(names, dtype=object), {}
        for dim, axis in self.frames.items():
            number = {"long_name": f"number of {dim}s of the utterance", "sample_dimension": dim}
            yield f"{dim}_row_size", UTTERANCE, axis.row_size, number
            first = {"long_name": f"first {dim} of the utterance"}
            yield f"{dim}_offset", UTTERANCE, axis.offset, first
            when = f"when the {dim} begins, from the start of the clip"
            yield f"{dim}_time", dim, axis, {"long_name": when, "units": "s"}

    def frame(self, dim: str, otherwise: str, rate: float, row_size: NDArray[np.int64]) -> str:
        """The axis of such frames: ``dim``, or ``otherwise`` where that is of other frames."""
        held = self.frames.get(dim)
        alike = held and held.rate == rate and np.array_equal(held.row_size, row_size)
        if not alike and (held or dim in self.sizes):
            dim = otherwise
        self.frames[dim] = FrameAxis(rate, row_size)
        return dim

    def inner(self, dim: str, otherwise: str, size: int, labels: tuple[str, ...]) -> str:
        """The axis of that size and labels: ``dim``, or ``otherwise`` where that is another."""
        held = self.labels.get(dim, labels) or labels
        alike = self.sizes.get(dim, size) == size and labels in ((), held)
        if not alike or dim in self.frames:
            dim, held = otherwise, labels
        self.sizes[dim] = size
        self.labels |= {dim: held} if held else {}
        return dim


def axes_of(specs: Iterable[ArraySpec], row_sizes: Mapping[str, NDArray[np.int64]]) -> Axes:
    """The dimensions of ``specs``; of two that are named alike and differ, the second is renamed.

    Args:
        specs: the arrays of one extractor.
        row_sizes: ragged array → frames of every utterance, shape (n_utterances,).
    """
    arrays, axes = tuple(specs), Axes()
    reserved = {UTTERANCE, *(one.name for one in arrays)}
    for array in arrays:
        own = [f"{array.name}_{dim}" for dim in array.dims]  # nobody else's
        pairs = zip(array.dims, own, strict=True)
        wished = [other if dim in reserved else dim for dim, other in pairs]
        first = UTTERANCE
        if array.rate is not None:
            first = axes.frame(wished.pop(0), own.pop(0), array.rate, row_sizes[array.name])
        names = ((),) * (len(own) - 1) + (array.columns,)
        axes.dims[array.name] = (first, *map(axes.inner, wished, own, array.shape, names))
    return axes


def described(array: ArraySpec) -> dict[str, str]:
    """The attributes by which xarray labels an array and its figures."""
    told = {"long_name": array.long_name, "units": array.units}
    return {name: value for name, value in told.items() if value}
