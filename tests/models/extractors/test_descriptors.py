from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.grid import frames_in
from meldflow.models.extractors.librosa.extractor import COLUMNS, STATS, Descriptors, statistics
from meldflow.models.extractors.librosa.pitch import PITCH
from meldflow.models.schema.features import Features
from meldflow.models.schema.media import Audio, Missing, Reason
from meldflow.models.weights.find import NO_WEIGHTS
from tests.media import tone
from tests.models.inputs import SPOKEN, media, real, speech
from tests.truth.independent import descriptors as by_librosa

Ready = Callable[[str], Extractor]


def described(extractor: Extractor, samples: NDArray[np.float32]) -> Features:
    (record,) = extractor.extract([media(Audio(samples=samples))])
    assert not isinstance(record, Missing), record
    return record


def column(record: Features, name: str) -> NDArray[Any]:
    values: NDArray[Any] = record["frames"][:, COLUMNS.index(name)]
    return values


@pytest.fixture(scope="module")
def extractor(ready: Ready) -> Extractor:
    return ready("audio/librosa")


def test_columns() -> None:
    assert COLUMNS[:2] == ("mfcc_0", "mfcc_1")
    assert COLUMNS[24:] == ("mfcc_24", "centroid", "zcr", "f0", "voiced", "rms")
    stats = Descriptors(weights=NO_WEIGHTS).spec.array("stats").columns
    assert stats[:8] == (*(f"mfcc_0_{stat}" for stat in STATS), "mfcc_1_mean")
    assert len(stats) == 210


@settings(max_examples=30, deadline=None)
@given(n=st.integers(400, 20000))
def test_as_many_frames_as_wav2vec2(extractor: Extractor, n: int) -> None:
    assert described(extractor, speech(n).samples)["frames"].shape == (frames_in(n), 30)


def test_a_click_is_in_the_frames_that_wav2vec2_sees_it_in(extractor: Extractor) -> None:
    for position in (0, 399, 5000, 8000):
        samples = np.zeros(16000, np.float32)
        samples[position] = 0.5
        seen = [i for i in range(frames_in(16000)) if 320 * i <= position < 320 * i + 400]
        record = described(extractor, samples)
        assert np.flatnonzero(column(record, "rms")).tolist() == seen
        # The window's first and last samples weigh next to nothing, hence a subset.
        loud = np.flatnonzero(column(record, "mfcc_0") > column(record, "mfcc_0").min() + 1)
        assert set(loud.tolist()) <= set(seen)


def test_tone(extractor: Extractor) -> None:
    record = described(extractor, tone(220, 2.0, 16000))
    inner = slice(3, -3)
    np.testing.assert_allclose(column(record, "f0")[inner], 220, rtol=0.01)
    assert column(record, "voiced")[inner].all()
    np.testing.assert_allclose(column(record, "rms")[inner], 0.5 / np.sqrt(2), rtol=0.05)
    np.testing.assert_allclose(column(record, "zcr")[inner], 2 * 220 / 16000, atol=0.003)
    assert np.median(column(record, "centroid")) == pytest.approx(220, abs=60)


def by(method: Any, extractor: Extractor) -> Extractor:
    assert isinstance(extractor, Descriptors)
    return replace(extractor, f0=method)


@pytest.mark.parametrize("method", list(PITCH))
def test_noise_is_unvoiced_and_has_no_pitch(extractor: Extractor, method: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    record = described(by(method, extractor), noise)
    assert column(record, "voiced").mean() < 0.05
    unvoiced = column(record, "voiced") == 0
    assert np.isnan(column(record, "f0")[unvoiced]).all()
    assert np.isfinite(np.delete(record["frames"], COLUMNS.index("f0"), axis=1)).all()


def test_never_voiced_has_no_statistics_of_pitch(extractor: Extractor) -> None:
    record = described(extractor, np.eye(1, 16000, 8000, dtype=np.float32)[0])
    columns = extractor.spec.array("stats").columns
    undefined = {
        name for name, value in zip(columns, record["stats"], strict=True) if np.isnan(value)
    }
    assert undefined == {f"f0_{stat}" for stat in STATS}


def test_pitch_of_a_voice_by_both_methods(extractor: Extractor) -> None:
    samples = speech(32000, 1).samples
    fast, slow = (column(described(by(method, extractor), samples), "f0") for method in PITCH)
    both = np.isfinite(fast) & np.isfinite(slow)
    assert both.mean() > 0.8
    np.testing.assert_allclose(np.median(np.abs(fast - slow)[both]), 0, atol=3)


@pytest.mark.parametrize("name", SPOKEN)
def test_real_clips_equal_direct_calls_of_librosa(
    extractor: Extractor, clip: Callable[[str], Path], name: str
) -> None:
    sound = real(clip(name)).audio
    assert isinstance(sound, Audio)
    samples = sound.samples
    record = described(extractor, samples)
    by_hand = by_librosa(samples)
    for column_name in ("centroid", "zcr", "rms"):
        found = column(record, column_name)
        np.testing.assert_allclose(
            found, by_hand[column_name], rtol=1e-4, atol=1e-5, err_msg=column_name
        )
    np.testing.assert_allclose(record["frames"][:, :25], by_hand["mfcc"], rtol=1e-3, atol=5e-3)
    if samples.size < 16000:
        assert np.isnan(record["tempo"])
        return
    onsets = librosa.onset.onset_strength(
        S=by_hand["mel"].T.astype(np.float32), sr=16000, hop_length=320, center=False
    )
    tempo = librosa.feature.tempo(onset_envelope=onsets, sr=16000, hop_length=320)
    assert record["tempo"] == pytest.approx(tempo[0], rel=1e-4)


@pytest.mark.parametrize("name", SPOKEN)
def test_pyin_of_real_clips_equals_direct_calls_of_librosa(
    extractor: Extractor, clip: Callable[[str], Path], name: str
) -> None:
    sound = real(clip(name)).audio
    assert isinstance(sound, Audio)
    asked: dict[str, Any] = {"fmin": 60, "fmax": 600, "sr": 16000}
    expected, flags, _ = librosa.pyin(
        np.pad(sound.samples, 312), frame_length=1024, hop_length=320, center=False, **asked
    )
    record = described(by("pyin", extractor), sound.samples)
    found, voiced = column(record, "f0"), column(record, "voiced") == 1
    np.testing.assert_array_equal(np.isfinite(found), voiced)
    np.testing.assert_allclose(found[voiced], expected[: len(found)][voiced], rtol=1e-4)
    np.testing.assert_array_equal(voiced, flags[: len(voiced)])


def test_statistics_leave_out_what_is_undefined() -> None:
    values = np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, np.nan], [8.0, np.nan]])
    first, second = statistics(values).reshape(2, 7)
    np.testing.assert_allclose(first, [4, float(np.std([1, 3, 8])), 1, 8, 2, 3, 5.5])
    np.testing.assert_allclose(second, [4, 0, 4, 4, 4, 4, 4])


def test_tempo_of_a_beat(extractor: Extractor) -> None:
    samples = np.random.default_rng(0).normal(0, 1e-3, 8 * 16000).astype(np.float32)
    for beat in range(16):
        samples[beat * 8000 : beat * 8000 + 200] += 0.5
    assert described(extractor, samples)["tempo"] == pytest.approx(120, abs=4)


def test_no_tempo_below_a_second_or_without_onsets(extractor: Extractor) -> None:
    assert np.isnan(described(extractor, speech(15999).samples)["tempo"])
    assert np.isfinite(described(extractor, speech(16000).samples)["tempo"])
    assert np.isnan(described(extractor, np.zeros(32000, np.float32))["tempo"])


def test_too_short(extractor: Extractor) -> None:
    (record,) = extractor.extract([media(speech(399))])
    assert isinstance(record, Missing)
    assert record.reason is Reason.TOO_SHORT


@pytest.mark.parametrize("parameters", [{"f0": "crepe"}, {"fmin": 700.0}, {"fmin": 10.0}])
def test_impossible_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"f0|pitch"):
        Descriptors(weights=NO_WEIGHTS, **parameters)
