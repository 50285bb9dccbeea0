"""Pitch on real speech, beside Praat's, and on what is no voice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.extractors.grid import frames_in
from meldflow.models.extractors.librosa import pitch as module
from meldflow.models.extractors.librosa.extractor import COLUMNS, Descriptors
from meldflow.models.extractors.librosa.pitch import autocorrelation
from meldflow.models.schema.media import Audio, Missing
from meldflow.models.weights.find import NO_WEIGHTS
from tests.bench.pitch.contours import agreement
from tests.bench.pitch.methods import METHODS, OURS, PRAAT, PYIN
from tests.bench.pitch.sounds import noise as noise_of
from tests.models.inputs import media
from tests.paths import DATA
from tests.real import SENTENCE

CASES = DATA / "cases"
SPEECH = (
    SENTENCE,
    *sorted((DATA / "clips").glob("LipNet__*.mpg")),
    DATA / "clips/whisper__jfk.flac",
)


def sound(path: Path) -> NDArray[np.float32]:
    if not path.exists():
        pytest.skip(f"no {path}")
    audio = decode(path, video=False).audio
    assert not isinstance(audio, Missing)
    return audio.samples


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_real_speech_as_praat_and_pyin_hear_it(path: Path) -> None:
    samples = sound(path)
    f0 = {name: method(samples) for name, method in METHODS.items()}
    everything = np.ones(frames_in(samples.size), np.bool_)
    apart = agreement(f0[PYIN], f0[PRAAT], everything).voicing
    for reference in (PRAAT, PYIN):
        one = agreement(f0[OURS], f0[reference], everything)
        assert one.gross <= 0.05, reference
        assert one.voicing <= apart + 0.03, reference
        assert one.cents <= 25, reference
    voiced = f0[OURS][~np.isnan(f0[OURS])]
    assert 60 <= voiced.min() <= voiced.max() <= 600


@pytest.mark.parametrize(("fmin", "fmax"), [(60, 600), (75, 300), (180, 190), (32, 4000)])
def test_never_outside_its_range(fmin: float, fmax: float) -> None:
    rng = np.random.default_rng(0)
    for samples in (sound(SENTENCE), rng.normal(0, 0.1, 16000), rng.normal(0, 1, 16000).cumsum()):
        f0 = autocorrelation(samples.astype(np.float32), 16000, fmin, fmax)
        voiced = f0[~np.isnan(f0)]
        assert ((voiced >= fmin) & (voiced <= fmax)).all()


def tone_then(noise: NDArray[np.float64]) -> NDArray[np.float32]:
    """A second of a harmonic tone of 110 Hz, then a second of noise as loud."""
    moments = np.arange(16000) / 16000
    tone = sum((np.sin(2 * np.pi * 110 * k * moments) / k for k in range(1, 10)), 0 * moments)
    return np.concatenate([0.1 * tone / tone.std(), 0.1 * noise / noise.std()]).astype(np.float32)


def second(**band: float) -> NDArray[np.float64]:
    """A second of noise of a band."""
    return noise_of(16000, np.random.default_rng(0), **band)


@pytest.mark.parametrize(
    "noise",
    [second(), second(slope=1), second(low=3000), second(low=5, high=55, slope=2)],
    ids=["white", "pink", "fricative", "rumble"],
)
def test_a_tone_is_voiced_and_noise_is_not(noise: NDArray[np.float64]) -> None:
    f0 = autocorrelation(tone_then(noise), 16000, 60, 600)
    tone, after = f0[2:47], f0[52:]
    np.testing.assert_allclose(tone, 110, rtol=0.003)
    assert np.isfinite(after).mean() <= 0.03


def test_the_tone_before_pink_noise_of_the_published_case() -> None:
    f0 = autocorrelation(sound(CASES / "vowel-then-pink.wav"), 16000, 60, 600)
    assert np.nanmax(f0) == pytest.approx(110, rel=0.01)
    assert np.isfinite(f0).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("offset", [0.01, -0.3])
def test_a_constant_changes_nothing_but_itself(
    ready: Callable[[str], Descriptors], offset: float
) -> None:
    samples = sound(SENTENCE)
    without, with_it = (
        described(ready("audio/librosa"), samples + one) for one in (0.0, np.float32(offset))
    )
    np.testing.assert_allclose(with_it, without, rtol=0.01, atol=0.02)


def test_the_published_case_of_a_constant(ready: Callable[[str], Descriptors]) -> None:
    extractor = ready("audio/librosa")
    without, with_it = (described(extractor, sound(CASES / f"dc{n}.wav")) for n in (0, 1))
    for name in ("f0", "voiced", "zcr", "centroid"):
        one, other = (np.nanmean(each[:, COLUMNS.index(name)]) for each in (without, with_it))
        assert other == pytest.approx(one, rel=0.01), name


def described(extractor: Descriptors, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    (record,) = extractor.extract([media(Audio(samples=samples))])
    assert not isinstance(record, Missing)
    return np.asarray(record["frames"])


def test_chunks_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = sound(SENTENCE)
    whole = autocorrelation(samples, 16000, 60, 600)
    monkeypatch.setattr(module, "_CHUNK", 7)
    np.testing.assert_array_equal(autocorrelation(samples, 16000, 60, 600), whole)


@pytest.mark.parametrize("level", [1e-3, 50.0])
def test_loudness_changes_nothing(level: float) -> None:
    samples = sound(SENTENCE)
    np.testing.assert_allclose(
        autocorrelation(np.float32(level) * samples, 16000, 60, 600),
        autocorrelation(samples, 16000, 60, 600),
        rtol=1e-4,
    )


@pytest.mark.parametrize("samples", [np.zeros(400), np.ones(8000), np.eye(1, 8000, 4000)[0]])
def test_what_repeats_nothing_has_no_pitch(samples: NDArray[np.float64]) -> None:
    assert np.isnan(autocorrelation(samples.astype(np.float32), 16000, 60, 600)).all()


def test_what_lies_above_half_a_slow_rate_says_nothing(
    ready: Callable[[str], Descriptors],
) -> None:
    """Sound of 8 kHz holds nothing above 4 kHz but what its resampler leaves there."""
    soxr = pytest.importorskip("soxr")
    slow = soxr.resample(sound(SENTENCE), 16000, 8000)
    best, quick = (
        described(ready("audio/librosa"), soxr.resample(slow, 8000, 16000, quality))
        for quality in ("VHQ", "MQ")
    )
    for number in range(13, 25):
        column = COLUMNS.index(f"mfcc_{number}")
        assert np.corrcoef(best[:, column], quick[:, column])[0, 1] > 0.95, number


def test_methods_are_asked_by_name() -> None:
    extractor = Descriptors(weights=NO_WEIGHTS)
    assert extractor.spec.parameters["f0"] == "autocorrelation"
    assert replace(extractor, f0="pyin").spec.parameters["f0"] == "pyin"
    with pytest.raises(ValueError, match="known: autocorrelation, pyin"):
        replace(extractor, f0="yin")  # type: ignore[arg-type]
