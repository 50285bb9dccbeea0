"""Whatever happens to a data set and to the runs over it, ``main`` shows what was published.

A machine drives the real store against a plain model of it: the rows of ``main``, and the rows
of the branch that a dead run left behind.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import zarr
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import history, open_store
from meldflow.storage.format.catalogue import ids
from meldflow.storage.history import maintain_store
from meldflow.storage.places.location import exists, open_repository
from meldflow.storage.reading.plan import PartitionPlan
from meldflow.storage.writing.transaction import Run, open_run
from tests.storage.corpus import do_partition, voice_spec, words_spec
from tests.storage.states import PARTITION, Content
from tests.storage.truth import (
    CATALOGUE,
    Digests,
    never_extracted,
    stored_rows,
    true_features,
    true_labels,
)

VOICE, WORDS = voice_spec().name, words_spec().name
WANTED = ((VOICE, WORDS), (VOICE, WORDS), (VOICE,), (WORDS,))
"""Extractors of a run; both, more often than not."""


@dataclass(slots=True)
class Model:
    """What a branch of the store holds."""

    present: dict[str, Utterance] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    """Ids of all that were ever present."""
    specs: dict[str, FeatureSpec] = field(default_factory=dict)
    """Extractor → as it was last asked for."""
    features: dict[tuple[str, str], tuple[FeatureSpec, Utterance]] = field(default_factory=dict)
    """(extractor, id) → of what the row was extracted last."""

    def sync(self, utterances: Iterable[Utterance], specs: Iterable[FeatureSpec]) -> None:
        self.present = {one.id: one for one in utterances}
        self.known |= self.present.keys()
        self.specs |= {spec.name: spec for spec in specs}

    def stale(self, specs: Iterable[FeatureSpec]) -> set[tuple[str, str]]:
        return {
            (spec.name, name)
            for spec in specs
            for name, one in self.present.items()
            if not self._is_current(spec, one)
        }

    def extract(self, rows: Iterable[tuple[str, str]]) -> None:
        for extractor, name in rows:
            self.features[extractor, name] = self.specs[extractor], self.present[name]

    def rows(self) -> Digests:
        """What a reader has to see."""
        rows = {(CATALOGUE, name): true_labels(one) for name, one in self.present.items()}
        for extractor, spec in self.specs.items():
            for name, one in self.present.items():
                held, stale = self.features.get((extractor, name)), not self._is_current(spec, one)
                rows[extractor, name] = (
                    true_features(*held, stale=stale) if held else never_extracted(spec)
                )
        return rows

    def _is_current(self, spec: FeatureSpec, one: Utterance) -> bool:
        held = self.features.get((spec.name, one.id))
        return held is not None and held[0].key == spec.key and _source(*held) == _source(spec, one)


def _source(spec: FeatureSpec, one: Utterance) -> str | bytes:
    return one.text if spec.modality == Modality.TEXT else one.clip.sha256


CHANGES: dict[str, Callable[[Content], Content]] = {
    "another clip": lambda one: replace(one, take=one.take + 1, silent=False),
    "another text": lambda one: replace(one, words=one.words + 1),
    "another label": lambda one: replace(
        one, emotion="joy" if one.emotion == "neutral" else "neutral"
    ),
    "a clip that fails": lambda one: replace(one, take=one.take + 1, silent=True),
    "removed": lambda one: replace(one, present=one.number == 0),  # a store follows one data set
    "returned": lambda one: replace(one, present=True),
}
"""What may happen to an utterance."""


@dataclass(slots=True)
class LeftBehind:
    """The branch of a dead run, with its last commit."""

    model: Model
    extractors: set[str]
    """Those that runs on this branch asked for: a run that asks for fewer starts anew."""
    snapshot: str
    base: str
    """What was published when it began: a run goes on with it while that is current."""
    has_rows: bool
    """Then it stays until it is discarded by its name."""


class StoreMachine(RuleBasedStateMachine):
    """The data set changes, runs end or die; a new operation on stores is one more rule."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.url = str(folder / "s")
        self.contents = [Content(number=number) for number in range(6)]
        self.versions = {VOICE: 1, WORDS: 1}
        self.main = Model()
        self.left: dict[str, LeftBehind] = {}
        """Branch → what is on it; the one that was written to last comes last."""
        self.history: dict[str, Digests] = {}
        self.states: dict[str, Model] = {}
        """Published by ``Run.publish``, so that one can go back to them."""

    @rule(n=st.integers(1, 5))
    def append(self, n: int) -> None:
        first = len(self.contents)
        self.contents += [Content(number=number) for number in range(first, first + n)]

    @rule(which=st.integers(0, 30), change=st.sampled_from(sorted(CHANGES)))
    def change(self, which: int, change: str) -> None:
        number = which % len(self.contents)
        self.contents[number] = CHANGES[change](self.contents[number])

    @rule(extractor=st.sampled_from([VOICE, WORDS]))
    def new_version(self, extractor: str) -> None:
        self.versions[extractor] += 1

    @rule(names=st.sampled_from(WANTED))
    def publish(self, names: tuple[str, ...]) -> None:
        with self._open(names) as run:
            self.main = self._extract(run, names, None)
            snapshot = run.publish()
            self._published(run, snapshot)
            self.states[snapshot] = copy.deepcopy(self.main)

    @rule(names=st.sampled_from(WANTED), partitions=st.integers(0, 3), committed=st.booleans())
    def die(self, names: tuple[str, ...], partitions: int, committed: bool) -> None:
        with self._open(names) as run:
            model = self._extract(run, names, partitions, committed=committed)
            self._leave(model, run, names)

    @rule(names=st.sampled_from(WANTED))
    def die_while_publishing(self, names: tuple[str, ...]) -> None:
        """Main moved, and the branch is still there."""
        with self._open(names) as run:
            self.main = self._extract(run, names, None)
            if run.snapshot != open_store(self.url).id:
                run._finish()
            open_repository(self.url).reset_branch("main", run.snapshot)
            self._published(run, run.snapshot)

    @precondition(lambda self: self.history)
    @rule(names=st.sampled_from(WANTED))
    def be_refused(self, names: tuple[str, ...]) -> None:
        """Main moved during the run: the run's work is not what main should show now."""
        with self._open(names) as run:
            self._extract(run, names, None)
            session = open_repository(self.url).writable_session("main")
            zarr.open_group(session.store).attrs["by"] = run.branch
            session.commit("behind the run's back")
            with pytest.raises(RunError, match="moved during the run"):
                run.publish()
        self.left.pop(run.branch, None)
        history.discard(self.url, run.branch)

    @precondition(lambda self: self.history)
    @rule(back=st.integers(0, 30))
    def look_back(self, back: int) -> None:
        snapshot = sorted(self.history)[back % len(self.history)]
        assert stored_rows(open_store(self.url, snapshot)) == self.history[snapshot]

    @precondition(lambda self: self.states)
    @rule(back=st.integers(0, 30))
    def roll_back(self, back: int) -> None:
        """What a dead run did waits until the state that it began with is current again."""
        snapshot = sorted(self.states)[back % len(self.states)]
        current = open_store(self.url).id
        if snapshot == current:
            return
        _, rescued = history.rollback(self.url, snapshot)
        assert open_store(self.url, rescued).id == current
        self.main = copy.deepcopy(self.states[snapshot])

    @precondition(lambda self: self.history)
    @rule(tagged=st.booleans())
    def maintain(self, tagged: bool) -> None:
        """What has no name is forgotten, and nothing else is touched."""
        if tagged:
            history.tag(self.url, f"kept-{len(history.tags(self.url))}")
        maintain_store(self.url, older_than_days=0)
        kept = {open_store(self.url).id, *history.tags(self.url).values()}
        self.history = {one: rows for one, rows in self.history.items() if one in kept}
        self.states = {one: model for one, model in self.states.items() if one in kept}
        for one, rows in self.history.items():
            assert stored_rows(open_store(self.url, one)) == rows

    @invariant()
    def main_shows_what_was_published(self) -> None:
        if exists(self.url):
            assert stored_rows(open_store(self.url)) == self.main.rows()

    @invariant()
    def nothing_that_was_done_is_given_up_unnamed(self) -> None:
        if exists(self.url):
            there = set(open_repository(self.url).list_branches())
            assert there.issuperset(name for name, one in self.left.items() if one.has_rows)
            self.left = {name: one for name, one in self.left.items() if name in there}

    @contextlib.contextmanager
    def _open(self, names: tuple[str, ...]) -> Iterator[Run]:
        """A run, once those are discarded whose work it would give up."""
        with contextlib.ExitStack() as stack:
            run = None
            while run is None:
                try:
                    opened = open_run(self.url, self._specs(names), partition=PARTITION)
                    run = stack.enter_context(opened)
                except UsageError as error:
                    self._discard_named_by(str(error), names)
            yield run

    def _discard_named_by(self, message: str, names: tuple[str, ...]) -> None:
        [named] = [one for one in self.left if message.endswith(f"discard {self.url} {one}`")]
        dead = self.left.pop(named)
        assert dead.has_rows
        assert dead.base == open_store(self.url).id
        history.discard(self.url, named)

    def _extract(
        self, run: Run, names: tuple[str, ...], partitions: int | None, *, committed: bool = True
    ) -> Model:
        """Does so many partitions, or all; gives what the run's branch holds then."""
        specs, utterances = self._specs(names), self._utterances()
        base = open_store(self.url).id
        usable = [
            branch
            for branch, one in self.left.items()
            if one.extractors <= set(names) and one.base == base
        ]
        assert run.resumed == bool(usable and self.left[usable[-1]].has_rows)
        assert not usable or run.branch == usable[-1]
        model = copy.deepcopy(self.left[run.branch].model if usable else self.main)
        run.sync(utterances)
        model.sync(utterances, specs)
        parts = run.plan().partitions
        assert _named(run, parts) == model.stale(specs)
        for part in parts[:partitions]:
            run.merge(do_partition(run, part, utterances, specs))
        if committed:
            run.commit()
            model.extract(_named(run, parts[:partitions]))
        return model

    def _leave(self, model: Model, run: Run, names: tuple[str, ...]) -> None:
        if run.snapshot == open_store(self.url).id:
            return  # it committed nothing, so there is nothing to go on with
        before = self.left.get(run.branch)
        if before and before.snapshot == run.snapshot:
            before.model = model
            return
        self.left.pop(run.branch, None)
        asked = set(names) | (before.extractors if before else set())
        summaries = {one.run: one.summary for one in history.unpublished(self.url)}
        has_rows = "no row done" not in summaries[run.branch]
        base = open_store(self.url).id
        self.left[run.branch] = LeftBehind(model, asked, run.snapshot, base, has_rows)

    def _published(self, run: Run, snapshot: str) -> None:
        self.left.pop(run.branch, None)
        self.history[snapshot] = self.main.rows()

    def _specs(self, names: tuple[str, ...]) -> tuple[FeatureSpec, ...]:
        known = (voice_spec(self.versions[VOICE]), words_spec(self.versions[WORDS]))
        return tuple(spec for spec in known if spec.name in names)

    def _utterances(self) -> list[Utterance]:
        return [one.utterance() for one in self.contents if one.present]


def _named(run: Run, parts: Iterable[PartitionPlan]) -> set[tuple[str, str]]:
    names = ids(run.utterances)
    return {
        (extractor, names[row])
        for part in parts
        for extractor, rows in part.rows.items()
        for row in rows
    }


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_main_shows_what_was_published_whatever_happens(tmp_path: Path, examples: int) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(Path(tempfile.mkdtemp(dir=tmp_path))),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=14,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # shrinking took five minutes, and 14 steps are readable
            suppress_health_check=list(HealthCheck),
        ),
    )
