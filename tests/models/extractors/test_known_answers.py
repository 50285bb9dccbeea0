"""Clips whose features are known beforehand, from the file to the record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.librosa.extractor import COLUMNS
from meldflow.models.schema.features import Features
from meldflow.models.schema.media import Media, Missing, Reason
from tests.media import Film, Track, noise, tone, write
from tests.models.inputs import NOTHING

Ready = Callable[[str], Extractor]

BITS = (0, 3, 7, 1, 5, 2, 6, 6, 4, 0, 3, 5, 7, 1, 4, 2, 5, 3, 6, 4, 1, 0, 2, 5, 4)
"""Entropy of each frame. Two frames have 7 bits, three 6, four 5; of the four with 4, one is
left to take, and the first of them is frame 8."""
CHOSEN = (2, 4, 6, 7, 8, 11, 12, 16, 18, 23)


def record(extractor: Extractor, path: Path) -> Features | Missing:
    decoded = decode(path)
    media = Media(audio=decoded.audio, video=decoded.video, text=NOTHING)
    (found,) = extractor.extract([media])
    return found


def described(ready: Ready, path: Path) -> dict[str, NDArray[np.float32]]:
    """The acoustic descriptors by name, without the frames at the edges."""
    found = record(ready("audio/librosa"), path)
    assert not isinstance(found, Missing)
    return dict(zip(COLUMNS, found["frames"][3:-3].T, strict=True))


def equally_often(bits: int, seed: int) -> NDArray[np.uint8]:
    """A gray picture of 48 x 64 pixels in which 2**bits levels are equally common.

    They are two apart, so that they stay apart if the range of luma is narrowed.
    """
    gray = np.arange(48 * 64) % 2**bits * 2
    np.random.default_rng(seed).shuffle(gray)
    return np.repeat(gray.reshape(48, 64, 1), 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("pixels", ["gray", "yuv420p", "yuv444p"])
def test_the_frames_of_highest_entropy(ready: Ready, tmp_path: Path, pixels: str) -> None:
    frames = np.stack([equally_often(bits, seed) for seed, bits in enumerate(BITS)])
    film = Film(frames=frames, codec="ffv1", pixels=pixels, rate=25)
    found = record(ready("video/resnet50"), write(tmp_path / "a.mkv", [film]))
    assert not isinstance(found, Missing)
    assert tuple(found["frame_index"]) == CHOSEN
    np.testing.assert_allclose(found["entropy"], [BITS[i] for i in CHOSEN], atol=1e-6)
    np.testing.assert_allclose(found["timestamp"], np.array(CHOSEN) / 25, atol=1e-3)
    assert found["n_frames"] == 25


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.wav", "pcm_s16le", 16000), ("a.mp4", "aac", 48000), ("a.mkv", "flac", 44100)],
)
@pytest.mark.parametrize("hertz", [110, 220, 440])
def test_a_tone(ready: Ready, tmp_path: Path, name: str, codec: str, rate: int, hertz: int) -> None:
    track = Track(samples=tone(hertz, 2.0, rate)[None], rate=rate, codec=codec)
    found = described(ready, write(tmp_path / name, [track]))
    assert found["voiced"].all()
    np.testing.assert_allclose(found["f0"], hertz, rtol=0.01)
    assert np.mean(found["rms"]) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert np.mean(found["zcr"]) == pytest.approx(2 * hertz / 16000, rel=0.05)


@pytest.mark.parametrize("bpm", [90, 120, 150])
def test_a_click_track(ready: Ready, tmp_path: Path, bpm: int) -> None:
    samples = np.random.default_rng(0).normal(0, 1e-3, 10 * 48000).astype(np.float32)
    for begin in np.arange(0, 9.9, 60 / bpm):
        samples[round(begin * 48000) :][:480] += tone(1000, 0.01)
    path = write(tmp_path / "a.mp4", [Track(samples=samples[None])])
    found = record(ready("audio/librosa"), path)
    assert not isinstance(found, Missing)
    assert found["tempo"] == pytest.approx(bpm, rel=0.03)


@pytest.mark.parametrize("level", [0.0, 5e-5])
def test_silence_is_a_reason_and_does_not_cost_the_pictures(
    ready: Ready, tmp_path: Path, level: float
) -> None:
    hum = (level * np.sign(tone(50, 1.0)))[None].astype(np.float32)
    streams: list[Film | Track] = [Film(frames=noise(3)), Track(samples=hum, codec="pcm_f32le")]
    path = write(tmp_path / "a.mkv", streams)
    for name in ("audio/librosa", "audio/wav2vec2"):
        found = record(ready(name), path)
        assert isinstance(found, Missing)
        assert found.reason is Reason.SILENT
    assert not isinstance(record(ready("video/resnet50"), path), Missing)
