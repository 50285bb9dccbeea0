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
from tasks.stages import Source, encode, load_media


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
        if any("disk" in text for text in texts):
            raise OSError("disk")
        return [{"count": np.array(len(text))} for text in texts]


LETTERS = Letters(weights=Weights(kind="none", revision="none"))


def encoded(*texts: str) -> dict[int, Any]:
    sources = [Source(row=i, id=f"train/dia0_utt{i}", clip="", text=t) for i, t in enumerate(texts)]
    loaded = load_media(sources, {Modality.TEXT}, None, timeout=10)
    return {
        row: one.record
        for row, one in encode(LETTERS, sources, loaded, "cpu", 10.0).results.items()
    }


def test_a_clip_that_raises_costs_itself_only() -> None:
    records = encoded("one", "boom", "three")
    assert (records[0]["count"], records[2]["count"]) == (3, 5)
    assert records[1] == Missing(reason=Reason.CRASHED, message="ValueError: boom")


def test_what_another_try_may_mend_is_raised() -> None:
    with pytest.raises(OSError, match="disk"):
        encoded("one", "disk")


def test_a_clip_is_decoded_with_the_modalities_asked_for(tmp_path: Path) -> None:
    source = Source(row=7, id="dev/dia0_utt7", clip=str(tmp_path / "none.mp4"), text="Hi.")
    media = load_media([source], {Modality.AUDIO}, DecodeOptions(), timeout=10)[7].media
    assert isinstance(media.audio, Missing)
    assert media.audio.reason == Reason.MISSING_FILE
    assert media.text == "Hi."
