"""The laws that every extractor keeps, for the tests of whoever writes one.

With pytest, or anything else that calls functions:

    @pytest.mark.parametrize("law", meldflow.testing.LAWS)
    def test_law(law):
        law(MyExtractor(weights=meldflow.NO_WEIGHTS), meldflow.testing.example_media())
"""

from __future__ import annotations

import functools
import json
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.features import Record, rows_needed
from meldflow.models.schema.media import Audio, Media, Missing, Modality, Reason, Video

Law: TypeAlias = Callable[[Extractor, Sequence[Media]], None]
"""Raises ``LawBroken`` where the extractor, set up or not, does not keep it on the media."""

NOTHING = Missing(reason=Reason.MISSING_FILE, message="made up")


class LawBroken(AssertionError):
    """Names the extractor and the law, and says how it was broken."""


def speech(n_samples: int, seed: int = 0) -> Audio:
    """Something between voice and noise: a gliding pitch with harmonics and breath."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples) / 16000
    phase = 2 * np.pi * (110 + 20 * seed) * (time + 0.1 * time**2)
    voice = sum(np.sin(k * phase) / k for k in range(1, 6))
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)
    samples = 0.1 * voice * loudness + rng.normal(0, 0.01, n_samples)
    return Audio(samples=samples.astype(np.float32))


def film(n_frames: int, height: int = 256, width: int = 455, seed: int = 0) -> Video:
    """Chosen frames of 8 by 8 coloured tiles."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n_frames, 8, 8, 3))
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return Video(
        frames=coarse[:, rows][:, :, columns].astype(np.uint8),
        index=np.arange(n_frames, dtype=np.int32),
        timestamp=np.arange(n_frames, dtype=np.float32) / np.float32(25),
        entropy=rng.uniform(5, 7, n_frames).astype(np.float32),
        n_frames=n_frames + 7,
    )


def example_media() -> tuple[Media, ...]:
    """Eight utterances with sound, pictures and text; the last two are shorter than 25 ms.

    Examples:
        >>> [one.audio.samples.size for one in example_media()]
        [7000, 400, 21000, 1600, 17001, 719, 399, 1]
    """
    made = (
        (speech(7000, 1), film(4, seed=1), "You must be joking!"),
        (speech(400, 2), film(1, 256, 256, seed=2), "!"),
        (speech(21000, 3), film(2, 300, 256, seed=3), "Oh my God. " * 80),
        (speech(1600, 4), film(1, 256, 341, seed=4), "no"),
        (speech(17001, 5), film(1, 256, 400, seed=5), "Hey, where’s Phoebe’s ‘thing’?"),
        (speech(719, 6), film(1, seed=6), "é \t 🎬"),
        (speech(399), film(1), "!"),
        (speech(1), film(1), "!"),
    )
    return tuple(Media(audio=sound, video=pictures, text=text) for sound, pictures, text in made)


def _law(check: Callable[[Extractor, Sequence[Media]], Iterator[str]]) -> Law:
    """The law whose breaches ``check`` tells, of an extractor that is set up."""

    @functools.wraps(check)
    def law(extractor: Extractor, media: Sequence[Media]) -> None:
        ready = extractor if extractor.loaded is not None else extractor.setup("cpu")
        if breaches := "; ".join(islice(check(ready, media), 3)):
            raise LawBroken(f"{ready.spec.name} breaks {check.__name__!r}: {breaches}")

    return law


@_law
def small_until_setup(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """Before ``setup`` it hashes, pickles in less than 4 kB, equal to itself, and will not run."""
    fresh = replace(ready, loaded=None)
    pickled = pickle.dumps(fresh)
    if len(pickled) >= 4096:
        yield f"it takes {len(pickled)} bytes before setup"
    try:
        hash(fresh)
    except TypeError as error:
        yield f"it cannot be hashed: {error}"
    if pickle.loads(pickled) != fresh:
        yield "it comes back from a pickle as another"
    try:
        fresh.extract(media[:1])
    except RuntimeError:
        return
    yield "extract before setup raises no RuntimeError"


@_law
def the_key_tells_what_made_a_feature(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """Weights and decoding are in the key and parameters are JSON; where weights lie is not."""
    spec, weights, decoding = ready.spec, ready.weights, ready.decoding
    if json.loads(json.dumps(spec.parameters)) != spec.parameters:
        yield f"the parameters {spec.parameters} are not JSON values"
    if replace(ready, weights=replace(weights, revision="other")).spec.key == spec.key:
        yield "other weights leave the key"
    if replace(ready, weights=replace(weights, location="/other")).spec.key != spec.key:
        yield "the place of the weights is in the key"
    if decoding is None and spec.modality is not Modality.TEXT:
        yield "it names no decoding, so no clip would be decoded for it"
    other = decoding and replace(ready, decoding=replace(decoding, version=99))
    if other and other.spec.key == spec.key:
        yield "another way of decoding leaves the key"


@_law
def records_are_as_declared(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """Arrays have their dims, columns and rows; what cannot be used is a reason, not zeros."""
    for array in ready.spec.arrays:
        if len(array.dims) != len(array.shape) + (array.rate is not None):
            yield f"{array.name} names {len(array.dims)} dims for shape {array.shape}"
        if array.columns and len(array.columns) != array.shape[-1]:
            yield f"{array.name} names {len(array.columns)} columns of {array.shape[-1]}"
    ragged = [array for array in ready.spec.arrays if array.rate is not None]
    records = ready.extract(media)
    if all(isinstance(record, Missing) for record in records):
        yield f"none of {len(media)} utterances gave features, the first: {records[0]}"
    for number, (one, record) in enumerate(zip(media, records, strict=True)):
        if isinstance(record, Missing):
            continue
        if not any(values.any() for values in record.values()):
            yield f"utterance {number} gave nothing but zeros"
        for array in ragged:
            if isinstance(one.audio, Missing):
                break
            rows, most = len(record[array.name]), rows_needed(array, one.audio.samples.size / 16000)
            if not 0 < rows <= most:
                yield f"utterance {number} gave {rows} rows of {array.name}, at most {most} fit"


@_law
def lengths_are_known_before(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """``lengths`` tells the rows of every ragged array before anything is loaded."""
    ragged = [array.name for array in ready.spec.arrays if array.rate is not None]
    for one, record in zip(media, ready.extract(media), strict=True):
        said = replace(ready, loaded=None).lengths(one)
        if list(said) != ragged:
            yield f"lengths tells of {list(said)}, ragged are {ragged}"
        elif isinstance(record, Missing):
            if ragged and (record.reason == Reason.TOO_SHORT) != (0 in said.values()):
                yield f"lengths said {said}, came {record.reason}"
        elif (came := {name: len(record[name]) for name in ragged}) != said:
            yield f"lengths said {said}, came {came}"


@_law
def order_and_count(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """One record per utterance in the same order, also where some of them lack the modality."""
    mixed = [one for usable in media for one in (_lacking(usable, ready.spec.modality), usable)]
    records = ready.extract(mixed)
    if len(records) != len(mixed) or ready.extract([]):
        yield f"{len(mixed)} utterances gave {len(records)} records, none {ready.extract([])}"
        return
    for number, (one, record) in enumerate(zip(media, records[1::2], strict=True)):
        for difference in _differences(record, ready.extract([one])[0], within=1e-4):
            yield f"utterance {number} among others: {difference}"


@_law
def batching_changes_nothing(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """An utterance gives within 1e-4 what it gives alone, whatever is beside or before it."""
    together, backwards = ready.encode(media), ready.encode(media[::-1])[::-1]
    for number, one in enumerate(media):
        (alone,) = ready.encode([one])
        for found in (together[number], backwards[number]):
            for difference in _differences(found, alone, within=1e-4):
                yield f"utterance {number} beside others: {difference}"


@_law
def deterministic(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """The same utterances give the same bits: again, and after another ``setup``."""
    first, anew = ready.extract(media), replace(ready, loaded=None).setup("cpu")
    for how, records in (("again", ready.extract(media)), ("set up anew", anew.extract(media))):
        for number, (found, expected) in enumerate(zip(records, first, strict=True)):
            for difference in _differences(found, expected):
                yield f"utterance {number} {how}: {difference}"


@_law
def only_its_modality_counts(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """Without the other modalities it gives the same; without its own, the reason for that."""
    own, others = ready.spec.modality, set(Modality) - {ready.spec.modality}
    (found,), (expected,) = ready.extract([_lacking(media[0], *others)]), ready.extract(media[:1])
    for difference in _differences(found, expected):
        yield f"without {' and '.join(sorted(others))}: {difference}"
    for reason in Reason:
        lost = Missing(reason=reason, message="as given")
        if (record := ready.extract([_lacking(media[0], own, lost=lost)])) != [lost]:
            yield f"{reason} became {record}"


@_law
def nothing_else_is_touched(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
    """The input is left as it is, and so are the random generators that everybody shares."""
    before = _state(media, draw=True)  # else a seed that was set before is set again unseen
    replace(ready, loaded=None).setup("cpu").extract(media)
    yield from (f"{name} changed" for name, state in _state(media).items() if state != before[name])


LAWS: tuple[Law, ...] = (
    small_until_setup,
    the_key_tells_what_made_a_feature,
    records_are_as_declared,
    lengths_are_known_before,
    order_and_count,
    batching_changes_nothing,
    deterministic,
    only_its_modality_counts,
    nothing_else_is_touched,
)


def parameters(**values: Any) -> Law:
    """The law of the extractor's own parameters, with ``values`` that are not the defaults.

    Each of them changes the key; all together change the features.
    """

    @_law
    def parameters_count(ready: Extractor, media: Sequence[Media]) -> Iterator[str]:
        for name, value in values.items():
            if replace(ready, **{name: value}).spec.key == ready.spec.key:
                yield f"{name}={value!r} leaves the key"
        changed = replace(ready, **values, loaded=None).setup("cpu")
        pairs = zip(changed.extract(media), ready.extract(media), strict=True)
        if not any(difference for pair in pairs for difference in _differences(*pair)):
            yield f"{values} leaves the features"

    return parameters_count


def _lacking(one: Media, *modalities: Modality, lost: Missing = NOTHING) -> Media:
    return replace(one, **{modality.value: lost for modality in modalities})


def _differences(found: Record, expected: Record, within: float = 0.0) -> Iterator[str]:
    """What tells two records apart, beyond ``within`` and the rounding to their dtype."""
    if isinstance(found, Missing) or isinstance(expected, Missing):
        if found != expected:
            yield " instead of ".join(
                str(one) if isinstance(one, Missing) else "features" for one in (found, expected)
            )
        return
    if set(found) != set(expected):
        yield f"arrays {sorted(found)} instead of {sorted(expected)}"
    for name in sorted(set(found) & set(expected)):
        one, other = np.asarray(found[name]), np.asarray(expected[name])
        if one.shape != other.shape:
            yield f"{name} has shape {one.shape} instead of {other.shape}"
        elif not np.array_equal(np.isnan(one), np.isnan(other)):
            yield f"{name} is NaN elsewhere"
        else:
            number = np.nan_to_num(other)
            rounding = np.spacing(np.abs(number)) if within and number.dtype.kind == "f" else 0
            far = np.max(np.abs(np.nan_to_num(one).astype(float) - number) - rounding, initial=0)
            if far > within:
                yield f"{name} differs by {far:.2g}"


def _state(media: Sequence[Media], draw: bool = False) -> dict[str, bytes]:
    import torch

    if draw:
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    return {
        "the input": pickle.dumps(media),
        "the state of random": pickle.dumps(random.getstate()),
        "the state of numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "the state of torch.random": torch.get_rng_state().numpy().tobytes(),
    }
