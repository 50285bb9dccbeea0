"""The laws of ``meldflow.models.extractors.contract``, for every extractor in the registry."""

from __future__ import annotations

import functools
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.registry import EXTRACTORS, build
from meldflow.models.schema.features import Features, conform, rows_needed
from meldflow.models.schema.media import Media, Missing, Modality, Reason
from tests.models.inputs import NOTHING, Recipe, film, media, mixed, speech

Ready = Callable[[str], Extractor]

CHANGES: dict[str, dict[str, Any]] = {
    "audio/wav2vec2": {"layers": (6, 12), "window_seconds": 20.0, "overlap_seconds": 1.0},
    "audio/librosa": {"f0": "pyin", "fmin": 70.0, "fmax": 500.0},
    "video/resnet50": {"crop": 192},
    "text/minilm": {"max_tokens": 128},
}
"""A new extractor adds one line: its parameters, with other values than the defaults."""

every = pytest.mark.parametrize("name", EXTRACTORS)


def fresh(name: str) -> Extractor:
    return build([name], {}, "random")[0]


def features(record: Features | Missing) -> Features:
    assert not isinstance(record, Missing), record
    return record


def ulp(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a difference far below 1e-4 may become by rounding to the stored dtype."""
    number = np.nan_to_num(array)
    return np.abs(np.spacing(number)) if number.dtype.kind == "f" else np.zeros(number.shape)


LENGTHS = st.one_of(*[st.integers(400, 12000)] * 5, st.sampled_from([48000, 96000]))
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
A_MINUTE_BESIDE_25_MS = [
    Recipe(n_samples=400, text=""),
    Recipe(n_samples=60 * 16000, frames=(10, 256, 455), text="Well! " * 500),
    Recipe(n_samples=719, text="no"),
]

few = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def alone(ready: Ready) -> Callable[[str, Recipe], Features | Missing]:
    """What an extractor gives for one utterance by itself, worked out once."""

    @functools.cache
    def get(name: str, recipe: Recipe) -> Features | Missing:
        (record,) = ready(name).encode([recipe.made()])
        return record

    return get


@every
@settings(few, max_examples=8)
@given(recipes=BATCHES)
@example(recipes=A_MINUTE_BESIDE_25_MS)
def test_any_batch_gives_what_each_gives_alone_in_order(
    name: str,
    ready: Ready,
    alone: Callable[[str, Recipe], Features | Missing],
    recipes: list[Recipe],
) -> None:
    modality = ready(name).spec.modality
    recipes = [recipe.only(modality) for recipe in recipes]
    batch = ready(name).encode([recipe.made() for recipe in recipes])
    for recipe, found in zip(recipes, batch, strict=True):
        expected = alone(name, recipe)
        if isinstance(expected, Missing):
            assert found == expected
            continue
        for array, values in expected.items():
            np.testing.assert_allclose(
                features(found)[array], values, rtol=0, atol=1e-4, err_msg=f"{recipe} {array}"
            )


@every
@settings(few, max_examples=2)
@given(recipes=BATCHES)
def test_the_same_batch_again_is_equal_to_the_bit(
    name: str, ready: Ready, recipes: list[Recipe]
) -> None:
    inputs = [recipe.only(ready(name).spec.modality).made() for recipe in recipes]
    first, second = ready(name).encode(inputs), ready(name).encode(inputs)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_equal(one, other)


@every
def test_batching_changes_nothing(name: str, ready: Ready) -> None:
    extractor, inputs = ready(name), mixed()
    batched = extractor.encode(inputs)
    backwards = extractor.encode(inputs[:0:-1])[::-1]
    for number, one in enumerate(inputs):
        (alone,) = extractor.encode([one])
        others = [batched[number], *(backwards[number - 1 : number] if number else [])]
        for array, expected in features(alone).items():
            for found in (features(other)[array] for other in others):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=array)
        for array, expected in features(conform(features(alone), extractor.spec)).items():
            found = features(conform(features(batched[number]), extractor.spec))[array]
            difference = np.abs(np.nan_to_num(found.astype(float) - expected))
            assert np.all(difference <= 1e-4 + ulp(expected)), array


@every
def test_records_are_as_declared(name: str, ready: Ready) -> None:
    spec = ready(name).spec
    for one, record in zip(mixed(), ready(name).extract(mixed()), strict=True):
        assert set(features(record)) == {array.name for array in spec.arrays}
        for array in spec.arrays:
            value = features(record)[array.name]
            assert value.dtype == array.dtype
            assert value.shape[value.ndim - len(array.shape) :] == array.shape
            assert len(array.dims) == len(array.shape) + (array.rate is not None) == value.ndim
            assert array.may_be_nan or np.isfinite(value).all()
            assert not np.isinf(value).any()
            assert array.columns == () or len(array.columns) == array.shape[-1]
            if array.rate is not None:
                assert not isinstance(one.audio, Missing)
                assert 0 < len(value) <= rows_needed(array, one.audio.samples.size / 16000)


@every
def test_lengths_are_known_before_anything_is_loaded(name: str, ready: Ready) -> None:
    spec = fresh(name).spec
    ragged = [array.name for array in spec.arrays if array.rate is not None]
    inputs = [*mixed(), media(speech(399), film(1), "!"), media(speech(1), film(1), "!")]
    for one, record in zip(inputs, ready(name).extract(inputs), strict=True):
        lengths = fresh(name).lengths(one)
        assert list(lengths) == ragged
        if isinstance(record, Missing):
            assert record.reason == Reason.TOO_SHORT
            assert 0 in lengths.values()
        else:
            assert lengths == {array: len(record[array]) for array in ragged}


@every
def test_order_and_count(name: str, ready: Ready) -> None:
    extractor, inputs = ready(name), list(mixed())
    records = extractor.extract([media(), inputs[1], media(), inputs[3], media()])
    assert [isinstance(one, Missing) for one in records] == [True, False, True, False, True]
    for position, source in ((1, 1), (3, 3)):
        (alone,) = extractor.extract([inputs[source]])
        for array, expected in features(alone).items():
            found = features(records[position])[array]
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)
    assert extractor.extract([]) == []


@every
def test_deterministic(name: str, ready: Ready) -> None:
    again, some = fresh(name).setup("cpu"), mixed()[2:]
    for first, second in zip(ready(name).extract(some), again.extract(some), strict=True):
        for array, expected in features(first).items():
            np.testing.assert_array_equal(features(second)[array], expected)


@every
@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_pass_through(name: str, reason: Reason, ready: Ready) -> None:
    lost = Missing(reason=reason, message="as given")
    assert ready(name).extract([Media(audio=lost, video=lost, text=lost)]) == [lost]


@every
def test_a_broken_modality_does_not_cost_the_others(name: str, ready: Ready) -> None:
    extractor = ready(name)
    own = extractor.spec.modality.value
    whole = mixed()[0]
    others = {one.value: NOTHING for one in Modality if one.value != own}
    (record,) = extractor.extract([replace(whole, **others)])
    features(record)
    assert extractor.extract([replace(whole, **{own: NOTHING})]) == [NOTHING]


@every
def test_inputs_are_left_alone(name: str, ready: Ready) -> None:
    inputs = mixed()
    ready(name).extract(inputs)
    for one, original in zip(inputs, mixed(), strict=True):
        assert not isinstance(one.audio, Missing)
        assert not isinstance(original.audio, Missing)
        np.testing.assert_array_equal(one.audio.samples, original.audio.samples)


@every
def test_setup_leaves_the_random_generators_alone(name: str) -> None:
    import torch

    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    fresh(name).setup("cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@every
def test_small_before_setup_and_unusable(name: str) -> None:
    extractor = fresh(name)
    pickled = pickle.dumps(extractor)
    assert len(pickled) < 4096
    assert pickle.loads(pickled) == extractor
    with pytest.raises(RuntimeError, match=f"{name}: call setup"):
        extractor.extract(mixed()[:1])


@every
def test_the_key_tells_what_made_a_feature(name: str) -> None:
    extractor = fresh(name)
    spec = extractor.spec
    assert spec.name == name
    assert json.loads(json.dumps(spec.parameters)) == spec.parameters
    changed = [replace(extractor, **{field: value}) for field, value in CHANGES[name].items()]
    changed.append(replace(extractor, weights=replace(extractor.weights, revision="other")))
    if extractor.decoding is not None:
        changed.append(replace(extractor, decoding=replace(extractor.decoding, version=99)))
    keys = [
        spec.key,
        replace(spec, version=spec.version + 1).key,
        *(one.spec.key for one in changed),
    ]
    assert len(set(keys)) == len(keys)
    moved = replace(extractor, weights=replace(extractor.weights, location="/elsewhere"))
    assert moved.spec.key == spec.key


@every
def test_other_parameters_give_other_features_of_the_same_form(name: str, ready: Ready) -> None:
    expected = features(ready(name).extract(mixed()[2:3])[0])
    field, value = next(iter(CHANGES[name].items()))
    changed = replace(ready(name), **{field: value}, loaded=None).setup("cpu")
    found = features(changed.extract(mixed()[2:3])[0])
    assert {key: value.dtype for key, value in found.items()} == {
        key: value.dtype for key, value in expected.items()
    }
    same = (np.array_equal(found[key], expected[key], equal_nan=True) for key in expected)
    assert not all(same)
