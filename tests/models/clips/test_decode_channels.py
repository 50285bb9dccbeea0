"""Channels that cancel each other: the voice is heard all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.media import Film, Track, noise, write
from tests.models.clips.decoding import MONO, facts, loudest_hertz, sound

OPPOSITE = {"pcm_s16le": 0.0, "pcm_f32le": 0.002, "aac": 0.0, "mp3": 0.0, "libopus": 0.002}
"""Codec of a clip whose right is the opposite of its left → what a microphone adds to each."""


@pytest.mark.parametrize("codec", OPPOSITE)
def test_of_channels_that_cancel_each_other_the_loudest_is_heard(
    tmp_path: Path, codec: str
) -> None:
    stereo = np.concatenate([0.95 * MONO, -MONO])
    stereo += np.random.default_rng(0).normal(0, OPPOSITE[codec], stereo.shape).astype(np.float32)
    track = Track(samples=stereo, layout="stereo", codec=codec)
    path = write(tmp_path / "a.mkv", [track, Film(frames=noise(25))])
    audio, (heard, seen) = sound(path), facts(path)
    assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.03)
    assert loudest_hertz(audio.samples) == pytest.approx(440, abs=2)
    assert (heard.only_channel, seen.frames_decoded) == (1, 25)


@pytest.mark.parametrize("right", [0.0, 0.5, -0.5, 1.0])
def test_channels_that_do_not_cancel_are_mixed(tmp_path: Path, right: float) -> None:
    stereo = Track(samples=np.concatenate([MONO, right * MONO]), layout="stereo", codec="flac")
    path = write(tmp_path / "a.mkv", [stereo])
    peak = float(np.abs(sound(path).samples[1000:-1000]).max())
    assert peak == pytest.approx(0.25 * (1 + right), abs=0.005)
    assert facts(path)[0].only_channel == -1


def test_the_voice_of_the_case_is_heard(clip: Callable[[str], Path]) -> None:
    ours, upright = sound(clip("inverted.mp4")).samples, sound(clip("upright.mp4")).samples
    assert np.corrcoef(ours, upright)[0, 1] > 0.99
