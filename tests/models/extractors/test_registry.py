from __future__ import annotations

import importlib.metadata
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.registry import EXTRACTORS, build, names
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Modality
from tests.models.inputs import media


@dataclass(frozen=True, kw_only=True)
class Length(Extractor):
    """An extractor of somebody else: the number of letters."""

    @property
    def spec(self) -> FeatureSpec:
        array = ArraySpec(name="letters", dims=(), shape=(), dtype="int32")
        return FeatureSpec(
            name="text/length",
            modality=Modality.TEXT,
            version=1,
            arrays=(array,),
            weights=self.weights,
        )

    def load(self, device: str) -> Any:
        return True

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        return [{"letters": len(str(one.text))} for one in media]  # type: ignore[dict-item]


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("text/length", f"{__name__}:Length", registry.ENTRY_POINTS),
        importlib.metadata.EntryPoint("text/wrong", f"{__name__}:Length", registry.ENTRY_POINTS),
        importlib.metadata.EntryPoint("text/minilm", f"{__name__}:Length", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_names() -> None:
    assert names() == tuple(EXTRACTORS)
    assert names() == ("audio/wav2vec2", "audio/librosa", "video/resnet50", "text/minilm")


@pytest.mark.parametrize("only", [None, []])
def test_all_of_ours_by_default(only: list[str] | None) -> None:
    built = build(only, {}, "random")
    assert [one.spec.name for one in built] == list(EXTRACTORS)
    assert [one.spec.weights.kind for one in built] == ["random", "none", "random", "random"]
    assert [one.spec.resource for one in built] == ["model", "cpu", "model", "model"]


def test_only_some_in_the_order_asked_for_once_each() -> None:
    built = build(["text/minilm", "audio/librosa", "text/minilm"], {}, "random")
    assert [one.spec.name for one in built] == ["text/minilm", "audio/librosa"]


def test_weights_by_name() -> None:
    (one,) = build(["text/minilm"], {"text/minilm": "pretrained"}, "random")
    assert one.spec.weights.kind == "pretrained"


def test_parameters() -> None:
    (one,) = build(["audio/librosa"], {}, "random", {"audio/librosa": {"f0": "pyin"}})
    assert one.spec.parameters["f0"] == "pyin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (["audio/wav2vec"], {}),
            "no extractor is called 'audio/wav2vec', did you mean 'audio/wav2vec2'",
        ),
        ((["zzz"], {}), "called 'zzz' Known: audio/wav2vec2, audio/librosa"),
        ((None, {"audio/libros": "random"}), "did you mean 'audio/librosa'"),
        ((None, {}, "random", {"x/y": {}}), "no extractor is called 'x/y'"),
        (
            (None, {}, "random", {"audio/librosa": {"f1": 1}}),
            "audio/librosa has no parameter 'f1'. audio/librosa has: f0=yin (yin or pyin), fmin",
        ),
        (
            (None, {}, "random", {"audio/librosa": {"f0": "x"}}),
            "audio/librosa.f0: Input should be 'yin' or 'pyin', not 'x'. audio/librosa has: f0",
        ),
        ((None, {}, "random", {"video/resnet50": {"crop": 500}}), "crop 500 must be from 32"),
        ((None, {}, "/no/where"), "weights=/no/where is no path"),
    ],
)
def test_what_cannot_be_built(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(*arguments)
    assert message in str(caught.value)


@pytest.mark.usefixtures("third_party")
def test_third_parties_register_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Length.__module__])
    assert names()[-2:] == ("text/length", "text/wrong")
    (one,) = build(["text/length"], {})
    (record,) = one.setup("cpu").extract([media(text="four")])
    assert not isinstance(record, Missing)
    assert record["letters"] == 4
    with pytest.raises(UsageError, match=r"extractor text/wrong \(.*it calls itself 'text/length'"):
        build(["text/wrong"], {})


@pytest.mark.usefixtures("third_party")
def test_ours_cannot_be_replaced() -> None:
    assert names().count("text/minilm") == 1
    assert type(build(["text/minilm"], {}, "random")[0]).__name__ == "MiniLM"


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, pickle; from meldflow.models.extractors.registry import build; "
        "pickle.dumps(build(None, {}, 'random')); "
        "sys.exit(','.join({'torch', 'transformers', 'torchvision'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stderr.strip(), done.returncode) == ("", 0)


def test_a_set_of_extractors_pickles_small() -> None:
    assert len(pickle.dumps(build(None, {}, "random"))) < 8192
