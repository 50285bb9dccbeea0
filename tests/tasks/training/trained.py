"""A small data set, extracted without a cluster, and models trained on it: all of it real."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.media import Media
from meldflow.models.schema.utterances import EMOTIONS, Clip, Utterance
from meldflow.models.training.run import Trained, config_for
from meldflow.models.training.saved import save_model
from meldflow.storage import open_store
from meldflow.storage.format.catalogue import ids
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.isolated.decoder import Decoder
from meldflow.tasks.training.table import load_table
from tests.media import Track, tone, write
from tests.models import tables

NAMES = ("audio/librosa", "text/minilm")
"""Real extractors that are quick, the network among them with its real weights."""

LINES = ("Oh my God!", "I am so sorry.", "Get out of here!", "That is great news.", "What?")
SIZES = {"train": 9, "dev": 3, "test": 6}
SPEAKERS = ("Joey", "Monica")


def make_store(folder: Path, *, strict: bool = False) -> Path:
    """A store with the features of tones in ``folder/clips`` and of a few words."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    extractors = registry.build(NAMES, {}, decoding={"strict": strict})
    extract(folder / "store", tuple(utterances(folder)), [one.setup() for one in extractors])
    return folder / "store"


def utterances(folder: Path) -> Iterator[Utterance]:
    """Dialogues of three, each with a tone of its own."""
    for split, size in SIZES.items():
        for number in range(size):
            emotion = number % 3
            path = folder / "clips" / f"{split}{number}.mp4"
            write(path, [Track(samples=tone(150 + 100 * emotion + number, 0.7)[None])])
            content = path.read_bytes()
            yield Utterance(
                split=split,
                dialogue=number // 3,
                utterance=number % 3,
                text=f"{LINES[number % len(LINES)]} {number}",
                speaker=SPEAKERS[number % 2],
                emotion=EMOTIONS[emotion],
                sentiment=("neutral", "positive", "negative")[emotion],
                seconds=0.7,
                clip=Clip(
                    path=str(path),
                    sha256=hashlib.sha256(content).digest(),
                    size=len(content),
                    mtime_ns=path.stat().st_mtime_ns,
                    seconds=0.7,
                ),
            )


def extract(store: Path, found: Sequence[Utterance], ready: Sequence[Extractor]) -> None:
    """What the flow does with all its workers, one clip after the other."""
    specs = [one.spec for one in ready]
    named = {one.id: one for one in found}
    with open_run(str(store), specs, partition=64) as run, Decoder() as decoder:
        run.sync(found)
        media = {}
        for row, name in enumerate(ids(run.utterances)):
            path, text = named[name].clip.path, named[name].text
            decoded = decoder.decode(path, ready[0].decoding, audio=True, video=False)
            media[row] = Media(audio=decoded.audio, video=decoded.video, text=text)
        for part in run.plan().partitions:
            results = {}
            for one in ready:
                rows = part.rows[one.spec.name].tolist()
                records = zip(rows, one.extract([media[row] for row in rows]), strict=True)
                results[one.spec.name] = {
                    row: Result(record=record, seconds=0.0) for row, record in records
                }
            size = run.partition
            run.merge(
                write_partition(run.fork(), part.partition, results, specs, partition_size=size)
            )
        run.publish()


def train(
    store: Path,
    report: Path,
    *,
    network: str = "fusion",
    modalities: Sequence[str] = ("audio", "text"),
    protocol: str = "official",
    target: str = "emotion",
    seeds: int = 1,
    extractors: Sequence[str] = (),
) -> Trained:
    """A model of two epochs, kept in ``report/model``."""
    table = load_table(open_store(str(store)), network, modalities, target, extractors=extractors)
    config = config_for(protocol, network, epochs=2)
    trained = tables.train(table, config, protocol=protocol, seeds=seeds)
    save_model(trained, report)
    return trained
