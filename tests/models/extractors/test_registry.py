from __future__ import annotations

import importlib.metadata
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meldflow.models.extractors import entries, registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.entries import EXTRACTORS
from meldflow.models.extractors.presets import PRESETS
from meldflow.models.extractors.registry import build, names
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
        importlib.metadata.EntryPoint("text/length", f"{__name__}:Length", entries.ENTRY_POINTS),
        importlib.metadata.EntryPoint("text/wrong", f"{__name__}:Length", entries.ENTRY_POINTS),
        importlib.metadata.EntryPoint("text/minilm", f"{__name__}:Length", entries.ENTRY_POINTS),
    ]
    monkeypatch.setattr(entries, "entry_points", lambda group: points)


def test_names() -> None:
    assert names() == (*EXTRACTORS, *PRESETS)
    assert tuple(EXTRACTORS) == ("audio/wav2vec2", "audio/librosa", "video/resnet50", "text/minilm")


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
            "audio/librosa has no parameter 'f1'. audio/librosa has: f0=autocorrelation "
            "(autocorrelation or pyin), fmin",
        ),
        (
            (None, {}, "random", {"audio/librosa": {"f0": "x"}}),
            "audio/librosa.f0: Input should be 'autocorrelation' or 'pyin', not 'x'. "
            "audio/librosa has: f0",
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
    assert names()[4:6] == ("text/length", "text/wrong")
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


BROKEN = """
[meldflow.extractors]
audio/gone = no_such_module:Gone
audio/raises = raises_at_import:Raises
audio/nothing = other_extractors:Nothing
audio/dict = collections:OrderedDict
audio/late = other_extractors:Late
text/minilm = collections:OrderedDict
text/letters = other_extractors:Letters
"""
OTHERS = '''
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from annotated_types import Ge
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.features import ArraySpec, FeatureSpec
from meldflow.models.schema.media import Modality

@dataclass(frozen=True, kw_only=True)
class Letters(Extractor):
    """How many letters
    there are.

    Not more."""

    least: Annotated[int, Ge(0)] = 1
    """Fewer than so many are none."""
    kinds: tuple[Literal["vowels", "consonants"], ...] = ("vowels",)
    """What counts."""
    case: bool = False
    marks: str | None = None

    @property
    def spec(self):
        array = ArraySpec(name="letters", dims=(), shape=(), dtype="int32")
        parameters = {"least": self.least, "kinds": list(self.kinds), "case": self.case}
        return FeatureSpec(name="text/letters", modality=Modality.TEXT, version=1, arrays=(array,),
                           weights=self.weights, parameters=parameters)

    def load(self, device): return True
    def encode(self, media): return [{"letters": len(one.text)} for one in media]

@dataclass(frozen=True, kw_only=True)
class Late(Letters):
    def __post_init__(self): raise KeyError("no licence")
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution of extractors of which one is of any use."""
    info = tmp_path / "others-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(BROKEN)
    (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('out of\\nluck')\n")
    (tmp_path / "other_extractors.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("raises_at_import", "other_extractors"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    entries.warn.cache_clear()
    return tmp_path


CAUSES = {
    "audio/gone": "ModuleNotFoundError: No module named 'no_such_module'",
    "audio/raises": "RuntimeError: out of luck",
    "audio/nothing": "module 'other_extractors' has no attribute 'Nothing'",
    "audio/dict": "it is no class of meldflow.models.extractors.contract.Extractor",
    "audio/late": "no licence",
}


@pytest.mark.usefixtures("installed")
def test_a_broken_entry_point_costs_its_own_extractor_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert set(CAUSES) < set(names())
    for _ in range(2):
        built = registry.usable("random")
        assert [one.spec.name for one in built] == [*EXTRACTORS, "text/letters"]
    lines = [one.getMessage() for one in caplog.records]
    assert len(lines) == len(CAUSES) + 1  # once each
    for name, cause in CAUSES.items():
        (line,) = [one for one in lines if one.startswith(f"extractor {name} (")]
        assert cause in line
        assert "of others 1.2)" in line
        assert "\n" not in line
    assert "extractor text/minilm (collections:OrderedDict of others 1.2): the name is" in lines[0]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", CAUSES)
def test_who_asks_for_a_broken_one_is_told_why(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(CAUSES[name])) as caught:
        build([name], {})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("installed")
def test_parameters_of_others_are_read_as_they_are_annotated() -> None:
    typed = {"least": "3", "kinds": "consonants, vowels", "case": "yes", "marks": "!"}
    values = registry.read_parameters({f"text/letters.{k}": v for k, v in typed.items()})
    assert values == {
        "text/letters": {
            "least": 3,
            "kinds": ("consonants", "vowels"),
            "case": True,
            "marks": "!",
        }
    }
    assert registry.read_parameters({"text/letters.marks": "none"})["text/letters"]["marks"] is None
    (plain,) = build(["text/letters"], {})
    (other,) = build(["text/letters"], {}, parameters=values)
    assert other.spec.key != plain.spec.key
    (entry, parameters) = {one.name: (one, some) for one, some in registry.catalogue()}[
        "text/letters"
    ]
    assert (entry.origin, entry.summary) == ("others 1.2", "How many letters there are.")
    assert [str(one) for one in parameters] == [
        "least=1 (a whole number from 0)  Fewer than so many are none.",
        "kinds=vowels (vowels or consonants, several with commas between)  What counts.",
        "case=False (true or false)",
        "marks=none (a text or none)",
    ]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("least=-1", "least: Input should be greater than or equal to 0, not '-1'"),
        ("least=x", "least: Input should be a valid integer"),
        ("kinds=vowels,x", "kinds: Input should be 'vowels' or 'consonants', not 'vowels,x'"),
        ("most=1", "text/letters has no parameter 'most'"),
        ("weights=1", "text/letters has no parameter 'weights'"),
    ],
)
def test_wrong_parameters_of_others_are_refused_with_what_there_is(typed: str, says: str) -> None:
    name, value = typed.split("=")
    with pytest.raises(UsageError) as caught:
        registry.read_parameters({f"text/letters.{name}": value})
    assert says in str(caught.value)
    assert str(caught.value).endswith(
        "text/letters has: least=1 (a whole number from 0), kinds=vowels (vowels or consonants, "
        "several with commas between), case=False (true or false), marks=none (a text or none)"
    )
