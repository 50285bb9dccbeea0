"""How the store's operations grow with the corpus: seconds and peak memory of each.

    python -m tests.bench.growth [--sizes 13708,100000,1000000] [--json]

Features are cheap stand-ins, so that only the store is measured. Every operation runs in a process
of its own, whose start is not counted in its seconds but is in its memory: see ``nothing``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from models.schema import ArraySpec, Clip, FeatureSpec, Modality, Utterance, Weights
from storage import history, open_store
from storage.plan import Plan
from storage.preview import preview
from storage.run import Run, open_run
from storage.write import Result, write_partition

PARTITION = 1024
"""Utterances per partition: fewer, larger ones than the default 64 keep the bench short."""
SIZES = (13_708, 100_000, 1_000_000)
APPENDED = 1_000
CHANGED = 100

_NO_WEIGHTS = Weights(kind="none", revision="none")
SPECS = (
    FeatureSpec(
        name="text/words",
        modality=Modality.TEXT,
        version=1,
        weights=_NO_WEIGHTS,
        arrays=(ArraySpec(name="embedding", dims=("channel",), shape=(4,), dtype="float32"),),
    ),
    FeatureSpec(
        name="audio/voice",
        modality=Modality.AUDIO,
        version=1,
        weights=_NO_WEIGHTS,
        arrays=(
            ArraySpec(
                name="frames", dims=("frame", "channel"), shape=(2,), dtype="float16", rate=2.0
            ),
        ),
    ),
)
VOICE = {"frames": np.ones((5, 2), np.float16)}
WORDS = {"embedding": np.ones(4, np.float32)}


def corpus(n: int, *, take: str = "a") -> list[Utterance]:
    """``n`` utterances of distinct content; of the first ``CHANGED``, ``take`` names the clip."""
    return [_utterance(number, take if number < CHANGED else "a") for number in range(n)]


def _utterance(number: int, take: str) -> Utterance:
    return Utterance(
        split=("train", "dev", "test")[number % 3],
        dialogue=number // 30,
        utterance=number // 3 % 10,
        text=f"What they say in line {number}.",
        speaker="Ann",
        emotion="neutral",
        sentiment="neutral",
        seconds=3.0,
        clip=Clip(
            path=f"/corpus/clips/dia{number // 30}_utt{number // 3 % 10}.mp4",
            sha256=hashlib.sha256(f"{number}{take}".encode()).digest(),
            size=800_000,
            mtime_ns=number,
            seconds=3.0,
        ),
    )


def _fill(run: Run, plan: Plan) -> None:
    values = {"text/words": WORDS, "audio/voice": VOICE}
    for part in plan.partitions:
        results = {
            name: {row: Result(record=values[name], seconds=0.0) for row in rows}
            for name, rows in part.rows.items()
        }
        fork = run.fork()
        run.merge(write_partition(fork, part.partition, results, SPECS, partition_size=PARTITION))


def _extract(url: str, utterances: Sequence[Utterance]) -> Callable[[], object]:
    def run() -> None:
        with open_run(url, SPECS, partition=PARTITION) as run:
            run.sync(utterances)
            _fill(run, run.plan())
            run.publish()

    return run


def _catalogue(url: str, n: int) -> Callable[[], object]:
    utterances = corpus(n)

    def run() -> None:
        with open_run(url, SPECS, partition=PARTITION) as run:
            run.sync(utterances)

    return run


def _planned(url: str, utterances: Sequence[Utterance]) -> Callable[[], object]:
    return lambda: preview(url, SPECS, utterances)


def _difference(url: str) -> Callable[[], object]:
    def run() -> None:
        newest, before, *_ = history.log(url)
        history.diff(url, before.snapshot, newest.snapshot)

    return run


OPERATIONS: dict[str, Callable[[str, int], Callable[[], object]]] = {
    "nothing": lambda url, n: lambda: None,
    "make the utterances": lambda url, n: lambda: corpus(n),
    "catalogue all, from nothing": _catalogue,
    "plan, all stale": lambda url, n: _planned(url, corpus(n)),
    "write, commit, publish all": lambda url, n: _extract(url, corpus(n)),
    "open": lambda url, n: lambda: open_store(url).utterances,
    "status": lambda url, n: lambda: open_store(url).counts(),
    "failures": lambda url, n: lambda: open_store(url).failures(),
    "plan, nothing stale": lambda url, n: _planned(url, corpus(n)),
    f"plan, {CHANGED} clips changed": lambda url, n: _planned(url, corpus(n, take="b")),
    "run, nothing stale": lambda url, n: _extract(url, corpus(n)),
    f"run, {APPENDED} appended": lambda url, n: _extract(url, corpus(n + APPENDED)),
    f"run, {CHANGED} clips changed": lambda url, n: _extract(url, corpus(n + APPENDED, take="b")),
    "log": lambda url, n: lambda: history.log(url),
    "diff with the state before": lambda url, n: _difference(url),
    "one utterance's frames": lambda url, n: (
        lambda: open_store(url).frames("audio/voice", "frames", "train/dia0_utt0")
    ),
    "one column of features": lambda url, n: (
        lambda: open_store(url).features("text/words", "embedding")
    ),
}
"""Operation → what prepares it, which is not timed, and gives what is; in this order."""


def child(operation: str, url: str, n: int) -> dict[str, float]:
    """Runs one operation in this process: seconds, and the peak of the process in MB."""
    run = OPERATIONS[operation](url, n)
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def measure(sizes: Iterable[int], console: Console) -> list[dict[str, object]]:
    """Every operation at every size, each in a process of its own."""
    found: list[dict[str, object]] = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for operation in OPERATIONS:
                with console.status(f"{n:,} utterances: {operation}"):
                    command = [sys.executable, "-m", __spec__.name, "--child", operation]
                    command += ["--url", str(Path(folder) / "store"), "--sizes", str(n)]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{operation} at {n}: {done.stderr}")
                found.append({"operation": operation, "utterances": n} | json.loads(done.stdout))
    return found


def show(found: Sequence[dict[str, object]], console: Console) -> None:
    """A table of operations by corpus size."""
    sizes = list(dict.fromkeys(one["utterances"] for one in found))
    table = Table("operation", title="seconds, peak MB")
    for n in sizes:
        table.add_column(f"{n:,}", justify="right")
    by = {(one["operation"], one["utterances"]): one for one in found}
    for operation in OPERATIONS:
        cells = (by[operation, n] for n in sizes)
        table.add_row(
            operation, *(f"{one['seconds']:.2f} s, {one['peak_mb']:.0f}" for one in cells)
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    if given.child:
        print(json.dumps(child(given.child, given.url, sizes[0])))
        return
    console = Console(stderr=given.json)
    found = measure(sizes, console)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        show(found, console)


if __name__ == "__main__":
    main()
