"""The connection of a run to its Dask cluster: checked when it is made, made again when it breaks.

A scheduler may be restarted, and workers may come and go, while a run lasts. Whoever submits
work asks for the client anew each time; where the connection was lost, everybody waits for a
new one.
"""

import contextlib
import functools
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from distributed import Client
from distributed.deploy.cluster import Cluster as DaskCluster
from distributed.utils import LoopRunner
from distributed.versions import VersionMismatchWarning
from tornado.ioloop import IOLoop

from meldflow.models.running.hardware import gpu_trouble
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.tasks.cluster.environment import ROLES
from meldflow.tasks.cluster.profile import Profile
from meldflow.tasks.cluster.versions import check_scheduler, check_workers, guard_versions

T = TypeVar("T")

ANSWER_SECONDS = 60
"""How long a scheduler may take to answer when a run begins."""

AGAIN_SECONDS = 5
"""How long one try to reach a scheduler again may take."""

MAX_WIDTH = 256
"""Partitions under way at most; each has a thread in the run's process."""

COUNT_SECONDS = 5.0
"""Between two looks at the workers, which may come and go."""

RETURN_SECONDS = 600
"""How long a run waits for a scheduler that went away."""

# A lost connection is our business: Dask's client would print a traceback for each.
logging.getLogger("distributed.client").setLevel(logging.CRITICAL)


class Cluster:
    """A cluster as a run sees it."""

    def __init__(
        self, scheduler: str | DaskCluster, profile: Profile, packages: Sequence[str] = ()
    ) -> None:
        """Joins the cluster.

        Args:
            scheduler: its address, or a cluster in this process.
            profile: what it was opened by.
            packages: what has to be there in the same version besides our own.

        Raises:
            UsageError: the scheduler does not answer, a role is not offered, the scheduler or a
                worker runs other versions, or a worker's GPU cannot be used.
        """
        self.profile = profile
        self.device = profile.device
        self._scheduler = scheduler
        self._packages = packages
        self._lock = threading.Lock()
        self.over = threading.Event()
        """Set when the run has left it."""
        self._workers, self._counted = list[dict[str, Any]](), -math.inf
        self._on_join: list[Callable[[Client], None]] = []
        self._client = self._join()
        self._joined = _scheduler_of(self._client)
        try:
            self.ask(self._check)
        except BaseException:
            self.close()
            raise

    @property
    def client(self) -> Client:
        """A client whose connection stands.

        Raises:
            RunError: the scheduler went away and did not come back, or the run is over.
        """
        with self._lock:
            if self.closed:
                raise RunError("the run is over")
            if self._client.status != "running" or _scheduler_of(self._client) != self._joined:
                # One that saw its scheduler go says so in a future or two, then closes.
                _leave(self._client)
                self._client = self._until_back(self._connect_prepared)
                self._joined = _scheduler_of(self._client)
                if self.over.is_set():  # meanwhile, and this one was not there yet to be closed
                    _leave(self._client)
                    raise RunError("the run is over")
            return self._client

    @property
    def closed(self) -> bool:
        """Whether the run has left it."""
        return self.over.is_set()

    @property
    def connected(self) -> Client | None:
        """The client, if its connection stands: for those who rather do without than wait."""
        client = self._client
        return client if client.status == "running" and not self.closed else None

    @property
    def is_uniform(self) -> bool:
        """Whether every worker that is there now offers every role; one that joins may not."""
        return all(set(ROLES) <= set(one["resources"]) for one in self._seen())

    def width(self) -> int:
        """Partitions to keep under way: for each worker that is or may come, and one that waits."""
        threads: int = sum(one["nthreads"] for one in self._seen())
        return min(MAX_WIDTH, max(1, threads, self.profile.most) + 1)

    def _seen(self) -> list[dict[str, Any]]:
        """The workers, as they were a few seconds ago."""
        if time.monotonic() - self._counted > COUNT_SECONDS:
            with contextlib.suppress(OSError, TimeoutError, RunError):
                self._workers = _workers(self.client) or self._workers
            self._counted = time.monotonic()
        return self._workers

    @property
    def dashboard(self) -> str:
        """Address of the scheduler's page."""
        return str(self.client.dashboard_link)

    def on_join(self, prepare: Callable[[Client], None]) -> None:
        """Calls ``prepare`` with the client now, and with every later one."""
        self.ask(prepare)
        self._on_join.append(prepare)

    def ask(self, question: Callable[[Client], T]) -> T:
        """What the cluster answers; asked again where it goes away meanwhile.

        Raises:
            RunError: see ``client``.
        """
        return self._until_back(lambda: question(self.client))

    def close(self) -> None:
        """Leaves the cluster: what it still has to do for this run is dropped."""
        self.over.set()
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close(timeout=10)

    def _connect(self, seconds: float) -> Client:
        scheduler = self._scheduler
        address = scheduler if isinstance(scheduler, str) else scheduler.scheduler_address
        return Client(address, timeout=seconds, set_as_default=False, loop=_loop())

    def _join(self) -> Client:
        # Our own check of versions says it in a line, Dask's prints a table.
        warnings.simplefilter("ignore", VersionMismatchWarning)
        try:
            return self._connect(ANSWER_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise UsageError(
                f"cluster {self._scheduler}: no scheduler answers there ({error}); start it, or "
                "mend `address` or `tls` in the cluster profile"
            ) from error

    def _connect_prepared(self) -> Client:
        client = self._connect(AGAIN_SECONDS)
        try:
            for prepare in self._on_join:
                prepare(client)
        except BaseException:
            _leave(client)
            raise
        return client

    def _until_back(self, act: Callable[[], T]) -> T:
        """What ``act`` gives, tried again while the scheduler is away."""
        deadline = time.monotonic() + RETURN_SECONDS
        while True:
            try:
                return act()
            except (OSError, TimeoutError, CancelledError) as error:
                if self.closed or time.monotonic() > deadline:
                    raise RunError(
                        f"cluster {self._scheduler}: the scheduler went away and did not come back "
                        f"within {RETURN_SECONDS} s; start it and run again"
                    ) from error
            self.over.wait(0.5)

    def _check(self, client: Client) -> None:
        check_scheduler(client, self._packages)
        self._wait_for_roles(client)
        check_workers(client, self._packages)
        if self.device == "cuda":
            _check_gpus(client)
        self.on_join(functools.partial(guard_versions, packages=self._packages))

    def _wait_for_roles(self, client: Client) -> None:
        """Workers may be queued or starting; a run begins with one of every role."""
        limit = self.profile.join_seconds
        deadline = time.monotonic() + limit
        while True:
            workers = self._workers = _workers(client)
            offered = {role for worker in workers for role in worker["resources"]}
            missing = [role for role in ROLES if role not in offered]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise UsageError(
                    f"cluster {self._scheduler}: none of {len(workers)} workers offers "
                    f"{' or '.join(missing)} after {limit:g} s; start workers with "
                    '--resources "cpu=1 model=1", or raise `join_seconds` in the cluster profile'
                )
            time.sleep(0.2)


@contextlib.contextmanager
def open_cluster(profile: Profile, packages: Sequence[str] = ()) -> Iterator[Cluster]:
    """The profile's cluster; what was started here is stopped at the end.

    Raises:
        UsageError: see ``Profile.open`` and ``Cluster``.
    """
    with profile.open() as scheduler:
        cluster = Cluster(scheduler, profile, packages)
        try:
            yield cluster
        finally:
            cluster.close()


def _workers(client: Client) -> list[dict[str, Any]]:
    """What the scheduler knows of each."""
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


def _leave(client: Client) -> None:
    with contextlib.suppress(OSError, TimeoutError, CancelledError):
        client.close(timeout=1)


def _check_gpus(client: Client) -> None:
    """Has every worker of the networks compute something on its GPU.

    A driver that is too old for torch shows at the first use only, and a run would try all its
    partitions in vain.
    """
    known = client.scheduler_info(n_workers=-1)["workers"]
    workers = [address for address, one in known.items() if "model" in one["resources"]]
    answers = client.run(gpu_trouble, workers=workers)
    for address, trouble in answers.items():
        if trouble:
            raise UsageError(
                f"cluster: the GPU of worker {known[address]['name']} cannot be used ({trouble}); "
                "mend its driver or its torch, or set `device: cpu` (CUDA_VISIBLE_DEVICES= for "
                "`meldflow up`)"
            )


@functools.cache
def _loop() -> IOLoop:
    """The event loop of all clients, which outlives them.

    A client's own loop stops when the client closes; a thread that asks it for something in that
    moment waits for ever.
    """
    runner = LoopRunner()
    runner.start()
    loop: IOLoop = runner.loop
    return loop


def _scheduler_of(client: Client) -> str:
    """Id of the scheduler that a client is connected to; a restarted one has another.

    A client may find it by itself, and has forgotten then all that it was prepared for.
    """
    return str(client._scheduler_identity.get("id"))
