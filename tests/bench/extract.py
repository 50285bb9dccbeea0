"""How much faster meldflow extracts than the usual script, on the same clips in turns.

Everything is real on both sides: ``tests.bench.usual`` with all of torch's threads, and ``meldflow
extract`` against a Prefect server and a Dask scheduler with a warm worker per core, all features,
every partition committed and published. In each round both do the same clips, and what meldflow
did is compared with what the script did before and after it, so that the ratio holds although the
machine's speed changes.

The steady state is compared: the script after its first clip, and the flow from its start to its
published snapshot, which takes in, hashes, plans and commits. The script does each clip once. The
flow does all of them several times, each time as files of their own, so that there are some
partitions, as in any real corpus. What comes before, the start of processes, imports and the
loading of networks, is the cold start. CPU time is that of the steady
state as well: what a run with nothing to do takes for its process is left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from meldflow.models.extractors import registry
from meldflow.models.running.computing import PRECISIONS, choose
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.tasks.cluster.environment import KEEP_MEMORY, NO_SPINNING, THREAD_VARIABLES
from tests.bench.material import Material, material, write_listed
from tests.bench.orchestrate import PARTITION
from tests.bench.precisions import RANDOM, WEIGHTS_OF, arguments, precisions
from tests.bench.stages import WARM_UP
from tests.bench.system import WORKERS, Done, System, cluster, server
from tests.bench.usage import cpu_seconds, peaks

CLIPS = 48
"""By default."""

ROUNDS = 3
"""By default."""

UTTERANCES = PARTITION * max(3, 3 * WORKERS // 2)
"""What meldflow extracts in a round, at least; MELD has over two hundred partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One side's extraction of all clips."""

    clips: int
    seconds: float
    """Steady state."""
    cpu_seconds: float
    """Of all processes, in the steady state and until the server has recorded it."""
    peak_mb: float
    """The most memory that they held together."""
    worker_mb: float
    """The same of a worker with its decoder, on average; of the script where there is none."""
    loading_mb: float
    """The same while networks are loaded, which the script does for a second."""
    before_seconds: float
    """From the start of the process to the steady state."""
    steps: Mapping[str, float]
    """Step → seconds per clip, where the side tells."""

    @property
    def clips_per_second(self) -> float:
        """In steady state."""
        return self.clips / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side's rounds."""

    rounds: tuple[Round, ...]

    @property
    def cold_seconds(self) -> float:
        """Until the steady state, at best: a later start finds files in the system's cache."""
        return min(one.before_seconds for one in self.rounds)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "clips_per_second": spread([one.clips_per_second for one in self.rounds]),
            "cpu_seconds_per_clip": round(
                statistics.median(one.cpu_seconds / one.clips for one in self.rounds), 4
            ),
            "peak_mb": round(max(one.peak_mb for one in self.rounds), 1),
            "worker_mb": round(max(one.worker_mb for one in self.rounds), 1),
            "loading_mb": round(max(one.loading_mb for one in self.rounds), 1),
            "cold_seconds": round(self.cold_seconds, 2),
            "steps": {name: round(one, 4) for name, one in self.rounds[-1].steps.items()},
            "rounds": [asdict(one) for one in self.rounds],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the bench found."""

    clips: int
    clip_seconds: float
    """Their mean length."""
    usual: Side
    """One round more than the others have: before each of theirs, and after the last."""
    meldflow: Mapping[str, Side]
    """By precision."""

    def ratios(self, precision: str) -> list[float]:
        """Clips per second over those of the usual script before and after, round by round."""
        around = pairwise(one.clips_per_second for one in self.usual.rounds)
        return [
            ours.clips_per_second / statistics.mean(theirs)
            for ours, theirs in zip(self.meldflow[precision].rounds, around, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; null for what this processor has no instructions for."""
        known = {name: None for name in PRECISIONS if name != "fp16"}
        return {
            "ratio": known | {name: spread(self.ratios(name)) for name in self.meldflow},
            "usual": self.usual.to_json(),
            "meldflow": known
            | {
                name: side.to_json() | asdict(choose("auto", name, "cpu", None))
                for name, side in self.meldflow.items()
            },
            "clips": self.clips,
            "clip_seconds": round(self.clip_seconds, 3),
            "workers": WORKERS,
        }


def compare(
    directory: Path | None,
    say: Callable[[str], None],
    *,
    clips: int = CLIPS,
    rounds: int = ROUNDS,
    asked: Sequence[str] = (),
    weights: str = RANDOM,
) -> Comparison:
    """Extracts the same clips by the usual script and by meldflow, in turns.

    Args:
        directory: see ``tests.bench.material.material``.
        say: told what is being done.
        clips: how many.
        rounds: how often.
        asked: precisions; all that the processor has where there is none.
        weights: of wav2vec 2.0 and ResNet-50, on both sides.

    Raises:
        UsageError: there are no clips, a precision or the weights cannot be had, or what writes
            Excel files is not installed.
        RunError: a process did not start, or one side failed.
    """
    wanted = precisions(asked)
    if find_spec("openpyxl") is None:
        raise UsageError("bench: openpyxl writes the usual script's table; install meldflow[bench]")
    registry.build(None, WEIGHTS_OF, weights)
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        folder = Path(named)
        several = material(directory, clips, folder, say)
        sequential = _folder_of(several, folder / "usual")
        say("starting a Prefect server")
        with server(folder) as up:
            meldflow = _Ours(up, several, weights, say)
            usual: list[Round] = []
            ours: dict[str, list[Round]] = {one: [] for one in wanted}
            for number in range(1, rounds + 1):
                which = f"round {number} of {rounds}"
                say(f"{which}: the usual script")
                usual.append(_usual(sequential, folder, weights))
                # In another order each time, so that no precision is always the one that waits.
                for one in wanted if number % 2 else wanted[::-1]:
                    ours[one].append(meldflow.extract(one, which))
            say("the usual script, once more")
            usual.append(_usual(sequential, folder, weights))
    return Comparison(
        clips=len(several),
        clip_seconds=sum(one.seconds for one in several) / len(several),
        usual=Side(rounds=tuple(usual)),
        meldflow={one: Side(rounds=tuple(ours[one])) for one in wanted},
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def _folder_of(several: Sequence[Material], folder: Path) -> Path:
    """The clips in a folder, their words beside them."""
    folder.mkdir()
    for number, one in enumerate(several):
        name = folder / f"clip{number:04d}.mp4"
        name.symlink_to(one.clip.resolve())
        name.with_suffix(".txt").write_text(one.text, encoding="utf-8")
    return folder


def _usual(clips: Path, folder: Path, weights: str) -> Round:
    """The usual script, as people start it: with none of our settings."""
    ours = {*THREAD_VARIABLES, *NO_SPINNING, *KEEP_MEMORY}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    program = (sys.executable, "-W", "ignore", "-m", "tests.bench.usual")
    command = [*program, str(clips), str(folder), "--weights", weights]
    with (
        (folder / "usual.log").open("w+") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as script,
        peaks({"script": [psutil.Process(script.pid)]}) as most,
    ):
        try:
            output, _ = script.communicate()
        except BaseException:
            script.terminate()
            raise
        if script.returncode:
            errors.seek(0)
            said = errors.read().strip().rpartition("\n")[2] or f"exit code {script.returncode}"
            raise RunError(f"bench: the usual script failed: {said}")
    told = json.loads(output)
    return Round(
        clips=told["clips"],
        seconds=told["seconds"],
        cpu_seconds=told["cpu_seconds"],
        peak_mb=most["script"],
        worker_mb=most["script"],
        loading_mb=most["script"],
        before_seconds=told["cold_seconds"],
        steps=told["steps"],
    )


class _Ours:
    """``meldflow extract`` of the same clips into new stores, on warm workers."""

    def __init__(
        self, up: System, several: Sequence[Material], weights: str, say: Callable[[str], None]
    ) -> None:
        self._up, self._several, self._weights, self._say = up, several, weights, say

    def extract(self, precision: str, which: str) -> Round:
        """One extraction on workers of its own, measured until the server has recorded it."""
        several = len(self._several)
        utterances = several * -(-UTTERANCES // several)
        started = time.monotonic()
        self._say(f"{which}: starting workers and loading the networks in {precision}")
        with cluster(self._up, WORKERS):
            with peaks(self._up.processes) as loading:
                table, _ = self._extract(precision, WARM_UP * WORKERS, WARM_UP // 4)
            before = time.monotonic() - started
            # Nothing is left to do: this is what its process takes at any rate.
            start = self._up.run_extract(table, self._options(precision, WARM_UP // 4))
            self._say(f"{which}: meldflow in {precision}")
            return self._measured(
                precision,
                utterances,
                start_cpu=start.cpu_seconds,
                before_seconds=before,
                loading_mb=loading["workers"] / WORKERS,
            )

    def _measured(
        self,
        precision: str,
        utterances: int,
        *,
        start_cpu: float,
        before_seconds: float,
        loading_mb: float,
    ) -> Round:
        up = self._up
        others = [one for name in up.processes if name != "flow" for one in up.processes[name]]
        before, recorded = cpu_seconds(others), up.recorded()
        with peaks(up.processes) as most:
            _, (done, told) = self._extract(precision, utterances, PARTITION)
            up.settle(recorded + -(-utterances // PARTITION))
        spent = cpu_seconds(others) - before
        return Round(
            clips=utterances,
            seconds=told["seconds"],
            cpu_seconds=max(0.0, done.cpu_seconds - start_cpu) + spent,
            peak_mb=sum(most.values()),
            worker_mb=most["workers"] / WORKERS,
            loading_mb=loading_mb,
            before_seconds=before_seconds,
            steps={},
        )

    def _extract(
        self, precision: str, utterances: int, partition: int
    ) -> tuple[Path, tuple[Done, dict[str, Any]]]:
        """The corpus, whose store is new, and what became of the run."""
        folder = self._up.folder
        table = folder / f"corpus-{len(list(folder.glob('*.csv')))}.csv"
        write_listed(table, self._several, utterances)
        options = self._options(precision, partition)
        return table, self._up.extract(table, utterances, options)

    def _options(self, precision: str, partition: int) -> tuple[str, ...]:
        return ("--partition", str(partition), *arguments(precision, self._weights))
