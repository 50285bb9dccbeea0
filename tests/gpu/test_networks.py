"""Features of a GPU are those of a CPU, whatever the batch and however little memory there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.images import extractor as resnet50
from meldflow.models.running.backends import TorchNetwork
from meldflow.models.running.computing import PRECISIONS, Computing
from meldflow.models.schema.media import Media, Missing
from meldflow.tasks.extraction import stages
from meldflow.tasks.extraction.payloads import Loaded, Portion, Source, Spent
from tests.bench.agreement.precision import ARRAYS, PROMISED, deviation, rows_of
from tests.gpu import DEVICE
from tests.media import Film, Track, noise, tone, write

pytestmark = pytest.mark.gpu

FRAMES = 20
"""Of ResNet-50's pictures, for which the simulated card has memory at once."""
LENGTHS = (0.4, 1.7, 0.9, 2.6)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> list[Media]:
    """Of clips of several lengths."""
    folder, found = tmp_path_factory.mktemp("clips"), []
    for number, seconds in enumerate(LENGTHS):
        film = Film(frames=noise(round(25 * seconds), seed=number))
        sound = Track(samples=tone(200 + 90 * number, seconds)[None])
        clip = write(folder / f"{number}.mp4", [film, sound])
        decoded = decode(clip)
        text = "So this is what they say. " * (number + 1)
        found.append(Media(audio=decoded.audio, video=decoded.video, text=text))
    return found


def extractor(name: str, precision: str = "fp32") -> Extractor:
    (plain,) = registry.build([name], {}, "random")
    return replace(plain, computing=Computing(precision=precision)) if plain.computing else plain


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ARRAYS)
def test_features_are_those_of_a_cpu(media: list[Media], name: str, precision: str) -> None:
    wanted = extractor(name).setup("cpu").extract(media)
    found = extractor(name, precision).setup(DEVICE).extract(media)
    for array in ARRAYS[name]:
        assert deviation(array, rows_of(found, array), rows_of(wanted, array)).lowest >= PROMISED


@pytest.mark.parametrize("name", [*ARRAYS, "text/minilm"])
def test_a_batch_changes_nothing(media: list[Media], name: str) -> None:
    ready = extractor(name).setup(DEVICE)
    together, alone = ready.extract(media), [ready.extract([one])[0] for one in media]
    for one, other in zip(together, alone, strict=True):
        assert not isinstance(one, Missing)
        assert not isinstance(other, Missing)
        for array in one:
            np.testing.assert_allclose(
                one[array].astype(np.float64), other[array].astype(np.float64), atol=2e-3, rtol=2e-3
            )


@contextlib.contextmanager
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Room for some pictures at once, inside the block: on a card, a gibibyte."""
    if DEVICE == "cpu":
        run = TorchNetwork.run

        def greedy(network: TorchNetwork, batches: Iterable[Any]) -> list[NDArray[np.float32]]:
            given = list(batches)
            if max(len(one) for arrays in given for one in arrays) > FRAMES:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return run(network, given)

        monkeypatch.setattr(TorchNetwork, "run", greedy)
        monkeypatch.setattr(resnet50, "room", lambda *_, **__: 1000)
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    room = torch.cuda.memory_allocated() + 2**30
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_that_does_not_fit_is_halved(
    media: list[Media], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [media[n % len(media)] for n in range(16 if DEVICE == "cpu" else 64)]
    one = extractor("video/resnet50")
    portion = Portion(
        extractor=one,
        sources=tuple(Source(row=n, id=str(n), clip="", text="") for n in range(len(many))),
    )
    loaded = {n: Loaded(media=it, facts={}, spent=Spent(0.0, 0.0)) for n, it in enumerate(many)}
    (whole,) = stages.encode([portion], loaded, DEVICE, 60.0)
    refused: list[BaseException] = []

    def noticed(error: BaseException) -> bool:
        refused.append(error)
        return isinstance(error, torch.OutOfMemoryError)

    monkeypatch.setattr(stages, "is_out_of_memory", noticed)
    with little_memory(monkeypatch):
        (halved,) = stages.encode([portion], loaded, DEVICE, 60.0)
    assert any(isinstance(error, torch.OutOfMemoryError) for error in refused)
    for row in whole.results:
        found, wanted = (kind.results[row].record for kind in (halved, whole))
        assert not isinstance(found, Missing)
        assert not isinstance(wanted, Missing)
        np.testing.assert_array_equal(found["frame_index"], wanted["frame_index"])
        np.testing.assert_allclose(found["features"], wanted["features"], atol=2e-3, rtol=2e-3)
