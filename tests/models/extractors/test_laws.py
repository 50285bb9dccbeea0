"""Every law of ``meldflow.testing`` catches an extractor that breaks it, and says how."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from meldflow import testing
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec, Record, Weights
from meldflow.models.schema.media import Audio, Media, Missing, Modality, Reason
from meldflow.models.weights.find import NO_WEIGHTS

RATE = 50


@dataclass(frozen=True, kw_only=True)
class Levels(Extractor):
    """The mean level of every fiftieth of a second; ``fault`` breaks one law."""

    fault: str = ""
    weights: Weights = NO_WEIGHTS
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)
    floor: float = 0.0
    ballast: str = ""

    @property
    def spec(self) -> FeatureSpec:
        dims = ("frame",) * (2 if self.fault == "dims" else 1)
        return FeatureSpec(
            name="audio/levels",
            modality=Modality.AUDIO,
            version=1,
            arrays=(ArraySpec(name="levels", dims=dims, shape=(), dtype="float32", rate=RATE),),
            weights=NO_WEIGHTS if self.fault == "weights" else self.weights,
            parameters={
                "floor": (1, 2) if self.fault == "tuple" else self.floor,
                **(self.decoding.audio_parameters if self.decoding else {}),
            },
        )

    def load(self, device: str) -> Any:
        if self.fault == "seed":
            np.random.seed(0)  # noqa: NPY002
        return {"offset": random.SystemRandom().random() if self.fault == "moody" else 0.0}

    def lengths(self, media: Media) -> dict[str, int]:
        assert isinstance(media.audio, Audio)
        return {"levels": media.audio.samples.size // 320 + (self.fault == "lengths")}

    def extract(self, media: Sequence[Media]) -> list[Record]:
        records = super().extract(media) if self.loaded or self.fault != "eager" else []
        return records[:-1] if self.fault == "lossy" else records

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        loudest = max((self._levels(one).max(initial=0) for one in media), default=1)
        return [self._one(one, loudest if self.fault == "batch" else 1) for one in media]

    def _one(self, one: Media, by: float) -> Features | Missing:
        levels = self._levels(one)
        if self.fault == "greedy" and isinstance(one.text, Missing):
            levels = levels + 1
        if self.fault == "careless" and isinstance(one.audio, Audio):
            one.audio.samples[:1] = 0.5
        if len(levels) == 0 and self.fault != "empty":
            return Missing(reason=Reason.TOO_SHORT, message="shorter than a fiftieth of a second")
        return {"levels": levels / by * (self.fault != "zeros") + self.loaded["offset"]}

    def _levels(self, one: Media) -> Any:
        assert isinstance(one.audio, Audio)
        n = one.audio.samples.size // 320
        means = np.abs(one.audio.samples[: n * 320].reshape(n, 320)).mean(axis=1)
        return np.maximum(means, self.floor)


@pytest.mark.parametrize("law", testing.LAWS)
def test_a_good_one_keeps_every_law(law: testing.Law) -> None:
    law(Levels(), testing.example_media())


@pytest.mark.parametrize(
    ("law", "fault", "message"),
    [
        (testing.small_until_setup, "heavy", "bytes before setup"),
        (testing.small_until_setup, "eager", "raises no RuntimeError"),
        (testing.the_key_tells_what_made_a_feature, "tuple", "are not JSON values"),
        (testing.the_key_tells_what_made_a_feature, "weights", "other weights leave the key"),
        (testing.records_are_as_declared, "dims", "levels names 2 dims"),
        (testing.records_are_as_declared, "zeros", "utterance 0 gave nothing but zeros"),
        (testing.records_are_as_declared, "empty", "gave 0 rows of levels"),
        (testing.lengths_are_known_before, "lengths", "lengths said {'levels': 22}"),
        (testing.order_and_count, "lossy", "16 utterances gave 15 records"),
        (testing.batching_changes_nothing, "batch", "utterance 0 beside others: levels differs"),
        (testing.deterministic, "moody", "utterance 0 set up anew: levels differs"),
        (testing.only_its_modality_counts, "greedy", "without text and video: levels differs"),
        (testing.nothing_else_is_touched, "careless", "the input changed"),
        (testing.nothing_else_is_touched, "seed", "the state of numpy.random changed"),
    ],
)
def test_a_broken_one_is_told(law: testing.Law, fault: str, message: str) -> None:
    ballast = "x" * 5000 if fault == "heavy" else ""
    with pytest.raises(testing.LawBroken, match=f"audio/levels breaks '{law.__name__}': ") as told:
        law(Levels(fault=fault, ballast=ballast), testing.example_media())
    assert message in str(told.value)


def test_without_decoding_there_is_nothing_to_hear() -> None:
    with pytest.raises(testing.LawBroken, match="it names no decoding"):
        testing.the_key_tells_what_made_a_feature(
            replace(Levels(), decoding=None), testing.example_media()
        )


def test_parameters() -> None:
    testing.parameters(floor=0.5)(Levels(), testing.example_media())
    with pytest.raises(testing.LawBroken, match="'parameters_count': fault='x' leaves the key"):
        testing.parameters(fault="x")(Levels(), testing.example_media())
