from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from meldflow.models.extractors.registry import build
from meldflow.models.extractors.speech.extractor import Wav2Vec2, standardised
from meldflow.models.extractors.speech.windows import Window, stitch, windows
from meldflow.models.running.computing import BACKENDS, Computing
from meldflow.models.schema.media import Audio, Media, Missing, Reason
from meldflow.models.weights.find import NO_WEIGHTS
from tests.models.inputs import SPOKEN, media, real, speech

Ready = Callable[[str], Extractor]


@pytest.fixture(scope="module", params=BACKENDS)
def extractor(ready: Ready, request: pytest.FixtureRequest) -> Wav2Vec2:
    found = ready("audio/wav2vec2")
    assert isinstance(found, Wav2Vec2)
    if request.param == "torch":
        return found
    return replace(found, computing=Computing(backend=request.param)).setup()


@pytest.fixture(scope="module")
def theirs() -> Any:
    from tests.truth.networks import their_wav2vec2

    return their_wav2vec2()


@pytest.fixture(autouse=True)
def _batches_on_a_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: a CPU would be given most clips alone."""
    monkeypatch.setattr("meldflow.models.extractors.speech.extractor._SECONDS_ON_CPU", 240)


def frames(extractor: Extractor, *lengths: int) -> list[Any]:
    results = extractor.encode([media(speech(n, i)) for i, n in enumerate(lengths)])
    return [one["frames"] for one in results if not isinstance(one, Missing)]


def alone(theirs: Any, n_samples: int, seed: int) -> Any:
    """What transformers itself gives for one clip without padding."""
    import torch

    wave = torch.from_numpy(standardised(speech(n_samples, seed).samples))[None]
    with torch.inference_mode():
        return theirs(wave).last_hidden_state[0].numpy()


@settings(
    max_examples=4,
    deadline=None,
    # The fixture sets the same constant for every example.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(400, 24000), min_size=2, max_size=4))
@example([400, 719, 720, 721, 48000])
@example([16000, 16000])
def test_batches_equal_transformers_on_single_clips(
    extractor: Wav2Vec2, theirs: Any, lengths: list[int]
) -> None:
    for number, (n, found) in enumerate(zip(lengths, frames(extractor, *lengths), strict=True)):
        np.testing.assert_allclose(found, alone(theirs, n, number), rtol=0, atol=1e-4)


def test_plain_padding_would_not(theirs: Any) -> None:
    """The defect that ``wav2vec2.exact`` is there for, so that it stays visible."""
    import torch

    wave = torch.zeros(1, 32000)
    wave[0, :8000] = torch.from_numpy(standardised(speech(8000, 0).samples))
    mask = torch.zeros(1, 32000, dtype=torch.long)
    mask[0, :8000] = 1
    with torch.inference_mode():
        padded = theirs(wave, attention_mask=mask).last_hidden_state[0, :24].numpy()
    assert np.abs(padded - alone(theirs, 8000, 0)).max() > 0.1


def test_equals_the_implementation_of_torchaudio(extractor: Wav2Vec2, theirs: Any) -> None:
    import torch
    from torchaudio.models.wav2vec2.utils import import_huggingface_model

    torchaudio = import_huggingface_model(theirs).eval()
    wave = torch.from_numpy(standardised(speech(20000, 3).samples))[None]
    with torch.inference_mode():
        expected = torchaudio(wave)[0][0].numpy()
    (found,) = extractor.encode([media(speech(20000, 3))])
    assert not isinstance(found, Missing)
    np.testing.assert_allclose(found["frames"], expected, rtol=0, atol=1e-4)


def test_standardised_as_transformers_does() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    samples = speech(5000).samples + np.float32(0.2)
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True)(samples, sampling_rate=16000)
    np.testing.assert_allclose(standardised(samples), theirs["input_values"][0], atol=1e-5)


def test_real_clips_in_a_batch_equal_transformers_one_by_one(
    extractor: Wav2Vec2, theirs: Any, clip: Callable[[str], Path]
) -> None:
    import torch
    from transformers import Wav2Vec2FeatureExtractor

    prepare = Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=True)
    inputs = [beginning(real(clip(name))) for name in SPOKEN]
    for one, found in zip(inputs, extractor.encode(inputs), strict=True):
        assert isinstance(one.audio, Audio)
        assert not isinstance(found, Missing)
        values = prepare(one.audio.samples, sampling_rate=16000, return_tensors="pt")
        with torch.inference_mode():
            expected = theirs(values["input_values"]).last_hidden_state[0].numpy()
        np.testing.assert_allclose(found["frames"], expected, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found["mean"], expected.mean(0), rtol=0, atol=1e-4)


def beginning(whole: Media) -> Media:
    """Three seconds of a clip."""
    assert isinstance(whole.audio, Audio)
    return media(replace(whole.audio, samples=whole.audio.samples[:48000]))


def test_the_bound_on_padded_sound_only_splits_batches(
    extractor: Wav2Vec2, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = (9000, 15000, 400, 16000, 800)
    expected = frames(extractor, *lengths)
    monkeypatch.setattr("meldflow.models.extractors.speech.extractor._SECONDS_ON_CPU", 1)
    for found, wanted in zip(frames(extractor, *lengths), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def test_mean_is_over_the_frames(extractor: Wav2Vec2) -> None:
    (found,) = extractor.encode([media(speech(16000))])
    assert not isinstance(found, Missing)
    np.testing.assert_allclose(found["mean"], found["frames"].mean(0), atol=1e-5)


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(400, 1), (719, 1), (720, 2), (16000, 49), (48000, 149)]
)
def test_frames_per_clip(extractor: Wav2Vec2, n_samples: int, n_frames: int) -> None:
    (found,) = frames(extractor, n_samples)
    assert found.shape == (n_frames, 768)


def test_too_short_costs_nobody_else(extractor: Wav2Vec2) -> None:
    short, whole = extractor.extract([media(speech(399)), media(speech(400))])
    assert isinstance(short, Missing)
    assert short.reason is Reason.TOO_SHORT
    assert "399" in short.message
    assert not isinstance(whole, Missing)


def test_layers_are_averaged(ready: Ready, theirs: Any) -> None:
    import torch

    wave = torch.from_numpy(standardised(speech(8000).samples))[None]
    with torch.inference_mode():
        states = theirs(wave, output_hidden_states=True).hidden_states
    for layers in ((0,), (6,), (3, 12), (0, 1, 2)):
        chosen = replace(ready("audio/wav2vec2"), layers=layers).setup()  # type: ignore[call-arg]
        expected = torch.stack([states[layer][0] for layer in layers]).mean(0).numpy()
        (found,) = frames(chosen, 8000)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_layers_above_the_last_are_not_loaded() -> None:
    (whole,) = build(["audio/wav2vec2"], {}, "random")
    loaded = Wav2Vec2(weights=whole.weights, layers=(2, 4)).setup().loaded
    assert len(loaded.network.module.encoder.layers) == 4


def test_what_sees_no_further_than_an_overlap_has_no_seam(extractor: Wav2Vec2, theirs: Any) -> None:
    """The convolutions with the first one's norm, which is the whole clip's, and the positional."""
    import torch

    small = replace(extractor, window_seconds=4.0, layers=(0,)).setup()
    sounds = [speech(96000, 1), speech(72000, 2)]
    sounds[0].samples[:48000] *= 0.1  # windows of their own loudness
    for sound, found in zip(sounds, small.encode([media(one) for one in sounds]), strict=True):
        assert not isinstance(found, Missing)
        wave = torch.from_numpy(standardised(sound.samples))[None]
        with torch.inference_mode():
            (expected, *_) = theirs(wave, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(found["frames"], expected[0].numpy(), rtol=0, atol=1e-4)


def test_attention_that_ends_with_its_window_makes_a_small_seam(
    extractor: Wav2Vec2, theirs: Any
) -> None:
    import torch

    sound = speech(112000, 1)
    sound.samples[:48000] *= 0.1
    (found,) = replace(extractor, window_seconds=5.0).encode([media(sound)])
    assert not isinstance(found, Missing)
    with torch.inference_mode():
        wave = torch.from_numpy(standardised(sound.samples))[None]
        expected = theirs(wave).last_hidden_state[0].numpy()
    lengths = np.linalg.norm(found["frames"], axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (found["frames"] * expected).sum(axis=1) / lengths
    assert cosines.min() > 0.98


@pytest.mark.slow
def test_a_minute_in_a_batch(extractor: Wav2Vec2, theirs: Any) -> None:
    one = replace(extractor, window_seconds=120.0)
    lengths = (60 * 16000, 400, 16000)
    for number, (n, found) in enumerate(zip(lengths, frames(one, *lengths), strict=True)):
        np.testing.assert_allclose(found, alone(theirs, n, number), rtol=0, atol=1e-4)


@given(total=st.integers(1, 500), length=st.integers(2, 60), overlap=st.integers(0, 59))
def test_windows_cover_a_clip_once(total: int, length: int, overlap: int) -> None:
    overlap = min(overlap, length - 1)
    samples = np.arange((total - 1) * HOP + FRAME, dtype=np.float32)
    cut = windows(0, samples, length, overlap)
    for window in cut:
        assert window.samples[0] == window.first * HOP
        assert frames_in(window.samples.size) == min(length, total)
    parts = [
        (
            window,
            window.first + np.arange(frames_in(window.samples.size), dtype=np.float32)[:, None],
        )
        for window in cut
    ]
    np.testing.assert_array_equal(stitch(parts[::-1])[:, 0], np.arange(total))


def test_overlap_is_split_in_its_middle() -> None:
    nothing = np.zeros(0, np.float32)
    early, late = np.full((10, 1), 1, np.float32), np.full((10, 1), 2, np.float32)
    joined = stitch([(Window(0, 0, nothing), early), (Window(0, 6, nothing), late)])
    assert joined[:, 0].tolist() == [1] * 8 + [2] * 8


@pytest.mark.parametrize("parameters", [{"layers": (13,)}, {"overlap_seconds": 15.0}])
def test_impossible_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        Wav2Vec2(weights=NO_WEIGHTS, **parameters)
