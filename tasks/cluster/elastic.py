"""Workers that come and go with the work, by Dask's own adaptive scaling."""

import pickle
from typing import Any

from distributed import SpecCluster
from distributed.deploy.adaptive import Adaptive
from distributed.scheduler import WorkerState

from meldflow.tasks.cluster.profile import Profile

IDLE_LOOKS = 30
"""Looks, a second apart, at a worker with nothing to do before it goes: the one that is wanted next
may have to wait in a queue, and loads networks."""


class ElasticCluster(SpecCluster):
    """Workers of one scheduler; where all jobs are alike, their number may follow the work."""

    per_job = 1
    """Workers that a job holds; what is started and ended are jobs."""

    def follow(self, profile: Profile, per_job: int = 1) -> None:
        """Lets their number follow the work from here on, within what the profile says."""
        if (limits := profile.adaptive) is None:
            return
        self.per_job = per_job
        self.adapt(
            _Elastic,
            minimum=limits.minimum * per_job,
            maximum=limits.maximum * per_job,
            wait_count=IDLE_LOOKS,
            worker_key=_job if per_job > 1 else None,
        )

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """Leaves one that is gone to its nanny: Dask ends what is not back after 15 s for good."""
        super(SpecCluster, self)._update_worker_status(op, msg)  # type: ignore[no-untyped-call]

    def _new_worker_name(self, worker_number: int) -> str:
        """As those are called that a run begins with."""
        return f"cpu-{worker_number}"


class _Elastic(Adaptive):
    cluster: ElasticCluster

    async def scale_up(self, n: Any) -> None:
        """Has so many workers, or a few more where jobs hold several."""
        self.cluster.scale(-(-n // self.cluster.per_job))  # type: ignore[no-untyped-call]

    async def workers_to_close(self, target: int) -> list[str]:
        """Those of jobs that have nothing to do: Dask would make up ``target`` with others."""
        key = self.worker_key and pickle.dumps(self.worker_key)
        names: list[str] = await self.scheduler.workers_to_close(
            minimum=target, key=key, attribute="name"
        )
        return names

    async def scale_down(self, workers: Any) -> None:
        """Ends workers; not those whose results no other has room for, which would be lost."""
        # The cluster closes them: where the scheduler does as well, nannies print a traceback.
        moved = await self.scheduler.retire_workers(names=workers, remove=False)
        stay = self.observed - {one["name"] for one in moved.values()}
        going = [one for one in workers if one not in stay]
        await self.cluster.scale_down(going)  # type: ignore[no-untyped-call]


def _job(worker: WorkerState) -> str:
    """Its job's name, which it follows by a number."""
    return str(worker.name).rpartition("-")[0]
