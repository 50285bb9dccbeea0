"""How extraction grows with its workers: for real on one and two, simulated on hundreds.

For real, the same clips go through ``meldflow extract`` on one worker and on two, in turns.
Simulated, everything is real but the work: a Prefect server, a Dask scheduler, workers, the graph,
the store and its commits, with extractors that sleep for as long as the real ones took. Sleeping
takes no core, so that the cores left show what it takes to keep hundreds of workers busy; the
corpus grows with the workers, and each gets the same number of batches.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from meldflow.models.running.computing import choose
from meldflow.models.schema.errors import RunError
from tests.bench.clips.corpora import PARTITION, write_listed, write_texts
from tests.bench.clips.material import Material, material
from tests.bench.running.precisions import weights_arguments
from tests.bench.running.system import System, cluster, server
from tests.bench.running.usage import traced
from tests.bench.scaling import host
from tests.bench.scaling.busy import BATCH, Busy
from tests.bench.scaling.noop import (
    ONLY_NOTHING,
    PAUSES,
    Descriptors,
    Pictures,
    Sound,
    Words,
    register,
)

REAL = (1, 2)
"""Workers of the real runs."""

BATCHES = 6
"""Batches that each simulated worker gets."""

HOSTS = 2
"""Processes that hold the simulated workers."""

LINEAR = 0.9
"""Efficiency from which on the growth counts as linear."""

STANDS_FOR: dict[str, tuple[str, ...]] = {
    Sound.name: ("load", "audio/wav2vec2", "write"),
    Descriptors.name: ("audio/librosa",),
    Pictures.name: ("video/resnet50",),
    Words.name: ("text/minilm",),
}
"""Extractor that sleeps → the stages whose time it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """The same clips on some workers."""

    workers: int
    clips: int
    seconds: tuple[float, ...]
    """By round: how long the flow took, from its own report."""
    stage_seconds: Mapping[str, float]
    """Stage → seconds of a worker per clip, mean of the rounds."""

    @property
    def clips_per_second(self) -> float:
        """At the median of the rounds."""
        return self.clips / statistics.median(self.seconds)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"clips_per_second": round(self.clips_per_second, 3)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Clips that take their time, on many workers."""

    workers: int
    clips: int
    partitions: int
    seconds: float
    """How long the flow took, from its own report."""
    steady_seconds: float
    """From the first batch's start until the first worker has had its last one."""
    busy_seconds: float
    """From the first batch's start until the last partition is written."""
    clips_per_second: float
    """In the steady time."""
    efficiency: float
    """That, against as many workers that never wait."""
    busy_efficiency: float
    """The same over the busy time, when some workers have nothing left at the end."""
    cores: Mapping[str, float]
    """``flow``, ``server``, ``scheduler``, ``workers`` → cores taken in the steady time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What the bench found."""

    real: tuple[Real, ...]
    """Empty where the time of a clip was given."""
    clip_seconds: float
    """Of a worker, per clip: what the simulated ones sleep."""
    simulated: tuple[Simulated, ...]
    """By number of workers."""

    @property
    def factor(self) -> float | None:
        """How much faster two workers are than one."""
        if not self.real:
            return None
        one, two = self.real
        return two.clips_per_second / one.clips_per_second

    @property
    def linear_until(self) -> int:
        """The most workers up to which efficiency stays at 0.9 or above; 0 if it never was."""
        until = 0
        for one in self.simulated:
            if one.efficiency < LINEAR:
                break
            until = one.workers
        return until

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "factor": None if self.factor is None else round(self.factor, 3),
            "linear_until": self.linear_until,
            "computed": None if not self.real else asdict(choose("auto", "auto", "cpu", None)),
            "clip_seconds": round(self.clip_seconds, 4),
            "real": [one.to_json() for one in self.real],
            "simulated": [asdict(one) for one in self.simulated],
        }


def scale(
    directory: Path | None,
    *,
    clips: int,
    rounds: int,
    workers: Sequence[int],
    clip_seconds: float | None,
    say: Callable[[str], None],
) -> Scaling:
    """Extracts clips on one and on two workers, then simulates many.

    Args:
        directory: see ``tests.bench.clips.material.material``.
        clips: how many of them.
        rounds: how often each number of real workers extracts them.
        workers: how many to simulate, one number after the other.
        clip_seconds: how long a simulated worker takes per clip; the real ones are left out then.
        say: told what is being done.

    Raises:
        UsageError: there are no clips.
        RunError: a process did not start, or an extraction failed.
    """
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        folder = Path(named)
        register(folder / "path")
        real: tuple[Real, ...] = ()
        pauses = {Sound.name: clip_seconds or 0.0}
        several = () if clip_seconds else material(directory, clips, folder, say)
        say("starting a Prefect server")
        with server(folder) as up:
            if several:
                real = _really(up, several, rounds, say)
                # Of the busier machine: on one worker alone, this one's clips may take longer.
                pauses = _pauses(real[-1].stage_seconds)
            up.environment[PAUSES] = json.dumps(pauses)
            simulated = tuple(_simulate(up, number, pauses, say) for number in sorted(workers))
    return Scaling(real=real, clip_seconds=sum(pauses.values()), simulated=simulated)


def _really(
    up: System, several: Sequence[Material], rounds: int, say: Callable[[str], None]
) -> tuple[Real, ...]:
    """Both numbers of workers, in turns."""
    names = {number: f"real-{number}" for number in REAL}
    reports: dict[int, list[dict[str, Any]]] = {number: [] for number in REAL}
    with ExitStack() as stack:
        for number, name in names.items():
            say(f"warming up {number} of {max(REAL)} workers")
            stack.enter_context(cluster(up, number, name=name))
            _warm_up(up, number, name, several)
        for one in range(rounds):
            for number in REAL if one % 2 == 0 else reversed(REAL):
                say(f"{len(several)} clips, round {one + 1} of {rounds}, workers: {number}")
                table = up.folder / f"clips-{one}-{number}.csv"
                write_listed(table, several, len(several))
                _, told = up.extract(table, len(several), weights_arguments(), on=names[number])
                reports[number].append(told)
    return tuple(_real(number, len(several), found) for number, found in reports.items())


def _warm_up(up: System, workers: int, name: str, several: Sequence[Material]) -> None:
    """Loads all there is on every worker: small partitions bring each of everything."""
    table = up.folder / f"warm-up-{workers}.csv"
    write_listed(table, several, 6 * workers)
    options = (*weights_arguments(), "--partition", "2", "--batch", "1")
    up.extract(table, 6 * workers, options, on=name)


def _real(workers: int, clips: int, reports: Sequence[Mapping[str, Any]]) -> Real:
    stages = [report["effort"]["seconds"] for report in reports]
    return Real(
        workers=workers,
        clips=clips,
        seconds=tuple(report["seconds"] for report in reports),
        stage_seconds={
            name: round(statistics.mean(one[name] for one in stages) / clips, 5)
            for name in stages[0]
        },
    )


def _pauses(stage_seconds: Mapping[str, float]) -> dict[str, float]:
    """Extractor that sleeps → seconds per clip."""
    return {
        name: sum(stage_seconds[stage] for stage in stages) for name, stages in STANDS_FOR.items()
    }


def _simulate(
    up: System, workers: int, pauses: Mapping[str, float], say: Callable[[str], None]
) -> Simulated:
    """One extraction by workers that sleep for ``pauses``: extractor → seconds per utterance.

    Raises:
        RunError: it failed, or a worker had next to nothing to do.
    """
    clip_seconds, text_pause = sum(pauses.values()), pauses.get(Words.name, 0.0)
    clips = BATCHES * BATCH * workers
    table, name = up.folder / f"waiting-{workers}.csv", f"waiting-{workers}"
    write_texts(table, clips)
    say(f"starting {workers} workers that sleep")
    hosts = list(_hosts(workers))
    with (
        cluster(up, workers, name=name, hosts=hosts) as address,
        _task_stream(address) as stream,
        traced(up.processes) as trace,
    ):
        say(f"{workers} workers, {clips:,} clips of {clip_seconds:.2f} s")
        _, report = up.extract(table, clips, ONLY_NOTHING, on=name)
        busy = Busy.of(stream(), clip_seconds - text_pause, text_pause)
    if busy.workers < workers or busy.fewest < BATCHES // 2:
        raise RunError(
            f"bench: {busy.workers} of {workers} workers had work, and one of them {busy.fewest} "
            f"batches of {BATCHES}: too few to say anything of a steady state"
        )
    # The trace goes on until here, and so covers the time that the workers were busy.
    ideal = workers / clip_seconds
    rate = busy.slept / clip_seconds / busy.steady_seconds
    return Simulated(
        workers=workers,
        clips=clips,
        partitions=-(-clips // PARTITION),
        seconds=report["seconds"],
        steady_seconds=round(busy.steady_seconds, 3),
        busy_seconds=round(busy.stop - busy.start, 3),
        clips_per_second=round(rate, 3),
        efficiency=round(rate / ideal, 4),
        busy_efficiency=round(clips / (busy.stop - busy.start) / ideal, 4),
        cores={
            kind: round(cores, 3)
            for kind, cores in trace.cores(busy.start, busy.steady_stop).items()
        },
    )


def _hosts(workers: int) -> Iterator[tuple[str, ...]]:
    share = -(-workers // HOSTS)
    for first in range(0, workers, share):
        yield host.command(sys.executable, first, min(share, workers - first))


@contextmanager
def _task_stream(address: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Asks what the workers have done since the block began, as Dask's dashboard shows it."""
    with Client(address, set_as_default=False) as client:
        began = time.time()
        client.get_task_stream(count=0)  # from here on it is kept
        yield lambda: client.get_task_stream(start=began)
