"""What it costs to bring an utterance through the system when there is nothing to compute.

Everything is real: a Prefect server, a Dask scheduler with workers, a store, and ``meldflow
extract`` in a process of its own. Only the extractors do nothing, and no clip is opened, since the
corpus is a table of texts: what is left out is the probing, hashing and decoding of clips.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.clips.corpora import MELD, PARTITION, write_texts
from tests.bench.running.system import System, system
from tests.bench.running.usage import cpu_seconds, peaks
from tests.bench.scaling.noop import ONLY_NOTHING, register

FEW = 64
"""Utterances of the run that shows the fixed cost: one partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one extraction took."""

    utterances: int
    partitions: int
    seconds: float
    """Of the flow's process, from its start to its end."""
    settle_seconds: float
    """From there until the server had recorded everything."""
    cpu_seconds: Mapping[str, float]
    """``flow``, ``server``, ``scheduler``, ``workers`` → CPU time, that of settling included."""
    peak_mb: Mapping[str, float]
    """The same → the most memory held."""
    task_runs_lost: int
    """Partitions whose completion the server never recorded."""

    def above(self, fixed: Cost) -> dict[str, float]:
        """Process → CPU milliseconds for each utterance more than ``fixed`` had."""
        more = max(1, self.utterances - fixed.utterances)
        return {
            name: round(1000 * (spent - fixed.cpu_seconds[name]) / more, 3)
            for name, spent in self.cpu_seconds.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestration:
    """What the bench found."""

    fixed: Cost
    """A run of one partition: the flow's start, an empty store, the first commits."""
    runs: tuple[Cost, ...]
    """By size, each into a store of its own."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; the figures on top are those of the largest corpus."""
        by_process = [run.above(self.fixed) for run in self.runs]
        sizes = [
            asdict(run)
            | {"cpu_ms_per_utterance": round(sum(one.values()), 3), "cpu_ms_by_process": one}
            for run, one in zip(self.runs, by_process, strict=True)
        ]
        largest = self.runs[-1]
        return {
            "utterances": largest.utterances,
            "cpu_ms_per_utterance": sizes[-1]["cpu_ms_per_utterance"],
            "flow_peak_mb": largest.peak_mb["flow"],
            "server_peak_mb": largest.peak_mb["server"],
            "task_runs_lost": sum(run.task_runs_lost for run in self.runs),
            "sizes": sizes,
            "fixed": asdict(self.fixed),
        }


def orchestrate(utterances: int, say: Callable[[str], None]) -> Orchestration:
    """Extracts nothing from one partition, from as many utterances as MELD has, and from more.

    Args:
        utterances: size of the largest corpus; MELD's is left out where it is no smaller.
        say: told what is being done.

    Raises:
        RunError: a process did not start, or an extraction failed.
    """
    sizes = [MELD] * (utterances > MELD) + [utterances]
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        folder = Path(named)
        register(folder / "path")
        say("starting a Prefect server and a Dask cluster")
        with system(folder) as up:
            costs = []
            # Twice the few: the first run also warms up the workers and the server.
            for size in (FEW, FEW, *sizes):
                say(f"extracting nothing from {size:,} utterances")
                costs.append(_cost(up, size))
    _, fixed, *runs = costs
    return Orchestration(fixed=fixed, runs=tuple(runs))


def _cost(up: System, utterances: int) -> Cost:
    """One extraction, measured until the server has recorded it."""
    number = len(list(up.folder.glob("*.csv")))
    table = up.folder / f"corpus-{number}.csv"
    write_texts(table, utterances)
    partitions = -(-utterances // PARTITION)
    others = [name for name in up.processes if name != "flow"]
    before = {name: cpu_seconds(up.processes[name]) for name in others}
    recorded = up.recorded()
    with peaks(up.processes) as most:
        options = ("--partition", str(PARTITION), *ONLY_NOTHING)
        done, _ = up.extract(table, utterances, options)
        ended = time.monotonic()
        lost = recorded + partitions - up.settle(recorded + partitions)
    spent = {name: cpu_seconds(up.processes[name]) - before[name] for name in others}
    return Cost(
        utterances=utterances,
        partitions=partitions,
        seconds=round(done.seconds, 2),
        settle_seconds=round(time.monotonic() - ended, 2),
        cpu_seconds={name: round(s, 2) for name, s in ({"flow": done.cpu_seconds} | spent).items()},
        peak_mb={name: round(most[name], 1) for name in ("flow", *others)},
        task_runs_lost=lost,
    )
