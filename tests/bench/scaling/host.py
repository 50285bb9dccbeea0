"""Many Dask workers in one process, for tasks that only wait.

``python -m tests.bench.scaling.host --scheduler-file FILE --first 0 --workers 128``: each has a
thread and offers every role, as a worker of one's own process does; the process ends with the
scheduler.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from typing import Any, cast

import dask
from distributed import Worker

import meldflow.tasks.extraction.stages  # noqa: F401  # what it imports is no part of what a run costs
from meldflow.tasks.cluster.environment import ROLES

LEAN = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.worker.memory.spill": False,
}
"""What each worker would do for its process, and hundreds in one need not."""


def command(python: str, first: int, workers: int) -> tuple[str, ...]:
    """What starts the workers from number ``first`` on, but for the scheduler's file."""
    options = ("--first", str(first), "--workers", str(workers))
    return (python, "-W", "ignore", "-m", __name__, *options)


class _Beside(Worker):
    """A worker on the scheduler's machine, by the same clock.

    Dask would shift the times of each worker's tasks by an estimate, which is as rough as the
    process is busy.
    """

    @property
    def scheduler_delay(self) -> float:
        """How far the scheduler's clock is ahead, seconds."""
        return 0.0

    @scheduler_delay.setter
    def scheduler_delay(self, estimate: float) -> None:
        pass


async def host(scheduler_file: str, numbers: Sequence[int], folder: str) -> None:
    """Runs the workers of these numbers until the scheduler is gone."""
    workers: list[Worker] = [
        _Beside(
            scheduler_file=scheduler_file,
            nthreads=1,
            name=f"waiting-{number}",
            resources=dict.fromkeys(ROLES, 1.0),
            memory_limit=0,  # none: nobody needs to look after it
            host="127.0.0.1",
            dashboard=False,
            local_directory=folder,
        )
        for number in numbers
    ]
    await asyncio.gather(*workers)
    await asyncio.gather(*(cast(Any, one).finished() for one in workers))


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scheduler-file", required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    given = parser.parse_args()
    numbers = range(given.first, given.first + given.workers)
    with dask.config.set(LEAN), tempfile.TemporaryDirectory(prefix="meldflow-bench-") as folder:
        asyncio.run(host(given.scheduler_file, numbers, folder))


if __name__ == "__main__":
    main()
