"""One utterance through a model's extractors, and as a table of one row."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.judging.table import SEGMENTS, FeatureTable, extractor_of, segments
from meldflow.models.schema.features import ArraySpec, Record
from meldflow.models.schema.media import Media, Missing, Modality, Reason
from meldflow.models.schema.utterances import Target
from meldflow.tasks.inspection.inspect import ran, words
from meldflow.tasks.isolated.decoder import Decoder
from meldflow.tasks.training.predict.records import Given

Say = Callable[[str], None]
"""Told what is going on, for whoever waits."""

_NO_CLIP = Missing(reason=Reason.MISSING_FILE, message="no clip was given")


def extract(
    given: Given, extractors: Sequence[Extractor], ready: dict[str, Extractor], say: Say
) -> Iterator[tuple[str, Record]]:
    """What every extractor gives, by name; clips are decoded once per set of options.

    ``ready`` holds the extractors that were set up, by name, and grows.
    """
    sharing: dict[DecodeOptions | None, list[Extractor]] = {}
    for one in extractors:
        sharing.setdefault(one.decoding, []).append(one)
    for options, some in sharing.items():
        media = _media(given, options, {one.spec.modality for one in some}, say)
        for one in some:
            yield one.spec.name, _extracted(one, ready, media, say)


def _media(
    given: Given, options: DecodeOptions | None, modalities: set[Modality], say: Say
) -> Media:
    """What there is of an utterance; only ``modalities`` are decoded, in a child process."""
    text = words(given.text)
    if options is None or given.clip is None:
        return Media(audio=_NO_CLIP, video=_NO_CLIP, text=text)
    say("reading the clip")
    with Decoder() as decoder:
        decoded = decoder.decode(
            os.fspath(given.clip),
            options,
            audio=Modality.AUDIO in modalities,
            video=Modality.VIDEO in modalities,
        )
    return Media(audio=decoded.audio, video=decoded.video, text=text)


def _extracted(extractor: Extractor, ready: dict[str, Extractor], media: Media, say: Say) -> Record:
    name = extractor.spec.name
    absent = getattr(media, extractor.spec.modality.value)
    if isinstance(absent, Missing):
        return absent  # and its weights need not be loaded
    if name not in ready:
        say(f"loading {name}")
        ready[name] = extractor.setup("cpu")
    say(f"running {name}")
    return ran(lambda: ready[name], media)


def table_of(
    given: Given,
    records: Mapping[str, Record],
    extractors: Sequence[Extractor],
    arrays: Mapping[str, tuple[str, ...]],
    target: Target,
) -> FeatureTable:
    """The utterance as a table of one row, a dialogue of its own.

    Of ``records``, extractor → what it gave, it has the ``arrays`` that the model reads.
    """
    specs = {one.spec.name: one.spec for one in extractors}
    read = {
        path: specs[name].array(path.removeprefix(f"{name}/"))
        for path in chain(*arrays.values())
        if (name := extractor_of(path)) in specs
    }
    return FeatureTable(
        snapshot="",
        store="",
        keys={name: spec.key for name, spec in specs.items()},
        weights={name: spec.weights.kind for name, spec in specs.items()},
        split=np.array(["test"]),
        dialogue=np.zeros(1, np.int64),
        utterance=np.zeros(1, np.int64),
        speaker=np.array([given.speaker]),
        text=np.array([given.text]),
        label=np.array([""]),
        features={path: _row(records[extractor_of(path)], spec) for path, spec in read.items()},
        columns={path: spec.columns for path, spec in read.items()},
        sequences={path for path, spec in read.items() if spec.is_sequence},
        arrays=arrays,
        target=target,
    )


def _row(record: Record, spec: ArraySpec) -> NDArray[Any]:
    """One array as a table holds it, first axis 1: frames as segments, NaN where missing."""
    if isinstance(record, Missing):
        shape = spec.shape if spec.rate is None else (SEGMENTS, *spec.shape)
        return np.full((1, *shape), np.nan, dtype=np.float32)
    values = record[spec.name]
    return values[None] if spec.rate is None else segments(values)[None]
