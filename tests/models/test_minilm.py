from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.extractor import Extractor
from models.extractors.minilm import MiniLM
from models.registry import build
from models.schema import Missing, Reason
from tests.models.inputs import media

Ready = Callable[[str], Extractor]


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


def test_random_differs_from_pretrained_and_varies(ready: Ready, pretrained: Extractor) -> None:
    untrained = ready("text/minilm")
    assert isinstance(untrained, MiniLM)
    assert np.abs(embedding(untrained, "a") - embedding(untrained, "bus")).max() > 1e-3
    assert np.abs(embedding(untrained, "a") - embedding(pretrained, "a")).max() > 1e-2
