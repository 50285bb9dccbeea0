"""The networks that a worker keeps: those of two runs, or of one where memory is short."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.features import Features, Weights
from meldflow.models.schema.media import Media, Missing
from meldflow.tasks.extraction import ready
from meldflow.tasks.extraction.ready import KEPT, make_room, set_up
from tests.tasks.isolated.evil import Evil


class Network:
    """What is loaded."""


@dataclass(frozen=True, kw_only=True)
class Loading(Evil):
    """Keeps count of what it loads."""

    weights: Weights = field(default_factory=lambda: Weights(kind="none", revision="none"))
    loaded_for: ClassVar[list[float]] = []
    networks: ClassVar[weakref.WeakSet[Network]] = weakref.WeakSet()

    def load(self, device: str) -> Any:
        assert self.decoding is not None
        self.loaded_for.append(self.decoding.max_seconds)
        network = Network()
        self.networks.add(network)
        if self.decoding.max_seconds > 50 and len(self.networks) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        raise NotImplementedError


def of(max_seconds: float) -> Loading:
    return Loading(decoding=DecodeOptions(max_seconds=max_seconds))


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    ready._READY.clear()
    Loading.loaded_for.clear()
    yield
    ready._READY.clear()


def test_two_runs_on_the_same_workers_load_their_networks_once_each() -> None:
    for _ in range(3):
        for seconds in (10, 20):  # batches of both, in turn
            assert set_up(of(seconds), "cpu").decoding == of(seconds).decoding
    assert Loading.loaded_for == [10, 20]
    set_up(of(30), "cpu")
    assert len(Loading.networks) == KEPT == 2, "a third takes the place of the one unused longest"
    set_up(of(20), "cpu")
    set_up(of(10), "cpu")
    assert Loading.loaded_for == [10, 20, 30, 10]
    set_up(of(20), "cuda")
    assert Loading.loaded_for[4:] == [20], "another device is another network"


def test_where_memory_is_short_one_run_has_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(of(20), resource="cpu")
    for one in (of(10), of(20)):
        set_up(one, "cpu")
    make_room()
    assert len(Loading.networks) == 1
    monkeypatch.setattr(ready, "_is_short", lambda: True)
    set_up(other, "cpu")
    assert len(Loading.networks) == 1
    assert Loading.loaded_for == [10, 20, 20]


def test_a_network_that_does_not_fit_beside_others_fits_alone() -> None:
    set_up(of(10), "cpu")
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        set_up(of(60), "cpu")
    assert set_up(of(60), "cpu").loaded in Loading.networks
