"""Watching a run: from its first partition to its report, beside it and never in its way."""

import contextlib
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distributed import Client
from prefect.exceptions import CancelledRun, TerminationSignal

from meldflow.models.running import hardware
from meldflow.models.schema.features import FeatureSpec
from meldflow.storage.reading.plan import Plan
from meldflow.storage.writing.transaction import FailureRate, Run
from meldflow.tasks.cluster.connection import Cluster
from meldflow.tasks.cluster.messages import watch_losses
from meldflow.tasks.extraction.committing import sources_of
from meldflow.tasks.extraction.counts import Effort, Monitor, Progress
from meldflow.tasks.extraction.failures import cause
from meldflow.tasks.extraction.payloads import partition_of_task
from meldflow.tasks.pages.progress import console, progress
from meldflow.tasks.watching import artifacts, words
from meldflow.tasks.watching.beat import Beat, once
from meldflow.tasks.watching.load import LoadSeries, WorkerLoad
from meldflow.tasks.watching.workers import MeasureChildren, exchange

SAMPLE_SECONDS = 5.0
SHOW_SECONDS = 7.0
ANSWER_SECONDS = 5.0
"""How long the scheduler may take to answer."""

END_SECONDS = 6.0
"""How long the end of a run waits for what is under way."""

REPORT_SECONDS = 30.0
"""How long the end of a run waits for its report: figures are drawn for it."""

MAX_POINTS = 2_000

TOLD = 20
"""Things that go wrong and are said on the terminal, each of a kind once; the run's log has all."""

logger = logging.getLogger("meldflow.watching")

STOPPED = "it was stopped"
STOPPED_SECONDS = 2.0
"""The same where somebody stopped the run, and waits for it to end."""

WORKERS_WORDS = (
    "The workers now, the busiest first: CPU in per cent of a core, children included; how often "
    "each was lost. Those that are gone come last."
)
FAILED_WORDS = "Why each of them failed, and the command that looks into its clip."
FAILURES_WORDS = f"Each utterance with its message and clip: artifact `{artifacts.FAILED}`."


class Watch:
    """What is known of one run, and where it is shown."""

    def __init__(self, run: Run, specs: Sequence[FeatureSpec], origin: Mapping[str, Any]) -> None:
        self._run = run
        self._specs = specs
        self._origin = origin
        self._started = time.monotonic()
        self._artifacts = artifacts.Artifacts.of_this_run()
        self._monitor: Monitor | None = None
        self._utterances = 0
        self._loads = LoadSeries()
        self._now: Sequence[WorkerLoad] = ()
        self._pace: list[tuple[float, int]] = []
        self._sent: dict[tuple[str, tuple[str, ...]], float] = {}
        self._prepared: Client | None = None
        self._told: set[str] = set()
        self.snapshot = ""
        """What was published."""

    @property
    def effort(self) -> Effort:
        """What the run took so far."""
        return Effort() if self._monitor is None else self._monitor.effort()

    @contextlib.contextmanager
    def extracting(self, plan: Plan, cluster: Cluster) -> Iterator[Monitor]:
        """A monitor whose progress the person sees, and the load of the workers."""
        planned = plan.stale()
        self._utterances = plan.n_utterances
        with progress("extracting", sum(planned.values()), "features") as advance:
            sources = sources_of(self._run.utterances)
            monitor = self._monitor = Monitor(
                planned, advance, partitions=len(plan.partitions), sources=sources, tell=self._tell
            )
            watch_losses(cluster, self._lost)
            dashboard = cluster.dashboard
            sampling = Beat("load", SAMPLE_SECONDS, lambda: self._sample(monitor, cluster))
            showing = Beat("artifacts", SHOW_SECONDS, lambda: self._show(monitor, dashboard))
            patience = END_SECONDS
            try:
                yield monitor
            except BaseException as error:
                patience = STOPPED_SECONDS if _why(error) == STOPPED else patience
                raise
            finally:
                for beat in (sampling, showing):
                    beat.end(patience)
                self._run.entry.attach("load", self._loads.columns())

    def report(self, trouble: str) -> None:
        """Leaves the report, where there is somewhere to leave it."""
        shown = self._artifacts
        if shown is not None:
            rates = self._run.failure_rates()
            hardware.release_memory()  # drawing takes 30 MB, on top of what publishing left behind
            patience = STOPPED_SECONDS if trouble == STOPPED else REPORT_SECONDS
            once("report", lambda: self._report(shown, rates, trouble), patience)

    def _tell(self, line: str) -> None:
        """Says something in the run's log, and on the terminal what was not said there yet."""
        logger.warning("%s", line)
        kind = re.sub(r"\d+", "", line)
        if kind not in self._told and len(self._told) < TOLD:
            self._told.add(kind)
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _lost(self, worker: str, why: str, tasks: list[str]) -> None:
        """A worker of the run's cluster is gone."""
        if self._monitor is not None:
            ours = (partition_of_task(self._run.branch, key) for key in tasks)
            self._monitor.worker_lost(worker, why, Counter(one for one in ours if one is not None))

    def _sample(self, monitor: Monitor, cluster: Cluster) -> None:
        """Hands our counters to the scheduler and takes the load of its workers."""
        elapsed = time.monotonic() - monitor.started
        self._pace.append((elapsed, monitor.extracted))
        if len(self._pace) > MAX_POINTS:
            self._pace = self._pace[::2]
        self._now = ()
        client = cluster.connected
        if client is None:
            return
        if client is not self._prepared:
            client.register_plugin(MeasureChildren())
            self._prepared = client
        totals = monitor.totals()
        grown = [(*key, value - self._sent.get(key, 0.0)) for key, value in totals.items()]
        # Prometheus sees no growth of a series that begins with it.
        increments = [one for one in grown if one[2] > 0 or one[:2] not in self._sent]
        loads = client.run_on_scheduler(exchange, increments, callback_timeout=ANSWER_SECONDS)
        self._sent = totals
        self._now = loads
        self._loads.add(elapsed, loads)

    def _show(self, monitor: Monitor, dashboard: str) -> None:
        """Brings the artifacts of the run up to date."""
        shown = self._artifacts
        if shown is None:
            return
        link = f"[{dashboard}]({dashboard})"
        shown.markdown(artifacts.DASHBOARD, link, "What the Dask cluster of this run is doing now.")
        now = monitor.progress()
        shown.progress(artifacts.PROGRESS, now.share, words.in_words(now, self._now), figures(now))
        rows = words.worker_table(self._now, now.effort.lost_workers)
        shown.table(artifacts.WORKERS, rows, WORKERS_WORDS)
        self._show_failures(shown, monitor)

    def _show_failures(self, shown: artifacts.Artifacts, monitor: Monitor) -> None:
        failures, rows = monitor.failed_rows()
        if failures:
            shown.table(artifacts.FAILURES, words.failure_table(failures, rows), FAILURES_WORDS)
            each = words.failed_utterances(self._run.url, failures, rows)
            shown.markdown(artifacts.FAILED, each, FAILED_WORDS)

    def _report(self, shown: artifacts.Artifacts, rates: Sequence[FailureRate], why: str) -> None:
        from meldflow.tasks.watching.report import RunReport, headline, markdown  # which draws

        stopped = why == STOPPED
        report = RunReport(
            store=self._run.url,
            run=self._run.branch,
            resumed=self._run.resumed,
            seconds=time.monotonic() - self._started,
            snapshot=self.snapshot,
            trouble=why,
            utterances=self._utterances,
            progress=None if self._monitor is None else self._monitor.progress(),
            rates=[rate for rate in rates if rate.tried],
            random_weights=[one.name for one in self._specs if one.weights.kind == "random"],
            keys={one.name: one.key for one in self._specs},
            versions=self._origin["versions"],
            load={} if stopped else self._loads.columns(),
            pace=() if stopped else self._pace,
        )
        if self._monitor is not None and report.progress is not None:
            now = report.progress
            done = ", ".join((words.how_far(now), *words.trouble(now.effort)))
            said = f"**{done}.** {words.text(headline(report))}"
            shown.progress(artifacts.PROGRESS, now.share, said, figures(now))
            self._show_failures(shown, self._monitor)
        shown.markdown(artifacts.REPORT, markdown(report), words.text(headline(report)))


@contextlib.contextmanager
def watching(run: Run, specs: Sequence[FeatureSpec], origin: Mapping[str, Any]) -> Iterator[Watch]:
    """Watches the block, and leaves a report of it in the Prefect UI, however it ends."""
    watch = Watch(run, specs, origin)
    try:
        yield watch
    except BaseException as error:
        watch.report(_why(error))
        raise
    watch.report("")


def figures(progress: Progress) -> dict[str, str]:
    """A progress for programs, as strings: all that Prefect keeps beside an artifact."""
    left = progress.left
    return {
        "planned": str(progress.planned),
        "done": str(progress.done),
        "rate": f"{progress.rate:.3f}",
        "left_seconds": "" if left is None else f"{left:.0f}",
        "elapsed_seconds": f"{progress.elapsed:.0f}",
        "partitions": str(progress.partitions),
        "planned_partitions": str(progress.planned_partitions),
        "failed": str(progress.failed),
        "retries": str(progress.effort.retries),
        "lost_workers": str(sum(progress.effort.lost_workers.values())),
        "apart": str(progress.effort.apart),
    }


def _why(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | TerminationSignal | CancelledRun):
        return STOPPED
    return cause(error)
