"""How much faster meldflow extracts than the usual script, on the same clips in turns.

Everything is real on both sides: ``tests.bench.extraction.usual`` with all of torch's threads, and
``meldflow extract`` against a Prefect server and a Dask scheduler with a warm worker per core, all
features, every partition committed and published. In each round both do the same clips, and what
meldflow did is compared with what the script did before and after it, so that the ratio holds
although the machine's speed changes.

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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from meldflow.models.extractors import registry
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.tasks.cluster.environment import KEEP_MEMORY, NO_SPINNING, THREAD_VARIABLES
from tests.bench.clips.corpora import PARTITION, write_listed
from tests.bench.clips.material import Material, material
from tests.bench.extraction.comparison import Comparison, Round, Side
from tests.bench.extraction.stages import WARM_UP
from tests.bench.running.precisions import RANDOM, WEIGHTS_OF, arguments, precisions
from tests.bench.running.system import WORKERS, Done, System, cluster, server
from tests.bench.running.usage import cpu_seconds, peaks

CLIPS = 48
"""By default."""

ROUNDS = 3
"""By default."""

UTTERANCES = PARTITION * max(3, 3 * WORKERS // 2)
"""What meldflow extracts in a round, at least; MELD has over two hundred partitions."""


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
        directory: see ``tests.bench.clips.material.material``.
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
        raise UsageError("bench: openpyxl writes the usual script's table; `make setup` brings it")
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
    program = (sys.executable, "-W", "ignore", "-m", "tests.bench.extraction.usual")
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
