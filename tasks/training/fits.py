"""The fits of a training: for each a task run of Prefect's, and a task on a Dask worker.

A worker reads the rows from the pinned snapshot by itself. It computes with one thread, so that
the same fit has the same bits wherever it is done.
"""

import threading
from concurrent.futures import CancelledError
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias
from uuid import uuid4

from distributed import Client, get_worker
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import task_run
from prefect.states import Cancelled

from meldflow.models.judging.records import Judgement
from meldflow.models.running.hardware import single_threaded
from meldflow.models.schema.errors import MeldflowError, RunError
from meldflow.models.training.fit import Fit, Unit, fit_unit
from meldflow.models.training.run import Plan, Trained
from meldflow.storage import Snapshot
from meldflow.storage.places.place import place_of
from meldflow.tasks.cluster.connection import Cluster
from meldflow.tasks.cluster.environment import resources
from meldflow.tasks.cluster.local import Local, visible_gpus
from meldflow.tasks.cluster.messages import watch_losses
from meldflow.tasks.cluster.profile import Profile, load_profile
from meldflow.tasks.extraction.failures import RETRIES, cause, pause, retries
from meldflow.tasks.extraction.partition import ANSWER_SECONDS, error_of, tries_again
from meldflow.tasks.extraction.ready import give_way
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.pages.progress import progress
from meldflow.tasks.training.steps import checkpoints
from meldflow.tasks.training.table import load_table

Found: TypeAlias = Fit | Judgement
Ended: TypeAlias = "SimpleQueue[tuple[Unit, PrefectFuture[Any]]]"

STEPS = "meldflow-steps"
"""Dask's event topic on which workers tell of epochs done; the run's own mark follows."""

LOOK_SECONDS = 1.0
"""Between two looks at whether the run is over, or there is room for more."""


def profile_for(options: TrainOptions) -> Profile:
    """The cluster profile of a training, with its GPUs where it is to use one.

    Raises:
        UsageError: see ``load_profile``.
    """
    profile = load_profile(options.cluster)
    here = isinstance(profile, Local) and bool(visible_gpus())
    wanted = options.device == "cuda" or (options.device == "auto" and here)
    return profile.model_copy(update={"device": "cuda"}) if wanted else profile


class Fits:
    """What the fits of a training share.

    Not a dataclass on purpose: Prefect walks through those in search of futures.
    """

    def __init__(
        self, snapshot: Snapshot, planned: Plan, options: TrainOptions, cluster: Cluster
    ) -> None:
        # Nothing that was read of it travels: it may be large.
        self.snapshot = Snapshot(url=place_of(snapshot.url).name, session=snapshot.session)
        self.planned = planned
        self.options = options
        self.cluster = cluster
        self.mark = uuid4().hex[:12]
        self.resume = checkpoints(options).absolute()
        self.resume.mkdir(parents=True, exist_ok=True)

    def fit(self, unit: Unit) -> Found:
        """What a worker makes of it.

        Raises:
            ConnectionError: the connection to the scheduler was lost.
            Exception: whatever it ended in; another try may help, see ``failures.retries``.
        """
        client, ended = self.cluster.client, threading.Event()
        role = "cpu" if self.options.device == "cpu" else "model"
        future = client.submit(
            fit_here,
            *(self.snapshot, self.planned, unit, self.options, self.resume, self.mark),
            key=f"fit-{unit.name.replace(' ', '-')}-{uuid4().hex[:8]}",
            resources=resources((role,)),
            pure=False,
        )
        future.add_done_callback(lambda _: ended.set())
        try:
            while not ended.wait(LOOK_SECONDS):
                if self.cluster.connected is not client:
                    raise ConnectionError("the connection to the scheduler was lost")
            if error := error_of(future):
                raise error
            found: Found = future.result(ANSWER_SECONDS)
            return found
        finally:
            future.release()


def fit_here(
    snapshot: Snapshot, planned: Plan, unit: Unit, options: TrainOptions, resume: Path, mark: str
) -> Found:
    """Does a fit on this worker; one that nobody waits for any more ends with its epoch.

    Args:
        snapshot: where its rows are.
        planned: the whole training.
        unit: which fit of it.
        options: name the features that are read.
        resume: folder for its state; where this machine does not see it, another try begins anew.
        mark: of the run, whose progress it tells.
    """
    worker = get_worker()
    key = worker.get_current_task()

    def step() -> None:
        known = worker.state.tasks.get(key)
        if known is None or known.state == "cancelled":
            raise CancelledError("nobody waits for it any more")
        worker.log_event(f"{STEPS}-{mark}", (unit.name, 1))

    give_way()
    with single_threaded():
        return fit_unit(
            load_table(
                snapshot,
                options.reads,
                unit.modalities,
                options.target,
                extractors=options.extractors,
                once=True,
            ),
            unit,
            planned.config,
            planned.rules,
            step=step,
            resume=resume if resume.is_dir() else None,
        )


def try_fit(work: Fits, unit: Unit) -> Found | State[Any]:
    """``Fits.fit`` as Prefect runs it, which tells why it failed and waits for the next try."""
    number = task_run.run_count or 1
    try:
        return work.fit(unit)
    except Exception as error:
        if number <= retries(error) and not work.cluster.closed:
            seconds = pause(number)
            logger = get_run_logger()
            logger.warning("%s: %s; again in %.0f s", unit.name, cause(error), seconds)
            work.cluster.over.wait(seconds)
        if work.cluster.closed:
            return Cancelled(message="the run ended first")
        raise


fit_task = task(
    name="fit",
    task_run_name="fit {unit.name}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_condition_fn=tries_again,
)(try_fit)


def _put(ended: Ended, unit: Unit, future: PrefectFuture[Any]) -> None:
    ended.put((unit, future))


def fit_all(work: Fits) -> Trained:
    """Has the cluster do every fit, the longest first, and concludes from them.

    Raises:
        RunError: one failed for good; the others' states are kept, as far as they have come.
        MeldflowError: what one ended in, where no other try can do better.
    """
    logger = get_run_logger()
    units, most = work.planned.units, work.planned.config.epochs
    left, found = dict.fromkeys((unit.name for unit in units), most), dict[Unit, Found]()
    ended: Ended = SimpleQueue()
    waiting, live = iter(sorted(units, key=lambda unit: -len(unit.modalities))), 0
    with progress(f"fitting {len(units)} models", most * len(units), "epochs at most") as advance:

        def told(name: str, amount: int) -> None:
            amount = min(amount, left[name])  # one that is tried again is told of twice
            left[name] -= amount
            advance(amount)

        def listen(client: Client) -> None:
            client.subscribe_topic(f"{STEPS}-{work.mark}", lambda event: told(*event[1]))

        def lost(worker: str, why: str, keys: list[str]) -> None:
            logger.warning("worker %s is lost: %s; %s", worker, why, ", ".join(keys))

        work.cluster.on_join(listen)
        watch_losses(work.cluster, lost)
        while len(found) < len(units):
            for unit in islice(waiting, max(0, work.cluster.width() - live)):
                submitted = fit_task.submit(work, unit)
                submitted.add_done_callback(partial(_put, ended, unit))
                live += 1
            try:
                unit, future = ended.get(timeout=LOOK_SECONDS)
            except Empty:
                continue
            live, result = live - 1, future.result(raise_on_failure=False)
            if isinstance(result, MeldflowError):
                raise result
            if not isinstance(result, Fit | Judgement):
                raise RunError(f"the fit of {unit.name} failed ({cause(result)})")
            found[unit] = result
            told(unit.name, most)
    return work.planned.conclude(found)
