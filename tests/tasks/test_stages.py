from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.extractor import Extractor
from models.options import DecodeOptions
from models.schema import (
    ArraySpec,
    Features,
    FeatureSpec,
    Media,
    Missing,
    Modality,
    Reason,
    Weights,
)
from tasks.stages import Portion, Source, load_and_encode, load_media


@dataclass(frozen=True, kw_only=True)
class Letters(Extractor):
    """Counts letters, and raises what a text asks it to."""

    @property
    def spec(self) -> FeatureSpec:
        array = ArraySpec(name="count", dims=(), shape=(), dtype="int32")
        return FeatureSpec(
            name="text/letters",
            modality=Modality.TEXT,
            version=1,
            arrays=(array,),
            weights=self.weights,
        )

    def load(self, device: str) -> Any:
        return device

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        texts = [one.text for one in media if not isinstance(one.text, Missing)]
        if any("boom" in text for text in texts):
            raise ValueError("boom")
        if len(texts) > 2 and "big" in texts:
            raise MemoryError
        if any("disk" in text for text in texts):
            raise OSError("disk")
        return [{"count": np.array(len(text))} for text in texts]


LETTERS = Letters(weights=Weights(kind="none", revision="none"))


def encoded(*texts: str) -> dict[int, Any]:
    sources = tuple(
        Source(row=i, id=f"train/dia0_utt{i}", clip="", text=t) for i, t in enumerate(texts)
    )
    portion = Portion(extractor=LETTERS, sources=sources)
    (one,) = load_and_encode(sources, [portion], None, "cpu", 10.0)
    return {row: result.record for row, result in one.results.items()}


def test_a_clip_that_raises_costs_itself_only() -> None:
    records = encoded("one", "boom", "three", "boom", "five")
    assert [records[row]["count"] for row in (0, 2, 4)] == [3, 5, 4]
    crashed = Missing(reason=Reason.CRASHED, message="ValueError: boom")
    assert (records[1], records[3]) == (crashed, crashed)


def test_a_batch_that_does_not_fit_into_memory_is_halved() -> None:
    records = encoded("big", "one", "two", "three", "four")
    assert [records[row]["count"] for row in range(5)] == [3, 3, 3, 5, 4]


def test_what_another_try_may_mend_is_raised() -> None:
    with pytest.raises(OSError, match="disk"):
        encoded("one", "disk")


def test_a_clip_is_decoded_with_the_modalities_asked_for(tmp_path: Path) -> None:
    source = Source(row=7, id="dev/dia0_utt7", clip=str(tmp_path / "none.mp4"), text="Hi.")
    media = load_media([source], {Modality.AUDIO}, DecodeOptions(), timeout=10)[7].media
    assert isinstance(media.audio, Missing)
    assert media.audio.reason == Reason.MISSING_FILE
    assert media.text == "Hi."
