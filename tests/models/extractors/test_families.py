"""Every family of encoders, on small random networks that their libraries saved."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meldflow import testing
from meldflow.models.extractors.encoder import Encoder
from meldflow.models.extractors.grid import frames_in
from meldflow.models.extractors.registry import build
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import Features
from meldflow.models.schema.media import Missing
from meldflow.models.weights.ctranslate2 import whisper_state
from tests.models import checkpoints
from tests.models.inputs import film, media, speech

Get = Callable[[str], Encoder]


@pytest.fixture(scope="module")
def get(tmp_path_factory: pytest.TempPathFactory) -> Get:
    """Instances of small networks, set up, each made once."""
    made: dict[str, Encoder] = {}

    def of(name: str) -> Encoder:
        if name not in made:
            kind, make = next(
                (kind, make) for kind, (names, make) in FAMILIES.items() if name in names
            )
            folder = make(tmp_path_factory.mktemp(name), name)
            made[name] = declared(f"{kind.partition('/')[0]}/own-{name}", kind, folder).setup()
        return made[name]

    return of


def declared(name: str, kind: str, folder: Path | str, **parameters: Any) -> Encoder:
    (one,) = build(None, {}, parameters={name: parameters}, instances={name: f"{kind} {folder}"})
    assert isinstance(one, Encoder)
    return one


def found(extractor: Encoder, *given: Any) -> list[Features]:
    records = extractor.encode(given)
    assert not any(isinstance(one, Missing) for one in records)
    return records  # type: ignore[return-value]


FAMILIES: dict[str, tuple[Collection[str], Callable[[Path, str], Path]]] = {
    "audio/speech": (checkpoints.SPEECH, checkpoints.speech),
    "audio/whisper": (("whisper",), checkpoints.whisper),
    "video/image": (checkpoints.IMAGES, checkpoints.images),
    "text/encoder": (checkpoints.TEXT, checkpoints.text),
}
ALL = [name for names, _ in FAMILIES.values() for name in names]

PARAMETERS: dict[str, dict[str, Any]] = (
    {
        one: {"layers": (1, 3), "window_seconds": 20.0, "overlap_seconds": 1.0}
        for one in checkpoints.SPEECH
    }
    | {
        "whisper": {
            "layers": (1, 3),
            "padded": False,
            "window_seconds": 20.0,
            "overlap_seconds": 1.0,
        }
    }
    | {
        one: {"layers": (0, 2), "max_tokens": 20, "pooling": "cls", "unit_length": True}
        for one in checkpoints.TEXT
    }
    | {one: {"layers": (0, 2), "crop": 32, "short_side": 64} for one in checkpoints.IMAGES}
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no network, the hub's client tries for 20 s."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("law", testing.LAWS)
def test_the_laws(name: str, law: testing.Law, get: Get) -> None:
    law(get(name), testing.example_media())


@pytest.mark.parametrize("name", ALL)
def test_parameters_count(name: str, get: Get) -> None:
    testing.parameters(**PARAMETERS[name])(get(name), testing.example_media()[2:4])


# Speech


@pytest.fixture
def _batches_on_a_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: a CPU would be given most clips alone."""
    monkeypatch.setattr("meldflow.models.extractors.speech.extractor._SECONDS_ON_CPU", 240)


def theirs(extractor: Encoder, samples: Any, layers: tuple[int, ...]) -> Any:
    """What transformers gives for a clip alone, from the folder by its own loaders."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    folder = Path(extractor.weights.location).parent
    prepared = AutoFeatureExtractor.from_pretrained(folder)(
        samples, sampling_rate=16000, return_tensors="pt"
    )
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        given = model(**prepared, output_hidden_states=True)
    states = [*given.hidden_states[:-1], given.last_hidden_state]
    return torch.stack([states[layer][0] for layer in layers]).mean(0).numpy()


@pytest.mark.usefixtures("_batches_on_a_cpu_too")
@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("name", checkpoints.SPEECH)
def test_speech_in_a_batch_equals_transformers_one_by_one(
    name: str, backend: str, get: Get
) -> None:
    lengths = (400, 719, 720, 8000, 33333)
    sounds = [speech(n, seed) for seed, n in enumerate(lengths)]
    for layers in ((3,), (0, 1)):
        chosen = replace(get(name), layers=layers, computing=Computing(backend=backend)).setup()  # type: ignore[call-arg]
        records = found(chosen, *map(media, sounds))
        for sound, record in zip(sounds, records, strict=True):
            expected = theirs(chosen, sound.samples, layers)
            np.testing.assert_allclose(record["frames"], expected, rtol=0, atol=1e-4)
            np.testing.assert_allclose(record["mean"], expected.mean(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", checkpoints.SPEECH)
def test_long_sound_in_windows_is_almost_as_in_one_piece(name: str, get: Get) -> None:
    sound = speech(112000, 1)
    sound.samples[:48000] *= 0.1  # windows of their own loudness
    (whole,) = found(get(name), media(sound))
    small = replace(get(name), window_seconds=5.0)  # type: ignore[call-arg]
    (cut,) = found(small, media(sound))
    one, other = whole["frames"], cut["frames"]
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.99


def test_sound_is_normalised_where_the_checkpoint_says_so(tmp_path: Path, get: Get) -> None:
    folder = checkpoints.speech(tmp_path, "wavlm-large", do_normalize=False)
    plain = declared("audio/wavlm-large", "audio/speech", folder).setup()
    sound = media(speech(8000))
    (one,), (other,) = found(plain, sound), found(get("wavlm-large"), sound)
    assert np.abs(one["frames"] - other["frames"]).max() > 1e-3
    expected = theirs(plain, speech(8000).samples, (3,))
    np.testing.assert_allclose(one["frames"], expected, rtol=0, atol=1e-4)
    assert plain.weights.revision == get("wavlm-large").weights.revision
    assert plain.spec.key != get("wavlm-large").spec.key  # what lies beside is part of it


def test_other_convolutions_are_refused(tmp_path: Path) -> None:
    changes = checkpoints.EARS | {"conv_stride": [5, 2, 2, 2, 2, 2, 1]}
    checkpoints.network(tmp_path, "hubert", checkpoints.SMALL | changes)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(UsageError, match="has other convolutions"):
        declared("audio/other", "audio/speech", tmp_path).setup()


# Whisper


def their_whisper(extractor: Encoder, samples: Any, layer: int) -> Any:
    """What transformers gives for a clip alone, filled up to 30 s; the rows of the sound."""
    import torch
    from transformers import WhisperFeatureExtractor, WhisperModel

    prepare = WhisperFeatureExtractor.from_pretrained(extractor.folder)
    spectra = prepare(samples, sampling_rate=16000, return_tensors="pt").input_features
    model = WhisperModel.from_pretrained(extractor.folder).eval()
    with torch.inference_mode():
        states = model.encoder(spectra, output_hidden_states=True).hidden_states
    return states[layer][0, : frames_in(samples.size)].numpy()


@pytest.mark.usefixtures("_batches_on_a_cpu_too")
@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("layer", [3, 1])
def test_whisper_in_a_batch_equals_transformers_one_by_one(
    layer: int, backend: str, get: Get
) -> None:
    sounds = [speech(n, seed) for seed, n in enumerate((400, 8000, 33333, 479_999))]
    computing = Computing(backend=backend)
    chosen = replace(get("whisper"), layers=(layer,), computing=computing).setup()  # type: ignore[call-arg]
    for sound, record in zip(sounds, found(chosen, *map(media, sounds)), strict=True):
        expected = their_whisper(chosen, sound.samples, layer)[:1499]
        np.testing.assert_allclose(record["frames"][:1499], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_whisper_on_the_sound_alone_is_something_else(backend: str, get: Get) -> None:
    sounds = [speech(n, seed) for seed, n in enumerate((400, 8000, 8000, 33333))]
    computing = Computing(backend=backend)
    short = replace(get("whisper"), padded=False, computing=computing).setup()  # type: ignore[call-arg]
    together = found(short, *map(media, sounds))
    for sound, record in zip(sounds, together, strict=True):
        (alone,), (one,) = found(short, media(sound)), found(get("whisper"), media(sound))
        np.testing.assert_allclose(record["frames"], alone["frames"], rtol=0, atol=1e-5)
        assert record["frames"].shape == one["frames"].shape
        assert np.abs(record["frames"] - one["frames"]).max() > 1e-3


def test_long_sound_goes_through_whisper_in_windows_of_30_seconds(get: Get) -> None:
    sound = speech(40 * 16000, 1)
    (cut,) = found(get("whisper"), media(sound))
    assert len(cut["frames"]) == frames_in(sound.samples.size)
    own = their_whisper(get("whisper"), sound.samples[: 30 * 16000], 3)
    np.testing.assert_allclose(cut["frames"][:999], own[:999], rtol=0, atol=1e-4)
    later = their_whisper(get("whisper"), sound.samples[160_000:639_760], 3)
    np.testing.assert_allclose(cut["frames"][999:], later[499:], rtol=0, atol=1e-4)


def test_ctranslate2_s_file_holds_the_same_network(tmp_path: Path) -> None:
    folder = checkpoints.whisper(tmp_path)
    model = declared("audio/x", "audio/whisper", folder).network()  # type: ignore[attr-defined]
    checkpoints.write_ctranslate2(tmp_path / "model.bin", model)
    state = whisper_state(tmp_path / "model.bin")
    expected = model.state_dict()
    assert set(state) == set(expected)
    for name, values in state.items():
        half = expected[name].numpy().astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(values, half)


def test_files_that_are_no_such_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match="is damaged, or its weights are compressed"):
        whisper_state(file)
    spec = b"TransformerSpec\0"
    file.write_bytes(struct.pack("<IH", 6, len(spec)) + spec)
    with pytest.raises(UsageError, match="holds 'TransformerSpec' in version 6"):
        whisper_state(file)


# Pictures


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("layers", [(), (1, 3)])
@pytest.mark.parametrize("name", checkpoints.IMAGES)
def test_pictures_equal_transformers_one_by_one(
    name: str, layers: tuple[int, ...], backend: str, get: Get
) -> None:
    import torch
    import transformers
    from torchvision.transforms import functional

    chosen = replace(get(name), layers=layers, computing=Computing(backend=backend)).setup()  # type: ignore[call-arg]
    assert chosen.decoding is not None
    assert chosen.decoding.short_side == 56
    kind = transformers.CLIPVisionModel if name == "clip" else transformers.AutoModel
    model = kind.from_pretrained(chosen.folder).eval()
    pictures = film(3, 56, 80, seed=4)
    (record,) = found(chosen, media(video=pictures))
    for row, frame in zip(record["features"], pictures.frames, strict=False):
        pixels = functional.to_tensor(functional.center_crop(Image.fromarray(frame), [48]))
        pixels = functional.normalize(pixels, [0.48, 0.46, 0.41], [0.27, 0.26, 0.28])
        with torch.inference_mode():
            given = model(pixels[None], output_hidden_states=True)
        expected = given.last_hidden_state[0, 0] if name == "vit" else given.pooler_output[0]
        if layers:
            expected = sum(given.hidden_states[one][0, 0] for one in layers) / len(layers)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-4)


def test_pictures_of_another_size_than_a_network_was_trained_on(get: Get) -> None:
    for name in checkpoints.IMAGES:
        wide = replace(get(name), short_side=80, crop=80).setup()  # type: ignore[call-arg]
        (record,) = found(wide, media(video=film(1, 80, 100)))
        assert np.isfinite(record["features"][0]).all()


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "vit_b_16"])
def test_torchvision_s_networks(name: str, tmp_path: Path) -> None:
    import torch
    from torchvision import models

    from meldflow.models.weights.load import seeded

    weights = models.get_model_weights(name).IMAGENET1K_V1
    network = seeded(3, lambda: models.get_model(name)).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    instances = {"video/x": f"video/image torchvision/{name}-IMAGENET1K_V1"}
    (one,) = build(None, {}, str(tmp_path / "mine.pth"), instances=instances)
    frames = film(2, 256, 300)
    assert isinstance(one, Encoder)
    (record,) = found(one.setup(), media(video=frames))
    seen: list[Any] = []
    *_, last = (part for part in network.modules() if isinstance(part, torch.nn.Linear))
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0][0].numpy()))
    for row, frame in zip(record["features"], frames.frames, strict=False):
        with torch.inference_mode():
            steps = weights.transforms(resize_size=256)
            network(steps(torch.from_numpy(frame).permute(2, 0, 1))[None])
        np.testing.assert_allclose(row, seen.pop(), rtol=0, atol=1e-4)


def test_networks_that_torchvision_has_not() -> None:
    for model in ("torchvision/resnet51-IMAGENET1K_V1", "torchvision/resnet18-X"):
        with pytest.raises(UsageError, match="torchvision has no such weights"):
            declared("video/x", "video/image", model)


def test_layers_where_there_are_none() -> None:
    instances = {"video/x": "video/image torchvision/resnet18-IMAGENET1K_V1"}
    with pytest.raises(UsageError, match="video/x has no layers to choose from"):
        build(None, {}, "random", {"video/x": {"layers": (0,)}}, instances=instances)


# Text

TEXTS = (
    "You must be joking!",
    "no",
    "Hey, where’s Phoebe’s ‘thing’?",
    "Oh my God. " * 20,
    "\u200b",
)


@pytest.mark.parametrize("name", checkpoints.TEXT)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_texts_in_a_batch_equal_transformers_one_by_one(name: str, pooling: str, get: Get) -> None:
    import torch
    from transformers import AutoModel, PreTrainedTokenizerFast

    extractor = replace(get(name), pooling=pooling)  # type: ignore[call-arg]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(extractor.folder / "tokenizer.json"))
    model = AutoModel.from_pretrained(extractor.folder).eval()
    records = found(extractor, *(media(text=one) for one in TEXTS))
    for text, record in zip(TEXTS, records, strict=True):
        most = extractor.max_tokens  # type: ignore[attr-defined]
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=most)
        with torch.inference_mode():
            states = model(input_ids=given["input_ids"], output_hidden_states=True).hidden_states
        last = states[-1][0]
        expected = last[0] if pooling == "cls" else last.mean(0)
        np.testing.assert_allclose(record["embedding"], expected, rtol=0, atol=1e-5)
        words = torch.stack([one[0, 1:-1].mean(0) for one in states])
        np.testing.assert_allclose(record["layers"], words, rtol=0, atol=1e-3)


def test_a_text_is_cut_where_the_network_s_positions_end(get: Get) -> None:
    assert get("bert").max_tokens == 80  # type: ignore[attr-defined]
    assert get("roberta").max_tokens == 78  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="max_tokens is 79, not 78"):
        replace(get("roberta"), max_tokens=79, loaded=None).setup()  # type: ignore[call-arg]


def test_unit_length_and_layers_of_texts(get: Get) -> None:
    chosen = replace(get("mpnet"), unit_length=True, layers=(1,))  # type: ignore[call-arg]
    (one,), (all_layers,) = found(chosen, media(text="no")), found(get("mpnet"), media(text="no"))
    assert np.linalg.norm(one["embedding"]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(one["layers"][0], all_layers["layers"][1])


def test_a_network_that_writes_is_no_encoder(tmp_path: Path) -> None:
    checkpoints.text(tmp_path, "bert")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"is_encoder_decoder": True}))
    with pytest.raises(UsageError, match="a bert is no encoder of text alone"):
        declared("text/x", "text/encoder", tmp_path)


# What can be declared


def test_random_weights_of_a_folder_and_of_a_preset(tmp_path: Path) -> None:
    folder = checkpoints.speech(tmp_path, "hubert")
    (one,) = build(["audio/own"], {}, "random", instances={"audio/own": f"audio/speech {folder}"})
    assert one.spec.weights.kind == "random"
    (record,) = one.setup().extract([media(speech(8000))])
    assert not isinstance(record, Missing)
    assert record["mean"].shape == (24,)
    (preset,) = build(["audio/wavlm"], {}, "random")
    assert preset.spec.array("mean").shape == (768,)


@pytest.mark.parametrize(
    ("instances", "says"),
    [
        ({"audio/x": "audio/speach m"}, "extractor audio/x: give a kind (audio/speech"),
        ({"audio/x": "audio/speech"}, "and a checkpoint, a name on the hub or a folder"),
        (
            {"text/x": "audio/speech m"},
            "extractor text/x: a audio/speech is called audio/SOMETHING",
        ),
        ({"audio/librosa": "audio/speech m"}, "audio/librosa: the name is taken, by meldflow"),
        ({"audio/x": "audio/speech /no/where"}, "/no/where: weights=/no/where is no path"),
        ({"audio/x": "audio/speech a/b"}, "no pretrained weights of a/b; looked in: hub cache"),
    ],
)
def test_what_cannot_be_declared(instances: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(None, {}, instances=instances)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="meldflow weights fetch FOLDER"):
        build(["audio/wavlm"], {})
    with pytest.raises(UsageError, match=r"audio/wavlm-large: random weights .* need its config"):
        build(["audio/wavlm-large"], {}, "random")


def test_files_beside_the_weights_are_looked_at_again(tmp_path: Path) -> None:
    one = declared("audio/x", "audio/speech", checkpoints.speech(tmp_path, "hubert"))
    settings = tmp_path / "preprocessor_config.json"
    settings.write_text(json.dumps({"do_normalize": False}))
    with pytest.raises(UsageError, match="holds other files than were found"):
        one.setup()
    settings.unlink()
    with pytest.raises(UsageError, match="holds no preprocessor_config"):
        declared("audio/x", "audio/speech", tmp_path)


def test_impossible_layers(tmp_path: Path) -> None:
    folder = checkpoints.speech(tmp_path, "hubert")
    with pytest.raises(UsageError, match="layers must be some of 0 to 3"):
        declared("audio/x", "audio/speech", folder, layers=(4,))


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "audio/wav2vec2": ({}, "audio/wav2vec2@2#f0eaba3f9276+random-0"),
    "audio/librosa": ({}, "audio/librosa@2#aaa262e350d1+none"),
    "video/resnet50": ({}, "video/resnet50@1#54675dd5fbb6+random-0"),
    "text/minilm": ({}, "text/minilm@2#647177e93f8c+random-0"),
    "audio/wav2vec2 of its own": (
        {"layers": (6, 12), "window_seconds": 20.0, "overlap_seconds": 1.0},
        "audio/wav2vec2@2#64795457d03d+random-0",
    ),
    "video/resnet50 of its own": (
        {"crop": 192, "short_side": 232},
        "video/resnet50@1#56d7ea80bd40+random-0",
    ),
    "text/minilm of its own": ({"max_tokens": 128}, "text/minilm@2#a363fed094cd+random-0"),
}
"""As stores have them since version 0.2."""


@pytest.mark.parametrize("which", KEYS)
def test_keys_of_what_is_published_stay(which: str) -> None:
    parameters, key = KEYS[which]
    name = which.partition(" ")[0]
    (one,) = build([name], {}, "random", {name: parameters})
    assert one.spec.key == key


def test_keys_by_another_backend_stay() -> None:
    computing = Computing(backend="openvino", precision="bf16")
    speech, pictures = build(["audio/wav2vec2", "video/resnet50"], {}, "random")
    assert replace(speech, computing=computing).spec.key == (
        "audio/wav2vec2@2#20040ebdb691+random-0"
    )
    nvdec = replace(pictures.decoding, decoder="nvdec")  # type: ignore[type-var]
    assert replace(pictures, computing=computing, decoding=nvdec).spec.key == (
        "video/resnet50@1#05bc7c9d3d2b+random-0"
    )
