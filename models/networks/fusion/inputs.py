"""From stored features to the network's inputs: sequences, speakers and dialogues."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from meldflow.models.judging.protocols import Ledger
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.scaling import finite

SOMEBODY = 0
"""Number of every speaker without a vector of their own."""
_BLOCK = 32
"""Utterances standardised at a time: as float32 they stay in a processor's cache."""
_LEARNED = 512
"""Utterances that a scaler sees at a time: f16 frames must not all become f64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One modality of every row: a sequence of vectors, of one where it has no frames."""

    values: NDArray[np.floating[Any]]
    """Standardised, finite, shape (n, steps, width), float16 or float32; 0 where undefined."""
    steps: NDArray[np.intp]
    """How many of its steps each row has, the first ones; 0 where it has none, shape (n,)."""

    def mean(self) -> NDArray[np.float32]:
        """The mean of each row's steps, shape (n, width); 0 where it has none."""
        found = np.zeros((len(self.values), self.values.shape[2]), dtype=np.float32)
        for row, steps in enumerate(self.steps.tolist()):
            if steps:
                found[row] = self.values[row, :steps].mean(axis=0, dtype=np.float32)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the network sees of a table."""

    streams: Mapping[str, Stream]
    """Modality → its sequences."""
    speaker: NDArray[np.intp]
    """Number of each row's speaker, ``SOMEBODY`` for the rare ones, shape (n,)."""
    speakers: tuple[str, ...]
    """Names of the speakers numbered from 1."""
    dialogues: tuple[NDArray[np.intp], ...]
    """Rows of each dialogue, in the order in which they were said."""
    scalers: Mapping[str, StandardScaler]
    """Array → its fitted scaler; an array without a single fit row has none."""

    def flat(self) -> NDArray[np.float32]:
        """Each stream averaged over its steps, side by side: what an SVM without a network sees."""
        return np.concatenate([stream.mean() for stream in self.streams.values()], axis=1)

    def shaped_like(self, shapes: Mapping[str, tuple[int, int]]) -> Self:
        """The same with exactly the modalities of ``shapes``; one that is not here is missing."""
        n = len(self.speaker)
        none = {
            name: Stream(values=np.zeros((n, *shape), np.float32), steps=np.zeros(n, np.intp))
            for name, shape in shapes.items()
        }
        return replace(self, streams={name: self.streams.get(name, none[name]) for name in shapes})

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Modality → most steps of a row, and length of a step's vector."""
        return {name: stream.values.shape[1:] for name, stream in self.streams.items()}


def prepare(
    table: FeatureTable, rows: NDArray[np.intp], ledger: Ledger, config: FusionConfig
) -> Inputs:
    """Inputs of every row of ``table``; scalers and the list of speakers see ``rows`` only.

    Each fitted scaler is entered into the ledger, and so are the speakers.

    Raises:
        LeakError: ``rows`` holds a row outside the protocol's fit split.
    """
    scalers = {
        path: scaler
        for paths in table.arrays.values()
        for path in paths
        if path in table.features
        if (scaler := _scaler(path, _sequence(table, path), rows, ledger)) is not None
    }
    speakers: tuple[str, ...] = ()
    if config.speaker_width:
        known = ledger.enter("fit", "speakers with a vector of their own", rows)
        speakers = frequent(table.speaker[known], config.speaker_share)
    return assemble(table, scalers, speakers, config.longest)


def assemble(
    table: FeatureTable,
    scalers: Mapping[str, StandardScaler],
    speakers: tuple[str, ...],
    longest: int,
) -> Inputs:
    """Inputs of every row, from what was fitted before; nothing is learned here."""
    number = {name: i for i, name in enumerate(speakers, start=1)}
    streams = {m: _stream(table, paths, scalers) for m, paths in table.arrays.items()}
    return Inputs(
        streams={name: stream for name, stream in streams.items() if stream is not None},
        speaker=np.array([number.get(name, SOMEBODY) for name in table.speaker], dtype=np.intp),
        speakers=speakers,
        dialogues=tuple(dialogues(table, longest)),
        scalers=scalers,
    )


def frequent(speakers: NDArray[Any], share: float) -> tuple[str, ...]:
    """Who speaks at least ``share`` of the rows, in the order of their names."""
    names, counts = np.unique(speakers, return_counts=True)
    return tuple(names[counts >= max(share * len(speakers), 1)].tolist())


def dialogues(table: FeatureTable, longest: int) -> Iterator[NDArray[np.intp]]:
    """Rows of each dialogue in the order of its utterances, at most ``longest`` at a time."""
    order = np.lexsort((table.utterance, table.dialogue, table.split))
    key = [(table.split[row], table.dialogue[row]) for row in order]
    for _, group in groupby(range(len(order)), key=key.__getitem__):
        rows = order[list(group)]
        yield from (rows[i : i + longest] for i in range(0, len(rows), longest))


def _sequence(table: FeatureTable, path: str, last: bool = False) -> NDArray[Any]:
    """The array ``path`` as one sequence per row, shape (n, steps, width); see ``table.taken``."""
    values = table.taken(path) if last else table.features[path]
    steps = values.shape[1] if path in table.sequences else 1
    return values.reshape(len(values), steps, int(np.prod(values.shape[1:])) // max(steps, 1))


def _scaler(
    path: str, values: NDArray[Any], rows: NDArray[np.intp], ledger: Ledger
) -> StandardScaler | None:
    """Mean and deviation of ``values`` over all steps of ``rows``; None if they have none."""
    usable = rows[_steps(values)[rows] > 0]
    if not len(usable):
        return None
    scaler = StandardScaler()
    ledger.enter("fit", f"StandardScaler({path})", usable)
    for start in range(0, len(usable), _LEARNED):
        steps = finite(values[usable[start : start + _LEARNED]]).reshape(-1, values.shape[2])
        # A column without any value keeps a NaN mean, so that it is 0 in every row.
        with np.errstate(invalid="ignore"):
            scaler.partial_fit(steps[np.isfinite(steps).any(axis=1)])
    return scaler


def _stream(
    table: FeatureTable, paths: Sequence[str], scalers: Mapping[str, StandardScaler]
) -> Stream | None:
    """The arrays of a modality side by side; None if not one of them was ever seen."""
    held = [path for path in paths if path in scalers]
    # What is said of a clip as a whole adds nothing to its frames.
    held = [path for path in held if path in table.sequences] or held
    if not held:
        return None
    shapes = [_sequence(table, path).shape for path in held]
    n, most = len(table), max(steps for _, steps, _ in shapes)
    begins = np.cumsum([0, *(width for *_, width in shapes)]).tolist()
    dtype = np.float16 if all(steps > 1 for _, steps, _ in shapes) else np.float32
    found, steps = np.zeros((n, most, begins[-1]), dtype), np.zeros(n, np.intp)
    for path, place in zip(held, map(slice, begins, begins[1:]), strict=True):
        values = _sequence(table, path, last=True)
        _standardise(values, scalers[path], found[:, : values.shape[1], place])
        np.maximum(steps, _steps(values), out=steps)
    return Stream(values=found, steps=steps)


def _standardise(
    values: NDArray[Any], scaler: StandardScaler, found: NDArray[np.floating[Any]]
) -> None:
    """Puts scaled ``values`` into ``found``, 0 where there is none, shape (n, steps, width)."""
    mean, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    for start in range(0, len(values), _BLOCK):
        scaled = finite(values[start : start + _BLOCK])
        scaled -= mean
        scaled /= scale
        np.clip(scaled, -_FAR, _FAR, out=scaled)
        scaled[np.isnan(scaled)] = 0
        found[start : start + _BLOCK] = scaled


_FAR = 30.0
"""Deviations from the mean where a value is cut: what lies further out is a defect."""


def _steps(values: NDArray[Any]) -> NDArray[np.intp]:
    """Steps of each row up to the last one that holds a number, shape (n,)."""
    n, steps, _ = values.shape
    valid = np.zeros((n, steps), dtype=bool)
    for start in range(0, n, _BLOCK):
        valid[start : start + _BLOCK] = np.isfinite(values[start : start + _BLOCK]).any(axis=2)
    last = steps - valid[:, ::-1].argmax(axis=1)
    return np.where(valid.any(axis=1), last, 0).astype(np.intp)
