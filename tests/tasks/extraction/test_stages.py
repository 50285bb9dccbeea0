from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec, Weights
from meldflow.models.schema.media import Audio, Media, Missing, Modality, Reason
from meldflow.storage import open_store
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.dataset import take_in_folder
from meldflow.tasks.extraction.committing import sources_of
from meldflow.tasks.extraction.hanging import LAST_WORDS, HungError
from meldflow.tasks.extraction.inputs import known_clips
from meldflow.tasks.extraction.payloads import Portion, Source
from meldflow.tasks.extraction.stages import load_and_encode, load_media, write
from tests.media import Track, tone
from tests.media import write as write_clip


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


@dataclass(frozen=True, kw_only=True)
class Loud(Letters):
    """Counts how often a clip's sound crosses zero upwards."""

    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)

    @property
    def spec(self) -> FeatureSpec:
        array = ArraySpec(name="crossings", dims=(), shape=(), dtype="int32")
        return replace(super().spec, name="audio/loud", modality=Modality.AUDIO, arrays=(array,))

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        sounds = [one.audio.samples for one in media if isinstance(one.audio, Audio)]
        return [{"crossings": 2 * ((one[:-1] < 0) & (one[1:] >= 0)).sum()} for one in sounds]


LETTERS = Letters(weights=Weights(kind="none", revision="none"))


def encoded(*texts: str, extractor: Extractor = LETTERS) -> dict[int, Any]:
    sources = tuple(
        Source(row=i, id=f"train/dia0_utt{i}", clip="", text=t) for i, t in enumerate(texts)
    )
    portion = Portion(extractor=extractor, sources=sources)
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


@dataclass(frozen=True, kw_only=True)
class Hungry(Letters):
    """Takes memory for each text, of which there is enough for one text at a time."""

    taken: ClassVar[list[weakref.ref[Any]]] = []

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        activations = np.zeros(1000 * len(media))
        assert not any(one() is not None for one in self.taken)  # what failed before is gone
        self.taken.append(weakref.ref(activations))
        if len(media) > 1:
            raise torch.OutOfMemoryError
        return super().encode(media)


def test_a_batch_that_did_not_fit_holds_nothing_when_its_halves_are_tried() -> None:
    records = encoded("one", "two", "three", extractor=Hungry(weights=LETTERS.weights))
    assert [records[row]["count"] for row in range(3)] == [3, 3, 5]
    assert len(Hungry.taken) == 5


@dataclass(frozen=True, kw_only=True)
class Ill(Letters):
    """Fails as a GPU does."""

    error: Exception

    def encode(self, _: Sequence[Media]) -> list[Features | Missing]:
        raise self.error


def test_a_clip_too_large_for_a_gpu_is_told_from_one_that_crashes() -> None:
    ill = Ill(weights=LETTERS.weights, error=torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        encoded("one", extractor=ill)


def test_a_worker_whose_gpu_is_lost_ends_and_no_clip_pays_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A card in that state cannot be had for a test: torch is made to answer as it does then."""
    ends: list[float] = []

    class Timer:
        def __init__(self, seconds: float, *_: Any) -> None:
            ends.append(seconds)

        def start(self) -> None: ...

    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    monkeypatch.setattr(threading, "Timer", Timer)
    ill = Ill(weights=LETTERS.weights, error=RuntimeError("CUDA error"))
    with pytest.raises(HungError, match="GPU of this worker cannot be used any more"):
        encoded("one", "two", extractor=ill)
    assert ends == [LAST_WORDS]


def test_what_another_try_may_mend_is_raised() -> None:
    with pytest.raises(OSError, match="disk"):
        encoded("one", "disk")


def a_tone(path: Path, hertz: float, time: int) -> Path:
    """A clip; two of them differ in nothing but their sound."""
    write_clip(path, [Track(samples=tone(hertz, 0.5)[None], codec="pcm_s16le")])
    os.utime(path, ns=(time, time))
    return path


@pytest.mark.parametrize("later", [330, 440])
def test_what_is_stored_is_what_was_hashed(tmp_path: Path, later: int) -> None:
    """A clip that is replaced after it was listed is not stored under the old one's checksum.

    The next run reads it, even where size and time of change tell nothing, and where the old one
    is back.
    """
    folder, store = tmp_path / "clips", str(tmp_path / "store")
    folder.mkdir()
    a_tone(folder / "a.wav", 220, 10**18)
    replaced = a_tone(folder / "b.wav", 330, 10**18)
    size, loud = replaced.stat().st_size, Loud(weights=LETTERS.weights)

    def run(meanwhile: Callable[[], object]) -> None:
        listed = take_in_folder(folder, known=known_clips(store)).utterances
        meanwhile()
        with open_run(store, [loud.spec], partition=4) as run:
            run.sync(listed)
            for part in run.plan().partitions:
                sources = sources_of(run.utterances)(part.rows["audio/loud"].tolist())
                portions = [Portion(extractor=loud, sources=sources)]
                one = load_and_encode(sources, portions, loud.decoding, "cpu", 60.0)
                written = write(run.fork(), part.partition, [one], [loud.spec], 4)
                run.merge(written.written)
            run.publish()

    run(lambda: a_tone(replaced, 440, 10**18))
    assert replaced.stat().st_size == size
    snapshot = open_store(store)
    (failed,) = snapshot.failures()
    assert (failed.id, failed.reason) == ("clips/b", "changed")
    assert snapshot.clips()["audio_codec"].notna().tolist() == [True, False]
    assert snapshot.features("audio/loud", "crossings")[1].tolist() == [True, False]
    a_tone(replaced, later, 10**18)
    run(lambda: None)
    snapshot = open_store(store)
    assert snapshot.failures() == []
    assert snapshot.features("audio/loud", "crossings")[0] == pytest.approx([220, later], abs=3)
    digest = hashlib.sha256(replaced.read_bytes()).digest()
    assert snapshot.state("audio/loud")["source_sha"][1].tobytes() == digest
    assert snapshot.state("audio/loud")["run"].tolist() == [0, 1]


def test_a_clip_is_decoded_with_the_modalities_asked_for(tmp_path: Path) -> None:
    source = Source(row=7, id="dev/dia0_utt7", clip=str(tmp_path / "none.mp4"), text="Hi.")
    media = load_media([source], {Modality.AUDIO}, DecodeOptions(), timeout=10)[7].media
    assert isinstance(media.audio, Missing)
    assert media.audio.reason == Reason.MISSING_FILE
    assert media.text == "Hi."
