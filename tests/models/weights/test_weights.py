from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.images.extractor import ResNet50
from meldflow.models.extractors.speech.extractor import Wav2Vec2
from meldflow.models.extractors.text import MiniLM
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import Weights
from meldflow.models.schema.media import Missing
from meldflow.models.weights.find import check, find, seed
from meldflow.models.weights.sources import PublishedModel, package_folder
from tests.models.inputs import media, mixed

Ready = Callable[[str], Extractor]


def source(kind: type[Extractor]) -> PublishedModel:
    assert kind.published is not None
    return kind.published


@pytest.fixture(scope="module")
def speech_checkpoint(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint folder with the random network's own weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from meldflow.models.weights.load import seeded

    folder = tmp_path_factory.mktemp("wav2vec2")
    number = seed(ready("audio/wav2vec2").weights)
    assert number is not None
    seeded(number, lambda: Wav2Vec2Model(Wav2Vec2Config())).save_pretrained(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A folder for hundreds of megabytes, which pytest would keep for three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def picture_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of ResNet-50 with weights unlike those of seed 0."""
    import torch
    from torchvision.models import resnet50

    from meldflow.models.weights.load import seeded

    file = tmp_path_factory.mktemp("resnet50") / "mine.pth"
    torch.save(seeded(7, resnet50).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def text_folder() -> Path:
    folder = package_folder(source(MiniLM))
    assert folder is not None
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of an HTTP server on the loopback that offers the files of ``folder``."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class TestFind:
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def test_random_names_its_seed(self) -> None:
        found = find(source(ResNet50), "random")
        assert found == Weights(
            kind="random", revision="random-0", model="torchvision/resnet50-IMAGENET1K_V2"
        )

    def test_pretrained_minilm_is_the_published_file(self) -> None:
        found = find(source(MiniLM), "pretrained")
        assert (found.kind, found.revision) == ("pretrained", "53aa51172d14")

    def test_same_bytes_same_revision(self, text_folder: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(text_folder, tmp_path / "copy")
        found = find(source(MiniLM), str(copy))
        assert (found.kind, found.revision) == ("folder", "53aa51172d14")
        assert found.location == str(copy / "model.safetensors")

    def test_nothing_found_says_where_and_how(self, tmp_path: Path) -> None:
        nobody = PublishedModel(
            model="nobody/nothing",
            files=("model.safetensors",),
            package=("no_such_package", "model"),
            hub=True,
            url="https://localhost/nothing.pth",
        )
        with pytest.raises(UsageError) as caught:
            find(nobody, "pretrained")
        message = str(caught.value)
        for part in (
            "nobody/nothing",
            "package no_such_package",
            "hub cache (",
            "torch cache (",
            "meldflow weights fetch FOLDER",
            "weights=random",
        ):
            assert part in message
        assert "\n" not in message

    def test_offline_is_said(self) -> None:
        nobody = PublishedModel(model="nobody/nothing", files=("model.safetensors",), hub=True)
        with pytest.raises(UsageError, match="not tried, HF_HUB_OFFLINE is set"):
            find(nobody, "pretrained")

    def test_torch_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        file = tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"other bytes")
        with pytest.raises(UsageError, match=r"resnet50-11ad3fa6\.pth is damaged"):
            find(source(ResNet50), "pretrained")
        known = replace(source(ResNet50), digest="")
        assert find(known, "pretrained").location == str(file)

    def test_download_into_the_torch_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        (tmp_path / "served").mkdir()
        (tmp_path / "served" / "resnet50-11ad3fa6.pth").write_bytes(b"weights")
        with served(tmp_path / "served") as address:
            there = replace(
                source(ResNet50), url=f"{address}/resnet50-11ad3fa6.pth", digest="9f6e6"
            )
            with pytest.raises(UsageError, match="is damaged, its SHA-256 starts"):
                find(there, "pretrained")
            found = find(replace(there, digest=""), "pretrained")
        assert Path(found.location).read_bytes() == b"weights"
        assert [one.name for one in Path(found.location).parent.iterdir()] == [
            "resnet50-11ad3fa6.pth"
        ]

    def test_download_that_fails_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        with served(tmp_path) as address:
            gone = replace(source(ResNet50), url=f"{address}/resnet50-11ad3fa6.pth")
            with pytest.raises(UsageError, match=r"download .failed: HTTPError"):
                find(gone, "pretrained")

    def test_hub_cache(
        self, text_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = tmp_path / "models--someone--minilm" / "snapshots" / "abc"
        shutil.copytree(text_folder, snapshot)
        (tmp_path / "models--someone--minilm" / "refs").mkdir()
        (tmp_path / "models--someone--minilm" / "refs" / "main").write_text("abc")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        cached = replace(source(MiniLM), model="someone/minilm", package=None)
        found = find(cached, "pretrained")
        assert found.location == str(snapshot / "model.safetensors")
        assert found.revision == "53aa51172d14"

    @pytest.mark.parametrize("kind", [Wav2Vec2, ResNet50, MiniLM])
    def test_no_such_path(self, kind: type[Extractor], tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is no path that exists"):
            find(source(kind), str(tmp_path / "nowhere"))
        with pytest.raises(UsageError, match="holds none of"):
            find(source(kind), str(tmp_path))

    def test_not_a_weight_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("?")
        with pytest.raises(UsageError, match=r"a\.txt is no weight file"):
            find(source(ResNet50), str(tmp_path / "a.txt"))

    def test_another_architecture(self, text_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="model_type is 'bert', expected 'wav2vec2'"):
            find(source(Wav2Vec2), str(text_folder))
        large = shutil.copytree(text_folder, tmp_path / "large")
        config = json.loads((large / "config.json").read_text()) | {"num_hidden_layers": 12}
        (large / "config.json").write_text(json.dumps(config))
        with pytest.raises(UsageError, match="num_hidden_layers is 12, expected 6"):
            find(source(MiniLM), str(large))

    def test_damaged(self, text_folder: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(text_folder, tmp_path / "copy")
        file = copy / "model.safetensors"
        whole = file.read_bytes()
        for content in (whole[:-1], whole + b"!", whole[:100], b"", b"\xff" * 64):
            file.write_bytes(content)
            with pytest.raises(UsageError, match="safetensors is damaged"):
                find(source(MiniLM), str(copy))
        file.write_bytes(whole)
        (copy / "config.json").write_text("{")
        with pytest.raises(UsageError, match=r"config\.json is damaged"):
            find(source(MiniLM), str(copy))
        (copy / "config.json").unlink()
        with pytest.raises(UsageError, match=r"holds no config\.json"):
            find(source(MiniLM), str(copy))

    def test_another_disk_on_the_worker(self, tmp_path: Path) -> None:
        file = tmp_path / "a.pth"
        file.write_bytes(b"one")
        found = find(source(ResNet50), str(file))
        assert check(found) == file
        file.write_bytes(b"another")
        with pytest.raises(UsageError, match=f"expected {found.revision}"):
            check(found)
        file.unlink()
        with pytest.raises(UsageError, match="no weights at"):
            check(found)

    def test_loads_neither_torch_nor_transformers(self) -> None:
        code = (
            "import sys; from meldflow.models.extractors.registry import build; "
            "build(None, {'text/minilm': 'pretrained'}, 'random'); "
            "heavy = {'torch', 'transformers', 'librosa.core', 'cv2'} & set(sys.modules); "
            "sys.exit(','.join(heavy) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.stderr.strip(), done.returncode) == ("", 0)


class TestLoad:
    def test_speech_folder_equals_what_was_saved(
        self, speech_checkpoint: Path, ready: Ready
    ) -> None:
        found = find(source(Wav2Vec2), str(speech_checkpoint))
        loaded = Wav2Vec2(weights=found).setup("cpu")
        for one, expected in zip(
            loaded.extract(mixed()[:2]), ready("audio/wav2vec2").extract(mixed()[:2]), strict=True
        ):
            assert not isinstance(one, Missing)
            assert not isinstance(expected, Missing)
            np.testing.assert_array_equal(one["frames"], expected["frames"])

    def test_speech_with_a_parameter_missing(self, speech_checkpoint: Path, roomy: Path) -> None:
        from safetensors.torch import load_file, save_file

        state = load_file(speech_checkpoint / "model.safetensors")
        name = "encoder.layers.3.attention.k_proj.weight"
        whole = state.pop(name)
        shutil.copy(speech_checkpoint / "config.json", roomy)
        for changed in ({}, {name: whole[:5].clone()}):
            save_file(state | changed, roomy / "model.safetensors", {"format": "pt"})
            extractor = Wav2Vec2(weights=find(source(Wav2Vec2), str(roomy)))
            with pytest.raises(UsageError, match=r"wav2vec2-base-960h: .*model\.safetensors"):
                extractor.setup("cpu")

    def test_speech_checkpoint_of_the_published_form(
        self, speech_checkpoint: Path, ready: Ready, roomy: Path
    ) -> None:
        """A CTC network as a .bin: prefixed names, a head, the old weight norm, no mask."""
        import torch
        from safetensors.torch import load_file

        state = load_file(speech_checkpoint / "model.safetensors")
        state.pop("masked_spec_embed", None)
        conv = "encoder.pos_conv_embed.conv."
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            state[conv + old] = state.pop(f"{conv}parametrizations.weight.{new}")
        published = {f"wav2vec2.{name}": value for name, value in state.items()}
        published |= {"lm_head.weight": torch.zeros(32, 768), "lm_head.bias": torch.zeros(32)}
        torch.save(published, roomy / "pytorch_model.bin")
        shutil.copy(speech_checkpoint / "config.json", roomy)
        loaded = Wav2Vec2(weights=find(source(Wav2Vec2), str(roomy))).setup("cpu")
        (found,), (expected,) = (
            one.extract(mixed()[:1]) for one in (loaded, ready("audio/wav2vec2"))
        )
        assert not isinstance(found, Missing)
        assert not isinstance(expected, Missing)
        np.testing.assert_array_equal(found["frames"], expected["frames"])

    @pytest.mark.parametrize("form", ["pth", "safetensors", "folder"])
    def test_picture_state(self, picture_state: Path, tmp_path: Path, form: str) -> None:
        import torch
        from safetensors.torch import save_file
        from torchvision.models import ResNet50_Weights, resnet50
        from torchvision.transforms import Normalize

        path = picture_state.parent if form == "folder" else picture_state
        state = torch.load(picture_state, weights_only=True)
        if form == "safetensors":
            path = tmp_path / "mine.safetensors"
            save_file(state, path)
        extractor = ResNet50(weights=find(source(ResNet50), str(path))).setup("cpu")
        plain = resnet50()
        plain.load_state_dict(state)
        plain.fc = torch.nn.Identity()
        preset = ResNet50_Weights.IMAGENET1K_V2.transforms()
        gray = Normalize(preset.mean, preset.std)(torch.full((1, 3, 224, 224), 200 / 255))
        with torch.inference_mode():
            expected = plain.eval()(gray).numpy()
        (found,) = extractor.loaded.run([[np.full((1, 224, 224, 3), 200, np.uint8)]])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("content", ["damaged", "other", "list", "code"])
    def test_picture_state_that_does_not_fit(self, tmp_path: Path, content: str) -> None:
        import torch
        from torchvision.models import resnet18

        file = tmp_path / "a.pth"
        contents: dict[str, Any] = {"other": resnet18().state_dict(), "list": [1], "code": Path}
        if content == "damaged":
            file.write_bytes(b"\x80\x02 no pickle")
        else:
            torch.save(contents[content], file)
        extractor = ResNet50(weights=find(source(ResNet50), str(file)))
        with pytest.raises(UsageError, match=r"a\.pth cannot be loaded into the network"):
            extractor.setup("cpu")

    def test_pretrained_minilm_equals_sentence_transformers(self, text_folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        texts = ["I can’t believe it!", "no", "Oh my God. " * 200]
        theirs = SentenceTransformer(str(text_folder), device="cpu", local_files_only=True)
        expected = theirs.encode(texts, show_progress_bar=False)
        extractor = MiniLM(weights=find(source(MiniLM), "pretrained")).setup("cpu")
        records = extractor.extract([media(text=text) for text in texts])
        for record, row in zip(records, expected, strict=True):
            assert not isinstance(record, Missing)
            np.testing.assert_allclose(record["embedding"], row, atol=1e-5)

    def test_nothing_is_drawn_or_logged(
        self, text_folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            MiniLM(weights=find(source(MiniLM), "pretrained")).setup("cpu")
        assert capfd.readouterr() == ("", "")
        assert not caplog.records
