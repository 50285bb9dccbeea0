"""How far what is computed agrees with what it stands for.

Pitch: YIN, the default, against the dearer pYIN and against known pitch, on tones, on the voices of
the demo and, if a file is given, on real speech. Networks: every backend and precision that runs
here against single precision by torch.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Media, Missing
from meldflow.tasks.demo import voice
from meldflow.tasks.demo.cast import LEADS
from meldflow.tasks.demo.emotions import STYLES, blend
from tests.bench.agreement.pitch import (
    RATE,
    Compared,
    Heard,
    compare_pitch,
    frame_centres,
    tones,
    warm_up,
)
from tests.bench.agreement.precision import Computed, computed
from tests.bench.clips.material import material

VOICE_SECONDS = 3.0
"""Of each voice."""
OPEN = 0.2
"""How far the mouth has to be open for a frame of a voice to count as voiced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What the bench found."""

    pitch: tuple[Compared, ...]
    """By kind of sound."""
    networks: tuple[Computed, ...]
    """By network, backend and precision."""
    weights: str
    """Those of the networks: ``pretrained``, ``random`` or a path."""

    @property
    def lowest_cosine(self) -> float | None:
        """Of all rows of all networks; None where none ran."""
        found = (deviation.lowest for one in self.networks for deviation in one.deviations)
        return min(found, default=None)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; shares of nothing are null."""
        values: dict[str, Any] = _without_nan(asdict(self) | {"lowest_cosine": self.lowest_cosine})
        return values


def fidelity(
    directory: Path | None,
    *,
    clips: int,
    weights: str,
    speech: Path | None,
    say: Callable[[str], None],
) -> Fidelity:
    """Compares the methods for pitch, and the networks.

    Args:
        directory: where the clips are that the networks get; None: some of the demo are made.
        clips: how many of them; the networks are left out if it is 0.
        weights: of the networks: ``pretrained``, ``random`` or a path.
        speech: a clip or a sound file of real speech.
        say: told what is being done.

    Raises:
        UsageError: ``speech``, the clips or the weights cannot be used.
    """
    heard = None if speech is None else _speech(speech)
    networks: tuple[Computed, ...] = ()
    if clips:
        networks = tuple(computed(_media(directory, clips, say), weights, say))
    return Fidelity(pitch=_pitch(heard, say), networks=networks, weights=weights)


def _media(directory: Path | None, clips: int, say: Callable[[str], None]) -> list[Media]:
    """What is seen and heard in the clips."""
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as folder:
        several = material(directory, clips, Path(folder), say)
        decoded = [decode(one.clip) for one in several]
    media = [Media(audio=one.audio, video=one.video, text="") for one in decoded]
    for name in ("audio", "video"):
        if all(isinstance(getattr(one, name), Missing) for one in media):
            raise UsageError(f"clips {directory}: none of the {clips} has usable {name}")
    return media


def _pitch(heard: Heard | None, say: Callable[[str], None]) -> tuple[Compared, ...]:
    say("compiling")
    warm_up()
    pitch = []
    for name, sounds in (*tones(), *_voices()):
        say(f"pitch: {name}")
        pitch.append(compare_pitch(name, sounds))
    if heard is not None:
        say("pitch: speech")
        pitch.append(compare_pitch("speech", [heard]))
    return tuple(pitch)


def _speech(file: Path) -> Heard:
    """The sound of a file, of which nobody knows the pitch."""
    if not file.is_file():
        raise UsageError(f"speech {file}: is no file")
    audio = decode(file, video=False).audio
    if isinstance(audio, Missing):
        raise UsageError(f"speech {file}: {audio.reason} {audio.message}")
    return Heard(samples=audio.samples)


def _voices() -> Iterator[tuple[str, list[Heard]]]:
    """Every lead of the demo in one emotion after the other, alone: no room, no music."""
    for emotion in STYLES:
        rng = np.random.default_rng(0)
        style = blend(STYLES, {emotion: 1.0})
        count = round(VOICE_SECONDS * style.rate)
        spoken = (voice.speak(speaker, style, count, VOICE_SECONDS, rng) for speaker in LEADS)
        yield f"demo's voices, {emotion}", [_heard(one) for one in spoken]


def _heard(spoken: voice.Voice) -> Heard:
    """A voice and its pitch, where the mouth is clearly open, or shut for all of a frame."""
    samples = soxr.resample(spoken.samples, voice.RATE, RATE).astype(np.float32)
    centres = np.round(frame_centres(samples.size) * (voice.RATE / RATE)).astype(np.int64)
    around = np.arange(-300, 300)  # a frame of 400 samples at RATE
    places = np.clip(centres[:, None] + around, 0, len(spoken.envelope) - 1)
    mouth = spoken.envelope[places]
    opened, shut = (mouth >= OPEN).all(axis=1), (mouth == 0).all(axis=1)
    truth: NDArray[np.float64] = np.where(opened, spoken.pitch[centres], np.nan)
    return Heard(samples=samples, truth=truth, judged=opened | shut)


def _without_nan(value: Any) -> Any:
    """Without what JSON does not have, and no more digits than mean something."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
