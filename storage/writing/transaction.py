"""A run's transaction: its own branch, one committer, publication at the end.

Readers of ``main`` see whole runs only. The run commits on the branch ``run-<id>`` every few
partitions; ``publish`` moves ``main`` there. A run that died leaves its branch behind, and
the next run on the same ``main`` goes on from its last commit.
"""

import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import icechunk
import numpy as np

from meldflow.models.schema.errors import RunError
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format import clip_facts, layout
from meldflow.storage.format.catalogue import CatalogueChange, listing, merge_catalogue
from meldflow.storage.format.columns import ColumnTable, group_of
from meldflow.storage.format.run_table import RunEntry
from meldflow.storage.places import branches, location
from meldflow.storage.places.branches import BRANCH_PREFIX, root_of, run_branches
from meldflow.storage.places.patience import ICECHUNK, open_root, patiently
from meldflow.storage.places.place import Lock, place_of
from meldflow.storage.reading.plan import SOURCE_COLUMN, Plan, plan
from meldflow.storage.reading.snapshot import open_store
from meldflow.storage.writing import room
from meldflow.storage.writing.partition import Fork, Written

COMMIT_PARTITIONS = 8
COMMIT_SECONDS = 30.0
"""A commit is due after this many partitions or seconds, whichever comes first."""

COMMIT_FAILED = "a commit failed; what was committed is kept; see to room and rights; run again"

logger = logging.getLogger("meldflow.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """How an extractor fared on the rows that a run wrote."""

    extractor: str
    tried: int
    failed: int
    reasons: dict[str, int]

    @property
    def extracted(self) -> int:
        """Rows that have their feature now."""
        return self.tried - self.failed


class Run:
    """The one writer of a store, from ``sync`` to ``publish``."""

    def __init__(
        self, url: str, specs: Sequence[FeatureSpec], lock: Lock, origin: Mapping[str, Any]
    ) -> None:
        self.url = url
        self._place = place_of(url)
        self._lock = lock
        self._repository = location.open_repository(url)
        self._specs = tuple(specs)
        self._base = self._tip("main")
        dead = branches.resumable(self._repository, url, specs)
        self.branch = dead.run if dead else self._new_branch()
        self.resumed = bool(dead and dead.rows)  # one that came to nothing was not begun
        self._session: icechunk.Session | None = None
        self._pending = 0
        self.random_weights: tuple[str, ...] = ()
        """Extractors of the published state whose networks have such weights."""
        self._last_commit = time.monotonic()
        root = root_of(self._repository, self.branch)
        self.partition = layout.partition_of(root)
        self.utterances = layout.utterance_table(root)
        self._states = {spec.name: layout.state_table(root, spec) for spec in specs}
        self._facts: dict[Modality, ColumnTable] = {}
        self.entry = RunEntry(root, self.branch, origin)
        self._change: CatalogueChange | None = None

    @property
    def snapshot(self) -> str:
        """Id of the run's last commit."""
        return self._tip(self.branch)

    def sync(self, utterances: Iterable[Utterance]) -> CatalogueChange:
        """Brings the catalogue up to date and makes room for every new row."""
        session = self._write()
        root = open_root(session, "r+")
        group = root.require_group(layout.UTTERANCES)
        listed, settle = listing(utterances), partial(self.utterances.write, group)
        change = self._change = merge_catalogue(self.utterances, listed, self._place.name, settle)
        if self.snapshot != self._base:  # readers of main want to know what it did before it died
            main = layout.utterance_table(root_of(self._repository, "main"))
            self._change = merge_catalogue(main, listed, self._place.name, main.forget)
        for modality in clip_facts.RECORDS:
            self._facts[modality] = clip_facts.make_room(root, modality, len(self.utterances))
        seconds = room.longest(self.utterances, self._facts.values())
        for spec in self._specs:
            self._states[spec.name] = room.make_room(root, spec, self.partition, seconds)
        room.lengthen(root, len(self.utterances))
        if session.has_uncommitted_changes:
            self._commit(session, f"catalogue: {change}")
        return change

    def plan(self, *, retry: Collection[str] = ()) -> Plan:
        """The stale rows, by partition; ``retry`` are reasons of failures to try again."""
        # A catalogue of its own, whose columns are let go of with it.
        utterances = layout.utterance_table(root_of(self._repository, self.branch))
        states = ((spec, self._states[spec.name]) for spec in self._specs)
        return plan(utterances, states, partition=self.partition, retry=retry)

    def fork(self) -> Fork:
        """What the workers of this run write through; one fork serves them all."""
        return self._write().fork()

    def merge(self, written: Written) -> None:
        """Takes a partition over, and commits when a commit is due."""
        if self._session is None:
            self._session = self._write()
        self._session.merge(written.fork)
        specs = {spec.name: spec for spec in self._specs}
        for update in written.states:
            spec = specs[update.extractor]
            sha = self.utterances.at(SOURCE_COLUMN[spec.modality], update.rows)
            made: dict[str, Any] = {"key": spec.key, "run": self.entry.row, "source_sha": sha}
            self._states[spec.name].put(update.rows, {**update.columns, **made})
        for update in written.ends:
            self._states[update.extractor].put(update.rows, update.columns)
        for modality, shown in written.facts.items():
            if shown:
                checksums = self.utterances.at("clip_sha", np.array(list(shown)))
                clip_facts.put(self._facts[modality], shown, checksums)
        self._pending += 1
        if self._pending >= COMMIT_PARTITIONS or self.commit_within == 0:
            self.commit()

    @property
    def commit_within(self) -> float | None:
        """Seconds until what was merged has to be committed; None where there is nothing."""
        waited = time.monotonic() - self._last_commit
        return max(0.0, COMMIT_SECONDS - waited) if self._pending else None

    def commit(self) -> None:
        """Makes every merged partition durable on the run's branch."""
        if self._session is None:
            return
        root = open_root(self._session, "r+")
        with self._place.explained(COMMIT_FAILED, RunError):
            for spec in self._specs:
                self._states[spec.name].write(group_of(root, spec.name))
            for modality, table in self._facts.items():
                table.write(group_of(root, f"{layout.FACTS}/{modality}"))
        self._commit(self._session, f"{self._pending} partitions")
        self._session, self._pending = None, 0

    def failure_rates(self, *, besides: Plan | None = None) -> list[FailureRate]:
        """How each extractor fared on the rows that this run, resumed or not, has written.

        Args:
            besides: rows that do not count, since they are to be tried again.
        """
        rates = []
        for name, state in self._states.items():
            tried = np.isin(state.at("run"), self.entry.rows)
            for part in besides.partitions if besides else ():
                tried[part.rows.get(name, [])] = False
            reasons = Counter(state.at("reason", np.flatnonzero(tried)).tolist())
            del reasons[""]  # of those that have their feature
            rates.append(
                FailureRate(
                    extractor=name,
                    tried=int(tried.sum()),
                    failed=reasons.total(),
                    reasons=dict(reasons.most_common()),
                )
            )
        return rates

    def publish(self) -> str:
        """Moves ``main`` to the run's last commit and gives its snapshot id.

        Raises:
            RunError: ``main`` moved since the run began, or the lock was lost.
        """
        self.commit()
        if self.snapshot != self._base:
            self._finish()
        tip = self.snapshot
        self.random_weights = open_store(self.url, tip).random_weights()
        if self._tip("main") != self._base:
            raise RunError(
                f"store {self._place.name}: its main branch moved during the run; run again"
            )
        if tip != self._base:
            branches.move(self._repository, "main", tip, base=self._base, check=self._lock.check)
        with contextlib.suppress(*ICECHUNK):  # it is published; the next one tidies up
            self._tidy()
        return tip

    def _tidy(self) -> None:
        """Deletes the branches that nobody would miss; its own is one by now."""
        missed = {one.run for one in branches.unpublished(self._repository) if one.rows}
        for branch in set(run_branches(self._repository)) - missed:
            self._repository.delete_branch(branch)

    def _finish(self) -> None:
        """The commit that readers will see, which says what the run did."""
        rates = ", ".join(
            f"{one.extractor} {one.tried}" + (f" ({one.failed} failed)" if one.failed else "")
            for one in self.failure_rates()
            if one.tried
        )
        summary = "; ".join(filter(None, (str(self._change or ""), rates)))
        self.entry.finish(summary)
        self._commit(self._write(), summary, published=True)

    def _new_branch(self) -> str:
        branch = f"{BRANCH_PREFIX}{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
        patiently(lambda: self._repository.create_branch(branch, self._base))
        return branch

    def _tip(self, branch: str) -> str:
        return str(branches.tip_of(self._repository, branch).id)

    def _write(self) -> icechunk.Session:
        return patiently(lambda: self._repository.writable_session(self.branch))

    def _commit(self, session: icechunk.Session, message: str, *, published: bool = False) -> None:
        about: dict[str, Any] = {"run": self.branch, "base": self._base, "published": published}
        about |= {"extractors": [spec.name for spec in self._specs]}
        with self._place.explained(COMMIT_FAILED, RunError):
            self.entry.write(open_root(session, "r+"))
            branches.commit(self._repository, session, message, about, self._lock.check)
        self._last_commit = time.monotonic()


@contextlib.contextmanager
def open_run(
    url: str,
    specs: Sequence[FeatureSpec],
    *,
    partition: int,
    origin: Mapping[str, Any] | None = None,
    wait: float = 0.0,
    say: Callable[[str], None] = logger.warning,
) -> Iterator[Run]:
    """Locks the store, creates it where there is none, and resumes a run that died.

    Args:
        url: the store's folder, or ``s3://bucket/name``.
        specs: the extractors whose features are wanted.
        partition: utterances per partition, used only when the store is created.
        origin: what the run is and runs on, as JSON values; kept in the store.
        wait: how long to wait while another run writes to it, seconds.
        say: told, in one line, if there is one.

    Raises:
        UsageError: the store is busy, unwritable, or of another schema.
        RunError: the store could not be read or written inside the block.
    """
    stopped = "the run stopped; what was committed is kept, and the next run goes on from there"
    with location.writer_lock(url, wait=wait, say=say) as lock:
        if not location.exists(url):
            location.create(url, partition=partition)
        with place_of(url).explained(stopped, RunError, ICECHUNK):
            yield Run(url, specs, lock, origin or {})
