"""A small corpus with known features: what the tests of the store write and expect."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meldflow.models.schema.features import ArraySpec, FeatureSpec, Record, Weights
from meldflow.models.schema.media import Missing, Modality, Reason
from meldflow.models.schema.utterances import Clip, Utterance
from meldflow.storage.format.catalogue import ids
from meldflow.storage.reading.plan import PartitionPlan
from meldflow.storage.writing.partition import Result, Written, write_partition
from meldflow.storage.writing.transaction import Run, open_run

NO_WEIGHTS = Weights(kind="none", revision="none")


def voice_spec(version: int = 1, width: int = 6) -> FeatureSpec:
    return FeatureSpec(
        name="audio/voice",
        modality=Modality.AUDIO,
        version=version,
        weights=NO_WEIGHTS,
        arrays=(
            ArraySpec(
                name="frames", dims=("frame", "channel"), shape=(width,), dtype="float16", rate=50.0
            ),
            ArraySpec(name="mean", dims=("channel",), shape=(width,), dtype="float32"),
        ),
    )


def words_spec(version: int = 1) -> FeatureSpec:
    return FeatureSpec(
        name="text/words",
        modality=Modality.TEXT,
        version=version,
        weights=NO_WEIGHTS,
        arrays=(ArraySpec(name="embedding", dims=("channel",), shape=(4,), dtype="float32"),),
    )


def pictures_spec() -> FeatureSpec:
    """Steps that may be masked, integers, a single number, and random weights."""
    return FeatureSpec(
        name="video/pictures",
        modality=Modality.VIDEO,
        version=1,
        weights=Weights(kind="random", revision="seed-7", model="made/up"),
        parameters={"steps": 3},
        arrays=(
            ArraySpec(
                name="steps",
                dims=("step", "channel"),
                shape=(3, 5),
                dtype="float16",
                may_be_nan=True,
            ),
            ArraySpec(name="index", dims=("step",), shape=(3,), dtype="int32"),
            ArraySpec(name="brightness", dims=(), shape=(), dtype="float32"),
        ),
    )


SPECS = (voice_spec(), words_spec())


def utterance(
    number: int, *, text: str | None = None, take: str = "a", emotion: str = "neutral"
) -> Utterance:
    """Utterance ``number``; ``take`` names the content of its clip."""
    return Utterance(
        split=("train", "dev", "test")[number % 3],
        dialogue=number // 3,
        utterance=number % 3,
        text=f"words {number}" if text is None else text,
        speaker="Ben’s Date",
        emotion=emotion,
        sentiment="neutral",
        seconds=1.0,
        clip=Clip(
            path=f"/clips/{number}.mp4",
            sha256=hashlib.sha256(f"{number}{take}".encode()).digest(),
            size=100 + number,
            mtime_ns=number,
            seconds=0.5 + number % 4,
        ),
    )


def corpus(n: int) -> list[Utterance]:
    return [utterance(i) for i in range(n)]


def expected(spec: FeatureSpec, one: Utterance) -> Record:
    """The features of an utterance: functions of its content and the extractor's key."""
    source = one.text.encode() if spec.modality == Modality.TEXT else one.clip.sha256
    seed = hashlib.sha256(source + spec.key.encode()).digest()
    rng = np.random.default_rng(list(seed))
    if "silent" in one.text and spec.modality == Modality.AUDIO:
        return Missing(reason=Reason.SILENT, message="nothing to hear")
    if "dark" in one.text and spec.modality == Modality.VIDEO:
        return Missing(reason=Reason.DECODE_ERROR, message="no “picture”")
    n_frames = math.floor(one.clip.seconds * 50)
    features = {}
    for a in spec.arrays:
        values = rng.normal(size=(n_frames, *a.shape) if a.rate else a.shape)
        features[a.name] = (values * 1000 if a.dtype.startswith("int") else values).astype(a.dtype)
        if a.may_be_nan and a.shape:
            features[a.name][3 - one.utterance :] = np.nan  # as many as its number
    return features


def do_partition(
    run: Run, part: PartitionPlan, utterances: Sequence[Utterance], specs: Sequence[FeatureSpec]
) -> Written:
    """What a worker does, in this process."""
    named = {one.id: one for one in utterances}
    by_row = {row: named[name] for row, name in enumerate(ids(run.utterances)) if name in named}
    results: Mapping[str, Mapping[int, Result]] = {
        spec.name: {
            row: Result(record=expected(spec, by_row[row]), seconds=0.01)
            for row in part.rows[spec.name]
        }
        for spec in specs
        if spec.name in part.rows
    }
    return write_partition(run.fork(), part.partition, results, specs, partition_size=run.partition)


def extract_all(run: Run, utterances: Sequence[Utterance], specs: Sequence[FeatureSpec]) -> int:
    """Syncs, plans and merges everything; gives the number of stale rows there were."""
    run.sync(utterances)
    plan = run.plan()
    for part in plan.partitions:
        run.merge(do_partition(run, part, utterances, specs))
    return sum(plan.stale().values())


def extract(
    store: Path, utterances: Sequence[Utterance], specs: Sequence[FeatureSpec] = SPECS
) -> int:
    """A whole run; gives the number of rows that were stale."""
    with open_run(str(store), specs, partition=4) as run:
        stale = extract_all(run, utterances, specs)
        run.publish()
    return stale
