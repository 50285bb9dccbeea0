"""What each stage of an extraction costs in CPU, and how much of all is not extraction.

Everything is real: a Prefect server, a Dask scheduler with warm workers, ``meldflow extract`` in a
process of its own, all features, every partition committed. A run of few clips shows what a run
costs at all, the difference to one of many what each further clip costs; they take turns, since
the machine's speed changes.

CPU comes from two sources that complete one another: the report of the run tells what encoding and
writing took of the workers, the system's accounts tell what the processes took as a whole, those
that decode by themselves. What is left of a worker is Dask's and ours.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meldflow.models.extractors import entries
from meldflow.tasks.isolated.decoder import MODULE
from tests.bench.clips.corpora import MELD, PARTITION, write_listed
from tests.bench.clips.material import Material, material
from tests.bench.running.precisions import arguments, precisions
from tests.bench.running.system import WORKERS, System, system
from tests.bench.running.usage import cpu_seconds, descendants

CLIPS = 48
"""Distinct clips, by default."""

FURTHER = 2
"""Partitions that the large run has more than the small one, at least."""

ROUNDS = 2
"""How often they take turns."""

WARM_UP = 16
"""Utterances per worker of the run that loads the networks."""

DECODE = "decode"
ENCODE = tuple(entries.EXTRACTORS)
REST: Mapping[str, str] = {
    "load": "the worker receives what its child decoded",
    "write": "the worker compresses and writes a partition",
    "workers": "what else the workers do: Dask, connections",
    "flow": "intake, plan, submission, commits",
    "scheduler": "Dask's scheduler",
    "server": "Prefect's server",
}
"""What is neither decoding nor encoding: orchestration and storage → what it is."""


PARTS = (DECODE, *ENCODE, *REST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one extraction took."""

    utterances: int
    seconds: float
    """Of the flow's process, from its start to its end."""
    cpu_seconds: Mapping[str, float]
    """Part → CPU time of whichever processes it runs in; see ``PARTS``."""

    @classmethod
    def mean(cls, several: Sequence[Spent]) -> Spent:
        """Of extractions of as many utterances."""
        return cls(
            utterances=several[0].utterances,
            seconds=round(statistics.mean(one.seconds for one in several), 2),
            cpu_seconds={
                part: round(statistics.mean(one.cpu_seconds[part] for one in several), 3)
                for part in PARTS
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What extracting in one precision costs."""

    precision: str
    few: Spent
    many: Spent

    @property
    def per_clip(self) -> dict[str, float]:
        """Part → CPU milliseconds per further clip."""
        more = self.many.utterances - self.few.utterances
        few, many = self.few.cpu_seconds, self.many.cpu_seconds
        return {part: 1000 * (many[part] - few[part]) / more for part in PARTS}

    @property
    def fixed(self) -> dict[str, float]:
        """Part → CPU seconds that a run on warm workers costs however few clips it has.

        Never below nothing, which a difference of noisy figures may be.
        """
        steady, few = self.per_clip, self.few
        return {
            part: max(0.0, few.cpu_seconds[part] - few.utterances * steady[part] / 1000)
            for part in PARTS
        }

    @property
    def at_meld(self) -> dict[str, float]:
        """Part → CPU milliseconds per clip of a run on all of MELD."""
        steady, fixed = self.per_clip, self.fixed
        return {part: steady[part] + 1000 * fixed[part] / MELD for part in PARTS}

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "cpu_ms_per_clip": _rounded(self.per_clip),
            "total_ms": round(sum(self.per_clip.values()), 3),
            "rest_ms": round(rest(self.per_clip), 3),
            "rest_share": round(share(self.per_clip), 4),
            "fixed_cpu_seconds": _rounded(self.fixed),
            "at_meld": {
                "cpu_ms_per_clip": _rounded(self.at_meld),
                "total_ms": round(sum(self.at_meld.values()), 3),
                "rest_ms": round(rest(self.at_meld), 3),
                "rest_share": round(share(self.at_meld), 4),
            },
            "few": asdict(self.few),
            "many": asdict(self.many),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the bench found."""

    clips: int
    """Distinct ones."""
    clip_seconds: float
    """Their mean length."""
    partition: int
    runs: tuple[Stages, ...]
    """By precision."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "clips": self.clips,
            "clip_seconds": round(self.clip_seconds, 3),
            "partition": self.partition,
            "meld": MELD,
            "precisions": {one.precision: one.to_json() for one in self.runs},
        }


def stages(
    directory: Path | None,
    say: Callable[[str], None],
    *,
    clips: int = CLIPS,
    asked: Sequence[str] = (),
    partition: int = PARTITION,
) -> Measured:
    """Extracts clips in each precision, on warm workers.

    Args:
        directory: see ``tests.bench.clips.material.material``.
        say: told what is being done.
        clips: how many distinct ones.
        asked: precisions; all that the processor has where there is none.
        partition: utterances per partition, and in the small run, at least.

    Raises:
        UsageError: there are no clips, or a precision cannot be had.
        RunError: a process did not start, or an extraction failed.
    """
    wanted = precisions(asked)
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        several = material(directory, clips, Path(named), say)
        return measured(several, wanted, Path(named), say, partition)


def measured(
    several: Sequence[Material],
    wanted: Sequence[str],
    folder: Path,
    say: Callable[[str], None],
    partition: int = PARTITION,
) -> Measured:
    """The same with these clips, in a folder for everything that is written."""
    say("starting a Prefect server and a Dask cluster")
    with system(folder) as up:
        runs = tuple(_in(up, precision, several, partition, say) for precision in wanted)
    return Measured(
        clips=len(several),
        clip_seconds=sum(one.seconds for one in several) / len(several),
        partition=partition,
        runs=runs,
    )


def rest(parts: Mapping[str, float]) -> float:
    """What orchestration and storage take of that."""
    return sum(parts[part] for part in REST)


def share(parts: Mapping[str, float]) -> float:
    """The same, as a share of all."""
    return rest(parts) / sum(parts.values())


def _in(
    up: System,
    precision: str,
    several: Sequence[Material],
    partition: int,
    say: Callable[[str], None],
) -> Stages:
    # Each clip comes as often as every other, in both runs.
    few = len(several) * -(-partition // len(several))
    many = few + len(several) * -(-FURTHER * partition // len(several))
    say(f"{precision}: loading the networks")
    # Small partitions, so that each worker gets something of every kind.
    _spent(up, precision, several, WARM_UP * WORKERS, min(partition, WARM_UP // 4))
    found: dict[int, list[Spent]] = {few: [], many: []}
    for number in range(ROUNDS):
        for utterances, spent in found.items():
            say(f"{precision}: {utterances:,} clips, round {number + 1} of {ROUNDS}")
            spent.append(_spent(up, precision, several, utterances, partition))
    return Stages(precision=precision, few=Spent.mean(found[few]), many=Spent.mean(found[many]))


def _spent(
    up: System, precision: str, several: Sequence[Material], utterances: int, partition: int
) -> Spent:
    number = len(list(up.folder.glob("*.csv")))
    table = up.folder / f"corpus-{number}.csv"
    write_listed(table, several, utterances)
    recorded, before = up.recorded(), _accounts(up)
    options = ("--partition", str(partition), *arguments(precision))
    done, report = up.extract(table, utterances, options)
    up.settle(recorded - (-utterances // partition))
    after, own = _accounts(up), report["effort"]["cpu_seconds"]
    spent = {name: after[name] - before[name] for name in after}
    parts = own | spent | {"flow": done.cpu_seconds}
    parts["workers"] -= spent[DECODE] + sum(own.values())
    return Spent(
        utterances=utterances,
        seconds=round(done.seconds, 2),
        cpu_seconds={part: round(parts[part], 3) for part in PARTS},
    )


def _accounts(up: System) -> dict[str, float]:
    """CPU seconds that the system's processes have taken so far, and those that decode."""
    spent = {name: cpu_seconds(several) for name, several in up.processes.items() if name != "flow"}
    return spent | {DECODE: cpu_seconds(descendants(up.processes["workers"], MODULE))}


def _rounded(parts: Mapping[str, float]) -> dict[str, float]:
    return {part: round(one, 3) for part, one in parts.items()}
