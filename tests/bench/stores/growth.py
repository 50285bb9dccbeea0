"""How the store's operations grow with the corpus: seconds and peak memory of each.

Features are cheap stand-ins, so that only the store is measured. Every operation runs in a process
of its own, whose start is not counted in its seconds but is in its memory: see ``nothing``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meldflow.models.schema.errors import RunError
from meldflow.models.schema.features import ArraySpec, FeatureSpec, Record, Weights
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import history, open_store
from meldflow.storage.format.catalogue import listing
from meldflow.storage.format.columns import Records
from meldflow.storage.reading.difference import diff
from meldflow.storage.reading.plan import preview
from meldflow.storage.writing.transaction import open_run
from tests.bench.stores.standin import fill, utterance

PARTITION = 1024
"""Utterances per partition: fewer, larger ones than the default 64 keep the bench short."""
APPENDED = 1_000
CHANGED = 100


def _spec(name: str, modality: Modality, array: ArraySpec) -> FeatureSpec:
    none = Weights(kind="none", revision="none")
    return FeatureSpec(name=name, modality=modality, version=1, weights=none, arrays=(array,))


_WORDS = ArraySpec(name="embedding", dims=("channel",), shape=(4,), dtype="float32")
_VOICE = ArraySpec(name="frames", dims=("frame", "channel"), shape=(2,), dtype="float16", rate=2.0)
SPECS = (
    _spec("text/words", Modality.TEXT, _WORDS),
    _spec("audio/voice", Modality.AUDIO, _VOICE),
)
VALUES: Mapping[str, Record] = {
    "text/words": {"embedding": np.ones(4, np.float32)},
    "audio/voice": {"frames": np.ones((5, 2), np.float16)},
}


def corpus(n: int, *, take: str = "") -> Records[Utterance]:
    """``n`` utterances of distinct content; of the first ``CHANGED``, ``take`` names the clip."""
    return listing(utterance(number, take if number < CHANGED else "") for number in range(n))


def _run(url: str, utterances: Records[Utterance], *, fills: bool = True) -> Callable[[], object]:
    def run() -> None:
        with open_run(url, SPECS, partition=PARTITION) as run:
            run.sync(utterances)
            if fills:
                fill(run, SPECS, lambda extractor, _: VALUES[extractor])
                run.publish()

    return run


def _planned(url: str, utterances: Records[Utterance]) -> Callable[[], object]:
    return lambda: preview(url, SPECS, utterances)


def _difference(url: str) -> Callable[[], object]:
    def run() -> None:
        newest, before, *_ = history.log(url)
        diff(url, before.snapshot, newest.snapshot)

    return run


OPERATIONS: dict[str, Callable[[str, int], Callable[[], object]]] = {
    "nothing": lambda url, n: lambda: None,
    "make the utterances": lambda url, n: lambda: corpus(n),
    "catalogue all, from nothing": lambda url, n: _run(url, corpus(n), fills=False),
    "plan, all stale": lambda url, n: _planned(url, corpus(n)),
    "write, commit, publish all": lambda url, n: _run(url, corpus(n)),
    "open": lambda url, n: lambda: open_store(url).utterances,
    "status": lambda url, n: lambda: open_store(url).counts(),
    "failures": lambda url, n: lambda: open_store(url).failures(),
    "plan, nothing stale": lambda url, n: _planned(url, corpus(n)),
    f"plan, {CHANGED} clips changed": lambda url, n: _planned(url, corpus(n, take="b")),
    "run, nothing stale": lambda url, n: _run(url, corpus(n)),
    f"run, {APPENDED} appended": lambda url, n: _run(url, corpus(n + APPENDED)),
    f"run, {CHANGED} clips changed": lambda url, n: _run(url, corpus(n + APPENDED, take="b")),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an operation took."""

    operation: str
    utterances: int
    """Size of the corpus."""
    seconds: float
    peak_mb: float
    """The most memory that its process held, MB."""


def measure(
    sizes: Iterable[int], say: Callable[[str], None], operations: Sequence[str] = tuple(OPERATIONS)
) -> list[Cost]:
    """Every operation at every size, each in a process of its own.

    Raises:
        RunError: one of them failed.
    """
    found = []
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as folder:
            for operation in operations:
                say(f"{n:,} utterances: {operation}")
                found.append(_measured(operation, f"{folder}/store", n))
    return found


def _measured(operation: str, url: str, n: int) -> Cost:
    command = [sys.executable, "-m", __name__, operation, url, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"bench: {operation} at {n:,} failed: {done.stderr.strip()[-2000:]}")
    return Cost(operation=operation, utterances=n, **json.loads(done.stdout))


def main(operation: str, url: str, n: str) -> None:
    """Runs one operation in this process; prints its seconds, and the process's peak in MB."""
    run = OPERATIONS[operation](url, int(n))
    started = time.perf_counter()
    run()
    seconds = round(time.perf_counter() - started, 3)
    print(json.dumps({"seconds": seconds, "peak_mb": round(_peak_mb(), 1)}))


def _peak_mb() -> float:
    """The most memory that this process held; ``getrusage`` would count its parent's in as well."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = status.read_text(encoding="ascii").splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
