"""What it saves, and what it changes, to choose frames among those alone that others refer to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import EVERY, REFERENCE, DecodeOptions
from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Media, Missing, Reason, Video
from tests.bench.agreement.precision import cosines
from tests.paths import DATA
from tests.real import CONTAINERS, FILMS

DEMO = next(one for one in CONTAINERS if one.suffix == ".mp4")
ROUNDS = 3
"""Of decoding; the fastest counts."""
_NONE = Missing(reason=Reason.NO_AUDIO, message="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One clip, decoded both ways."""

    name: str
    codec: str
    frames: int
    candidates: int
    """Frames that others refer to."""
    same: float
    """Share of the frames that are chosen either way."""
    cosine: float
    """Of the means over the chosen frames' features."""
    all_ms: float
    """CPU of decoding and choosing among all frames, milliseconds; without the sound."""
    reference_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Medians:
    """Over the clips."""

    same: float
    cosine: float
    chance: float
    """Cosine of two different clips: what it starts from with these weights."""
    saved: float
    """Share of the CPU time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What the bench found; clips in which nothing is passed over are not among them."""

    clips: tuple[Clip, ...]
    untouched: int
    """Clips whose frames are all referred to."""
    medians: Medians
    weights: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"clips": [asdict(one) for one in self.clips]}


def candidates(places: Sequence[Path], say: Callable[[str], None], *, weights: str) -> Candidates:
    """Chooses frames among all and among those that others refer to.

    Args:
        places: clips, or folders of them; none: the real clips that are here.
        say: told what is being done.
        weights: of ResNet-50: ``pretrained``, ``random`` or a path.

    Raises:
        UsageError: no clip has pictures to pass over, or the weights cannot be used.
    """
    (plain,) = registry.build(["video/resnet50"], {}, weights)
    network = replace(plain, computing=Computing()).setup()
    pairs = list(_pairs(places, say))
    passed = [one for one in pairs if one[1].video.n_frames < one[0].video.n_frames]
    if not passed:
        raise UsageError("candidates: no clip here has pictures that nothing refers to")
    ours, theirs = (
        np.stack([_mean(network, one.video) for one in way]) for way in zip(*passed, strict=True)
    )
    near = cosines(ours, theirs)
    clips = tuple(_clip(*pair, cosine) for pair, cosine in zip(passed, near.tolist(), strict=True))
    return Candidates(
        clips=clips,
        untouched=len(pairs) - len(passed),
        medians=Medians(
            same=statistics.median(one.same for one in clips),
            cosine=float(np.median(near)),
            chance=float(np.median(cosines(ours, np.roll(ours, 1, axis=0)))),
            saved=statistics.median(1 - one.reference_ms / one.all_ms for one in clips),
        ),
        weights=weights,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A clip, decoded one way."""

    name: str
    codec: str
    video: Video
    ms: float


def _pairs(places: Sequence[Path], say: Callable[[str], None]) -> Iterator[tuple[_Seen, _Seen]]:
    """Every clip that has pictures: chosen among all, and among those that others refer to."""
    for path in _files(places or (DATA / "clips", *FILMS, DEMO)):
        say(path.name)
        found = [_seen(path, DecodeOptions(candidates=one)) for one in (EVERY, REFERENCE)]
        whole, part = found
        if whole is not None and part is not None:
            yield whole, part


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if not place.exists():
            continue
        yield from sorted(filter(Path.is_file, place.rglob("*"))) if place.is_dir() else [place]


def _seen(path: Path, options: DecodeOptions) -> _Seen | None:
    """None where there are no pictures."""
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        decoded = decode(path, options, audio=False)
        spent.append(time.process_time() - began)
    video, facts = decoded.video, decoded.video_facts
    if isinstance(video, Missing) or facts is None:
        return None
    return _Seen(name=path.name, codec=facts.codec, video=video, ms=round(1000 * min(spent), 1))


def _mean(network: Extractor, video: Video) -> NDArray[np.float64]:
    (record,) = network.extract([Media(audio=_NONE, video=video, text="")])
    assert not isinstance(record, Missing)
    mean: NDArray[np.float64] = np.nanmean(record["features"].astype(np.float64), axis=0)
    return mean


def _clip(whole: _Seen, part: _Seen, cosine: float) -> Clip:
    chosen = set(whole.video.timestamp.tolist())
    return Clip(
        name=whole.name,
        codec=whole.codec,
        frames=whole.video.n_frames,
        candidates=part.video.n_frames,
        same=len(chosen & set(part.video.timestamp.tolist())) / len(chosen),
        cosine=cosine,
        all_ms=whole.ms,
        reference_ms=part.ms,
    )
