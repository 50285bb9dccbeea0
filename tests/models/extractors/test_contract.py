"""The laws of ``meldflow.testing``, for every extractor in the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from meldflow import testing
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.entries import EXTRACTORS
from meldflow.models.extractors.registry import build
from meldflow.models.schema.media import Missing, Reason
from tests.models.inputs import Recipe, mixed

Ready = Callable[[str], Extractor]

CHANGES: dict[str, dict[str, Any]] = {
    "audio/wav2vec2": {"layers": (6, 12), "window_seconds": 20.0, "overlap_seconds": 1.0},
    "audio/librosa": {"f0": "pyin", "fmin": 70.0, "fmax": 500.0},
    "video/resnet50": {"crop": 192},
    "text/minilm": {"max_tokens": 128},
}
"""A new extractor adds one line: its parameters, with other values than the defaults."""

every = pytest.mark.parametrize("name", EXTRACTORS)


@every
@pytest.mark.parametrize("law", testing.LAWS)
def test_the_laws(name: str, law: testing.Law, ready: Ready) -> None:
    law(ready(name), testing.example_media())


@every
def test_parameters_count(name: str, ready: Ready) -> None:
    testing.parameters(**CHANGES[name])(ready(name), mixed()[2:4])


@every
def test_what_is_long_enough_gives_features(name: str, ready: Ready) -> None:
    for record in ready(name).extract(mixed()):
        assert not isinstance(record, Missing)
    for short in ready(name).extract(testing.example_media()[6:]):
        assert not isinstance(short, Missing) or short.reason == Reason.TOO_SHORT


@every
def test_the_name_is_that_of_the_registry(name: str) -> None:
    spec = build([name], {}, "random")[0].spec
    assert spec.name == name
    assert replace(spec, version=spec.version + 1).key != spec.key


SHORT_WINDOWS: dict[str, dict[str, Any]] = {
    "audio/wav2vec2": {"window_seconds": 4.0, "overlap_seconds": 0.5}
}
"""Two windows are then five seconds of sound, not twenty."""
LENGTHS = st.one_of(*[st.integers(400, 12000)] * 5, st.just(24000))
"""Samples of sound, mostly from 25 ms to 0.75 s: a second costs wav2vec2 0.3 s of a core."""
PICTURES = st.tuples(
    st.one_of(st.integers(1, 2), st.integers(1, 10)),
    st.sampled_from([256, 300, 455]),
    st.sampled_from([256, 341]),
)
TEXTS = st.one_of(
    st.text(max_size=60), st.sampled_from(["", "\t", "\u200b", "\ufeff", "\x00", "Oh no! " * 200])
)
BATCHES = st.lists(
    st.builds(Recipe, n_samples=LENGTHS, frames=PICTURES, text=TEXTS), min_size=2, max_size=3
)
LONGER_THAN_A_WINDOW_BESIDE_25_MS = [
    Recipe(n_samples=400, text=""),
    Recipe(n_samples=5 * 16000, frames=(10, 256, 455), text="Well! " * 500),
    Recipe(n_samples=719, text="no"),
]


@every
@settings(
    deadline=None,
    derandomize=True,
    max_examples=3,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(recipes=BATCHES)
@example(recipes=LONGER_THAN_A_WINDOW_BESIDE_25_MS)
def test_any_batch_gives_what_each_gives_alone(
    name: str, ready: Ready, recipes: list[Recipe]
) -> None:
    modality = ready(name).spec.modality
    media = [recipe.only(modality).made() for recipe in recipes]
    extractor = replace(ready(name), **SHORT_WINDOWS.get(name, {}))
    testing.batching_changes_nothing(extractor, media)
