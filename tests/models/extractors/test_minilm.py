from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
import pytest

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.registry import build
from meldflow.models.extractors.text import MiniLM
from meldflow.models.schema.media import Missing, Reason
from meldflow.models.weights.sources import package_folder
from tests.models.inputs import media
from tests.paths import DATA

Ready = Callable[[str], Extractor]

DEV = DATA / "meld" / "dev_sent_emo.csv"


def embedding(extractor: Extractor, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    (record,) = extractor.extract([media(text=text)])
    assert not isinstance(record, Missing)
    return record["embedding"]


@pytest.fixture(scope="module")
def pretrained() -> Extractor:
    return build(["text/minilm"], {})[0].setup("cpu")


def test_meaning_is_near(pretrained: Extractor) -> None:
    glad, happy, bus = (
        embedding(pretrained, text)
        for text in ("I am so glad!", "This makes me really happy.", "The bus leaves at nine.")
    )
    assert glad @ happy > glad @ bus + 0.2
    for one in (glad, happy, bus):
        assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u00a0"])
def test_empty_is_missing_and_costs_nobody_else(ready: Ready, text: str) -> None:
    extractor = ready("text/minilm")
    first, second = extractor.extract([media(text=text), media(text="here")])
    assert isinstance(first, Missing)
    assert first.reason is Reason.NO_TEXT
    assert not isinstance(second, Missing)
    np.testing.assert_allclose(second["embedding"], embedding(extractor, "here"), atol=1e-4)


def test_more_texts_than_fit_in_a_pass(ready: Ready) -> None:
    extractor = ready("text/minilm")
    texts = [f"utterance {i} " * (i % 7 + 1) for i in range(150)]
    records = extractor.extract([media(text=text) for text in texts])
    for i in (0, 63, 64, 149):
        record = records[i]
        assert not isinstance(record, Missing)
        np.testing.assert_allclose(record["embedding"], embedding(extractor, texts[i]), atol=1e-4)


@pytest.mark.skipif(not DEV.is_file(), reason=f"no real annotations at {DEV}")
def test_real_utterances_in_a_batch_equal_sentence_transformers_one_by_one(
    pretrained: Extractor,
) -> None:
    from sentence_transformers import SentenceTransformer

    assert MiniLM.published is not None
    folder = package_folder(MiniLM.published)
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    with DEV.open(encoding="utf-8", newline="") as stream:
        texts = [row["Utterance"] for row in csv.DictReader(stream)][:100]
    records = pretrained.extract([media(text=text) for text in texts])
    for text, record in zip(texts, records, strict=True):
        assert not isinstance(record, Missing)
        expected = theirs.encode(text, show_progress_bar=False)
        np.testing.assert_allclose(record["embedding"], expected, rtol=0, atol=1e-5)


def test_random_differs_from_pretrained_and_varies(ready: Ready, pretrained: Extractor) -> None:
    untrained = ready("text/minilm")
    assert isinstance(untrained, MiniLM)
    assert np.abs(embedding(untrained, "a") - embedding(untrained, "bus")).max() > 1e-3
    assert np.abs(embedding(untrained, "a") - embedding(pretrained, "a")).max() > 1e-2
