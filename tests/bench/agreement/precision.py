"""How far the networks' features move with the backend and the precision.

What is compared is what a store would hold, float16 rows included, row by row with those of torch
in fp32. Loads networks; torch is imported by the extractors, late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors import registry
from meldflow.models.running.computing import BACKENDS, PRECISIONS, Computing
from meldflow.models.running.hardware import release_memory
from meldflow.models.schema.features import Record
from meldflow.models.schema.media import Media, Missing

ARRAYS = {"audio/wav2vec2": ("frames", "mean"), "video/resnet50": ("features",)}
"""Extractor → arrays whose rows, along the last axis, are compared."""

PROMISED = 0.999
"""The least cosine of a row that is held to be the same feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One array of an extractor against the same by torch in fp32."""

    array: str
    rows: int
    lowest: float
    """Cosine of the worst row."""
    percentile: float
    """Cosine that 1 % of the rows stay below."""
    median: float
    """Cosine of half of the rows."""
    largest: float
    """Largest absolute difference of a value."""
    chance: float
    """Median cosine of two different rows of the reference: what cosines start from here. NaN of a
    single row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What a network gave as it was computed here."""

    extractor: str
    backend: str
    precision: str
    refusal: str = ""
    """Why it does not run here; empty if it does."""
    deviations: tuple[Deviation, ...] = ()


def computed(
    media: Sequence[Media], weights: str, say: Callable[[str], None], device: str = "cpu"
) -> Iterator[Computed]:
    """Every network in every way that runs here, and why the others do not.

    Args:
        media: what the networks get.
        weights: ``pretrained``, ``random`` or a path.
        say: told what is being done.
        device: what they run on; the reference always runs on the CPU.

    Raises:
        UsageError: the weights are not there.
    """
    for extractor in ARRAYS:
        say(f"{extractor}: {Computing()} on the CPU")
        reference = _rows(extractor, weights, Computing(), media, "cpu")
        for backend, precision in product(BACKENDS, PRECISIONS):
            computing = Computing(backend=backend, precision=precision)
            say(f"{extractor}: {computing}")
            try:
                rows = _rows(extractor, weights, computing, media, device)
            except _RefusedError as refused:
                yield Computed(
                    extractor=extractor,
                    backend=backend,
                    precision=precision,
                    refusal=str(refused),
                )
                continue
            yield Computed(
                extractor=extractor,
                backend=backend,
                precision=precision,
                deviations=tuple(
                    deviation(name, found, reference[name]) for name, found in rows.items()
                ),
            )


def deviation(array: str, found: NDArray[np.float64], reference: NDArray[np.float64]) -> Deviation:
    """Compares rows with rows, both of shape (n_rows, size)."""
    alike, n = cosines(found, reference), len(reference)
    others = cosines(np.roll(reference, n // 2, axis=0), reference)
    return Deviation(
        array=array,
        rows=len(found),
        lowest=float(alike.min()),
        percentile=float(np.quantile(alike, 0.01)),
        median=float(np.median(alike)),
        largest=float(np.abs(found - reference).max()),
        chance=float(np.median(others)) if n > 1 else float("nan"),
    )


def cosines(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row, of two arrays of shape (n_rows, size)."""
    products: NDArray[np.float64] = np.einsum("ij,ij->i", ours, theirs)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.asarray(products / lengths)


class _RefusedError(Exception):
    """A network does not run in this way on this machine."""


def _rows(
    name: str, weights: str, computing: Computing, media: Sequence[Media], device: str
) -> dict[str, NDArray[np.float64]]:
    """Array → its rows of all clips that have any, shape (n_rows, size).

    Raises:
        _RefusedError: it does not run in this way here.
    """
    if refusal := computing.refusal(device):
        raise _RefusedError(refusal)
    (plain,) = registry.build([name], {}, weights)
    extractor = replace(plain, computing=computing)
    try:
        records = extractor.setup(device).extract(media)
    except RuntimeError as error:  # torch says so of an operation that it lacks
        raise _RefusedError(str(error).strip().partition("\n")[0]) from error
    finally:
        release_memory()
    return {array: rows_of(records, array) for array in ARRAYS[name]}


def rows_of(records: Sequence[Record], array: str) -> NDArray[np.float64]:
    """The rows of all records that are not masked."""
    parts = [one[array] for one in records if not isinstance(one, Missing)]
    return unmasked(np.concatenate([one.reshape(-1, one.shape[-1]) for one in parts]))


def unmasked(values: NDArray[Any]) -> NDArray[np.float64]:
    """Rows along the last axis without those that hold a NaN, shape (n_rows, size)."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    return np.asarray(rows[~np.isnan(rows).any(axis=1)])
