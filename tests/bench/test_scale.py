"""When workers count as busy, from Dask's task stream by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.scale import Busy, Scaling, Simulated


def _task(worker: str, key: str, start: float, stop: float) -> dict[str, Any]:
    moved = {"action": "transfer", "start": start - 5, "stop": start}
    computed = {"action": "compute", "start": start, "stop": stop}
    return {"worker": worker, "key": key, "startstops": [moved, computed]}


def test_steady_until_the_first_worker_has_had_its_last_batch() -> None:
    stream = [
        *(_task("a", f"load_and_encode-p1-{n}", 10 + 4 * n, 14 + 4 * n) for n in range(3)),
        _task("b", "load_and_encode-p1-3", 20, 20.5),  # its texts
        _task("b", "load_and_encode-p2-0", 10, 15),
        _task("b", "load_and_encode-p2-1", 16, 20),
        _task("a", "load_and_encode-p2-2", 22, 22.5),
        _task("b", "write-p2", 20.5, 21),
        _task("a", "write-p1", 22.5, 24),
    ]
    busy = Busy.of(stream, clip_pause=0.5, text_pause=0.01)
    assert (busy.start, busy.steady_stop, busy.stop) == (10, 20, 24)
    assert busy.steady_seconds == 10
    assert (busy.workers, busy.fewest) == (2, 2)
    # Each batch was to take 4 s: two and a half on a, two on b; no texts yet.
    assert busy.slept == pytest.approx(4.5 * 4)


def test_texts_count_for_what_they_were_to_take() -> None:
    stream = [
        _task("a", "load_and_encode-p1-2", 0, 1),  # texts of 16 utterances
        _task("a", "load_and_encode-p1-0", 1, 5),
        _task("a", "load_and_encode-p1-1", 5, 9),
    ]
    assert Busy.of(stream, clip_pause=0.5, text_pause=0.05).slept == pytest.approx(8 + 0.8)


def _simulated(workers: int, efficiency: float) -> Simulated:
    return Simulated(
        workers=workers,
        clips=48 * workers,
        partitions=workers,
        seconds=2.0,
        steady_seconds=1.0,
        busy_seconds=1.0,
        clips_per_second=1.0,
        efficiency=efficiency,
        busy_efficiency=efficiency,
        cores={},
    )


@pytest.mark.parametrize(
    ("efficiencies", "until"),
    [((0.99, 0.95, 0.9), 16), ((0.99, 0.8, 0.95), 4), ((0.5, 0.95, 0.95), 0)],
)
def test_linear_until_efficiency_first_falls(efficiencies: tuple[float, ...], until: int) -> None:
    simulated = map(_simulated, (4, 8, 16), efficiencies)
    found = Scaling(real=(), clip_seconds=1.0, simulated=tuple(simulated))
    assert (found.linear_until, found.factor) == (until, None)
