"""One clip by meldflow and by somebody else, figure by figure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.extractors.librosa.extractor import COLUMNS, Descriptors
from meldflow.models.schema.media import Audio, Decoded, Missing, Reason, Video
from meldflow.models.weights.find import NO_WEIGHTS
from tests.bench.pitch.contours import GROSS_SHARE, Contour, agreement
from tests.bench.pitch.methods import METHODS, PRAAT, PYIN
from tests.models.inputs import media
from tests.truth import independent
from tests.truth.explained import EXPLAINED

SECONDS = 15
"""Of a clip's sound, at most so much is described twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A figure of a clip, by both."""

    clip: str
    what: str
    ours: str
    theirs: str
    agree: bool

    @property
    def reason(self) -> str:
        """Why they differ, where that is known; else empty."""
        if self.agree:
            return ""
        known = (
            why
            for name, what, why in EXPLAINED
            if fnmatch(self.clip, name) and fnmatch(self.what, what)
        )
        return next(known, "")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"reason": self.reason}


def examine(path: Path) -> Iterator[Finding]:
    """Everything that is compared of a clip."""
    ours = decode(path)
    try:
        heard, seen = independent.sound(path), independent.pictures(path)
    except (av.FFmpegError, OSError) as error:
        yield _ended(path, "the file", ours.audio, str(error))
        return
    yield from _sound(path, ours, heard)
    yield from _pictures(path, ours, seen)


def _number(path: Path, what: str, ours: float, theirs: float, within: float) -> Finding:
    return Finding(
        clip=path.name,
        what=what,
        ours=f"{ours:.6g}",
        theirs=f"{theirs:.6g}",
        agree=abs(ours - theirs) <= within or (math.isnan(ours) and math.isnan(theirs)),
    )


def _ended(
    path: Path, what: str, ours: object, theirs: str, *, agree: bool | None = None
) -> Finding:
    """What ended with a reason here; by default the others have to have none of it either."""
    said = f"{ours.reason} {ours.message}" if isinstance(ours, Missing) else "decoded"
    agree = isinstance(ours, Missing) if agree is None else agree
    return Finding(clip=path.name, what=what, ours=said, theirs=theirs, agree=agree)


def _sound(path: Path, decoded: Decoded, theirs: NDArray[np.float32] | None) -> Iterator[Finding]:
    ours = decoded.audio
    if theirs is None:
        yield _ended(path, "sound", ours, "none")
        return
    if isinstance(ours, Missing):
        peak = float(np.abs(theirs).max())
        silent = ours.reason is Reason.SILENT and peak < 1e-4
        length = f"{theirs.size / independent.RATE:.3f} s, peak {peak:.2g}"
        yield _ended(path, "sound", ours, length, agree=silent)
        return
    seconds = (ours.samples.size / independent.RATE, theirs.size / independent.RATE)
    yield _number(path, "sound: seconds", *seconds, within=0.1)
    yield from _wave(path, ours.samples, theirs)
    yield from _described(path, Audio(samples=ours.samples[: SECONDS * independent.RATE]))


def _wave(path: Path, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> Iterator[Finding]:
    """Loudness, and where the sound lies: the envelopes of 5 ms, moved until they fit best."""
    loud = [20 * math.log10(float(np.sqrt(np.mean(one**2))) + 1e-9) for one in (ours, theirs)]
    yield _number(path, "sound: level, dB", loud[0], loud[1], within=1.0)
    for name, part in (("start", slice(None, 30)), ("end", slice(-30, None))):
        size = min(ours.size, theirs.size) // 80 * 80
        one, other = (
            np.sqrt(np.mean(each[:size].reshape(-1, 80) ** 2, axis=1)) for each in (ours, theirs)
        )
        seconds = slice(*(None if at is None else 200 * at for at in (part.start, part.stop)))
        one, other = one[seconds] - one[seconds].mean(), other[seconds] - other[seconds].mean()
        fit = np.correlate(one, other, "full")
        if fit.max() <= 0:
            continue
        moved = (int(fit.argmax()) - (one.size - 1)) * 5
        yield _number(path, f"sound: late at the {name}, ms", moved, 0, within=25)
        alike = float(fit.max() / np.sqrt((one @ one) * (other @ other)))
        yield _number(path, f"sound: alike at the {name}", round(alike, 3), 1, within=0.05)


def _described(path: Path, audio: Audio) -> Iterator[Finding]:
    """Descriptors by librosa, a frame at a time, and pitch by Praat and pYIN."""
    extractor = Descriptors(weights=NO_WEIGHTS).setup()
    (record,) = extractor.extract([media(audio)])
    if isinstance(record, Missing):
        if audio.samples.size >= 400:
            yield _ended(path, "descriptors", record, "described")
        return
    found, samples = record["frames"], audio.samples
    theirs = independent.descriptors(samples)
    theirs |= {f"mfcc_{number}": theirs["mfcc"][:, number] for number in (0, 12)}
    for name in ("mfcc_0", "mfcc_12", "centroid", "zcr"):
        column, values = found[:, COLUMNS.index(name)], theirs[name]
        furthest = float(np.max(np.abs(column - values) / (1 + np.abs(values))))
        yield _number(path, f"{name}: furthest frame", furthest, 0, within=1e-3)
    yield from _pitch(path, found[:, COLUMNS.index("f0")].astype(np.float64), samples)


def _pitch(path: Path, ours: Contour, samples: NDArray[np.float32]) -> Iterator[Finding]:
    """Against Praat and pYIN, where the two agree: elsewhere nobody knows."""
    praat, pyin = METHODS[PRAAT](samples), METHODS[PYIN](samples)
    alike = np.isfinite(praat) == np.isfinite(pyin)
    alike &= ~(np.abs(praat / pyin - 1) > GROSS_SHARE)
    if alike.sum() < 50:
        return
    one = agreement(ours, praat, alike)
    yield _number(path, "voicing: share of frames that differ", one.voicing, 0, within=0.2)
    if (np.isfinite(ours) & np.isfinite(praat) & alike).sum() >= 20:
        yield _number(path, "pitch: share of gross errors", one.gross, 0, within=0.05)
        yield _number(path, "pitch: cents", one.cents, 0, within=25)


def _pictures(
    path: Path, decoded: Decoded, theirs: independent.Pictures | None
) -> Iterator[Finding]:
    ours = decoded.video
    if theirs is None:
        yield _ended(path, "pictures", ours, "none")
        return
    if isinstance(ours, Missing):
        yield _ended(path, "pictures", ours, f"{theirs.times.size} frames", agree=False)
        return
    yield _number(path, "pictures: frames", ours.n_frames, theirs.times.size, within=0)
    expected = "{}x{}".format(*theirs.size)
    size = f"{ours.frames.shape[2]}x{ours.frames.shape[1]}"
    yield Finding(
        clip=path.name, what="pictures: size", ours=size, theirs=expected, agree=size == expected
    )
    if ours.n_frames == theirs.times.size:
        yield from _frame_by_frame(path, ours, theirs)


def _frame_by_frame(path: Path, ours: Video, theirs: independent.Pictures) -> Iterator[Finding]:
    apart = np.abs(ours.curve_timestamp - theirs.times)
    if np.isfinite(apart).any():
        furthest = float(np.nanmax(apart))
        yield _number(path, "pictures: furthest time stamp, s", furthest, 0, within=0.005)
    if theirs.bits is not None:
        bits = float(np.abs(ours.curve_entropy - theirs.bits).max())
        yield _number(path, "entropy: furthest frame, bits", bits, 0, within=1e-4)
        best = np.sort(np.argsort(-theirs.bits, kind="stable")[: ours.index.size])
        yield Finding(
            clip=path.name,
            what="frames of highest entropy",
            ours=" ".join(map(str, ours.index)),
            theirs=" ".join(map(str, best)),
            agree=bool(np.array_equal(ours.index, best)),
        )
    height, width = ours.frames.shape[1:3]
    shown = independent.shown(path, ours.index.tolist(), (width, height))
    if shown.shape == ours.frames.shape:
        levels = float(np.abs(shown.astype(float) - ours.frames).mean())
        yield _number(path, "pixels: mean difference, levels of 255", levels, 0, within=4)
    else:
        yield _number(path, "pixels: frames", len(ours.frames), len(shown), within=0)
