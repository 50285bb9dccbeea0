"""Utterances that nobody said and features that nobody extracted: what is measured is the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from meldflow.models.schema.features import FeatureSpec, Record
from meldflow.models.schema.utterances import Clip, Utterance
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import Run


def utterance(number: int, take: str = "", **own: Any) -> Utterance:
    """The one of this number: three splits in turns, ten to a dialogue, unless ``own`` says other.

    Args:
        number: from 0; no two have the same content.
        take: content of its clip, where the same utterance is to have another.
        own: fields of the utterance, in place of the usual ones; ``seconds`` holds for its clip.
    """
    dialogue, place = divmod(number // 3, 10)
    found = Utterance(
        split=("train", "dev", "test")[number % 3],
        dialogue=dialogue,
        utterance=place,
        text=f"What they say in line {number}.",
        speaker="Ann",
        emotion="neutral",
        sentiment="neutral",
        seconds=own.get("seconds", 3.0),
        clip=Clip(
            path=f"/corpus/clips/{number}.mp4",
            sha256=hashlib.sha256(f"{number}{take}".encode()).digest(),
            size=800_000,
            mtime_ns=number,
            seconds=own.get("seconds", 3.0),
        ),
    )
    return replace(found, **own)


def fill(run: Run, specs: Sequence[FeatureSpec], record: Callable[[str, int], Record]) -> None:
    """Writes all that the run's plan asks for, as its workers would; publishes nothing.

    Args:
        run: an open run whose catalogue is in step.
        specs: the extractors.
        record: gives what the extractor of a name found in a row.
    """
    for part in run.plan().partitions:
        results = {
            name: {row: Result(record=record(name, row), seconds=0.0) for row in rows.tolist()}
            for name, rows in part.rows.items()
        }
        size = run.partition
        run.merge(write_partition(run.fork(), part.partition, results, specs, partition_size=size))
