"""What a store was stays readable, comparable and nameable, until nobody needs it."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.media import Reason
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import history, open_store
from meldflow.storage.history import maintain_store as maintain
from meldflow.storage.places.location import open_repository, writer_lock
from meldflow.storage.reading.difference import diff
from meldflow.storage.reading.plan import Why, preview
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import (
    corpus,
    do_partition,
    extract_all,
    utterance,
    voice_spec,
    words_spec,
)

SPECS = (voice_spec(), words_spec())


def extract(
    url: str,
    utterances: list[Utterance],
    specs: tuple[FeatureSpec, ...] = SPECS,
    **origin: object,
) -> str:
    with open_run(url, specs, partition=4, origin=origin) as run:
        extract_all(run, utterances, specs)
        return run.publish()


def changed() -> list[Utterance]:
    """The corpus with a new clip, a new text, a new label, one more and one fewer."""
    after = corpus(7)
    after[1] = utterance(1, take="b")
    after[2] = utterance(2, text="other words")
    after[3] = utterance(3, emotion="joy")
    return [*after[:5], after[6]]


mostly_in_a_folder = pytest.mark.parametrize(
    "url", ["folder", pytest.param("s3", marks=pytest.mark.slow)], indirect=True
)
"""In a bucket as well, but not each time: the same commits go through the same places."""


@mostly_in_a_folder
def test_the_log_lists_what_was_published_and_nothing_between(url: str) -> None:
    first = extract(url, corpus(6))
    second = extract(url, corpus(9))
    extract(url, corpus(9))  # nothing to do
    states = history.log(url)
    assert [one.snapshot for one in states][:2] == [second, first]
    assert [one.summary for one in states] == [
        "3 new, 0 changed, 0 removed, 6 unchanged; audio/voice 3, text/words 3",
        "6 new, 0 changed, 0 removed, 0 unchanged; audio/voice 6, text/words 6",
        "create the store",
    ]
    assert len(states) == 3


@mostly_in_a_folder
def test_a_difference_names_utterances_and_extractors(url: str) -> None:
    before = extract(url, corpus(6))
    after = extract(url, changed(), (voice_spec(), words_spec(version=2)))
    found = diff(url, before, after)
    assert found.added == ("train/dia2_utt0",)
    assert found.removed == ("test/dia1_utt2",)
    assert found.changed == {
        "dev/dia0_utt1": ("clip_sha",),
        "test/dia0_utt2": ("text", "text_sha"),
        "train/dia1_utt0": ("emotion",),
    }
    voice, words = found.extractors["audio/voice"], found.extractors["text/words"]
    assert (voice.added, voice.changed) == (("train/dia2_utt0",), ("dev/dia0_utt1",))
    assert voice.removed == ("test/dia1_utt2",)
    assert voice.key_before == voice.key_after
    assert words.key_before != words.key_after
    assert len(words.changed) == 5
    same = diff(url, after, "main")
    assert (same.added, same.removed, same.changed, same.extractors) == ((), (), {}, {})


@mostly_in_a_folder
def test_a_difference_from_the_empty_store(url: str) -> None:
    extract(url, corpus(3))
    created = history.log(url)[-1].snapshot
    found = diff(url, created, "main")
    assert len(found.added) == 3
    assert found.extractors["audio/voice"].key_before == ""


@mostly_in_a_folder
def test_tags_name_states_and_are_not_moved(url: str) -> None:
    first = extract(url, corpus(3))
    history.tag(url, "paper-1")
    extract(url, corpus(6))
    assert history.tags(url) == {"paper-1": first}
    assert open_store(url, "paper-1").id == first
    assert history.tag(url, "paper-1", first) == first
    with pytest.raises(UsageError, match="'paper-1' names"):
        history.tag(url, "paper-1")
    with pytest.raises(UsageError, match="no branch, tag or snapshot"):
        history.tag(url, "x", "nothing")
    with pytest.raises(UsageError, match="'a/b' is no name for a tag"):
        history.tag(url, "a/b")
    assert history.log(url)[1].tags == ("paper-1",)


def test_a_rollback_and_back_again(url: str) -> None:
    first, second = extract(url, corpus(3)), extract(url, corpus(6))
    current, rescued = history.rollback(url, first)
    assert (current, open_store(url).id) == (first, first)
    assert open_store(url, rescued).id == second
    assert history.rollback(url, second)[0] == second
    third = extract(url, corpus(7))
    assert open_store(url).id == third
    assert len(open_store(url).rows()) == 7


@mostly_in_a_folder
def test_what_is_made_anew_after_a_rollback_is_told_from_what_was(url: str) -> None:
    first = extract(url, corpus(3))
    extract(url, corpus(6))
    _, rescued = history.rollback(url, first)
    extract(url, corpus(6))
    found = diff(url, rescued, "main")
    assert (found.added, found.changed) == ((), {})
    assert len(found.extractors["audio/voice"].changed) == 3


@mostly_in_a_folder
def test_a_tag_can_be_forgotten_and_is_no_branch(url: str) -> None:
    extract(url, corpus(3))
    history.tag(url, "x")
    history.untag(url, "x")
    assert history.tags(url) == {}
    with pytest.raises(UsageError, match="no tag is called 'x'"):
        history.untag(url, "x")
    with pytest.raises(UsageError, match=r"a tag 'x' was forgotten once.* choose another name"):
        history.tag(url, "x")
    for name in ("main", "run-1"):
        with pytest.raises(UsageError, match="is the name of a branch"):
            history.tag(url, name)


@mostly_in_a_folder
def test_what_a_run_did_before_it_died_is_listed_readable_and_kept(url: str) -> None:
    first, second = extract(url, corpus(3)), extract(url, corpus(6))
    with open_run(url, SPECS, partition=4) as run:
        run.sync(corpus(9))
        run.merge(do_partition(run, run.plan().partitions[-1], corpus(9), SPECS))
        run.commit()
        [under_way] = history.unpublished(url)
        assert under_way.summary.startswith(f"under way (process {os.getpid()} on ")
    [left] = history.unpublished(url)
    assert (left.run, left.snapshot, left.published) == (run.branch, under_way.snapshot, False)
    assert left.summary == "not published; audio/voice 1, text/words 1 rows done"
    assert open_store(url, left.run).counts()["test"]["audio/voice"].ok == 3
    history.rollback(url, first)
    assert history.unpublished(url) == (left,)
    extract(url, corpus(4), (voice_spec(),))  # it is in nobody's way now
    history.rollback(url, second)
    with open_run(url, SPECS, partition=4) as run:
        assert run.resumed
        assert run.branch == left.run
    history.discard(url, left.run)
    assert history.unpublished(url) == ()
    with pytest.raises(UsageError, match="no unpublished run is called 'run-1'"):
        history.discard(url, "run-1")


@mostly_in_a_folder
def test_rollbacks_that_are_none(url: str) -> None:
    only = extract(url, corpus(9))
    repository = open_repository(url)
    between = next(
        one.id
        for one in repository.ancestry(branch="main")
        if not one.metadata.get("published") and one.parent_id != repository.lookup_branch("main")
    )
    with pytest.raises(UsageError, match="is the current state already"):
        history.rollback(url, only)
    with pytest.raises(UsageError, match="was never published"):
        history.rollback(url, between)
    with writer_lock(url), pytest.raises(UsageError, match="another run is writing"):
        history.rollback(url, only)


def test_maintenance_forgets_and_frees_but_keeps_what_is_named(url: str) -> None:
    first = extract(url, corpus(6))
    history.tag(url, "keep", first)
    second = extract(url, corpus(6), (voice_spec(version=2), words_spec()))
    third = extract(url, corpus(6), (voice_spec(version=3), words_spec()))
    nothing = maintain(url)
    assert (nothing.expired, nothing.objects) == (0, 0)
    done = maintain(url, older_than_days=0)
    assert done.expired > 0
    assert done.bytes > 0
    for ref in ("keep", third):
        snapshot = open_store(url, ref)
        values, mask = snapshot.features("audio/voice", "mean")
        assert mask.all()
        assert np.isfinite(values).all()
        assert len(snapshot.frames("audio/voice", "frames", "train/dia0_utt0"))
    with pytest.raises(UsageError, match="no branch, tag or snapshot"):
        open_store(url, second).features("audio/voice", "mean")
    assert maintain(url, older_than_days=0).objects == 0
    extract(url, corpus(8), (voice_spec(version=3), words_spec()))


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    url = str(tmp_path / "s")
    extract(url, corpus(6))
    before = sorted(tmp_path.rglob("*"))
    maintain(url, older_than_days=0, dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before


@mostly_in_a_folder
def test_no_maintenance_while_a_run_writes(url: str) -> None:
    extract(url, corpus(3))
    with open_run(url, SPECS, partition=4) as run:
        run.sync(corpus(6))
        written = do_partition(run, run.plan().partitions[0], corpus(6), SPECS)
        with pytest.raises(UsageError, match="another run is writing"):
            maintain(url, older_than_days=0)
        run.merge(written)
        run.commit()
    maintain(url, older_than_days=0)  # the dead run's branch keeps what it committed
    with open_run(url, SPECS, partition=4) as run:
        assert run.resumed
        extract_all(run, corpus(6), SPECS)
        run.publish()
    assert open_store(url).features("audio/voice", "mean")[1].all()


@mostly_in_a_folder
def test_every_row_names_its_run_and_every_run_what_it_ran_on(url: str) -> None:
    extract(url, corpus(5), versions={"torch": "1"})
    extract(url, corpus(6), versions={"torch": "2"})
    first, second = open_store(url).runs
    assert (first.origin, second.origin) == (
        {"versions": {"torch": "1"}},
        {"versions": {"torch": "2"}},
    )
    assert first.finished >= first.started
    assert open_store(url).state("audio/voice")["run"].tolist() == [0, 0, 0, 0, 0, 1]


def test_a_plan_tells_why_and_writes_nothing(tmp_path: Path) -> None:
    url = str(tmp_path / "s")
    assert preview(url, SPECS, corpus(3))[1].why == {
        "audio/voice": {Why.NEVER: 3},
        "text/words": {Why.NEVER: 3},
    }
    assert not list(tmp_path.iterdir())
    silent = [*corpus(6)[:5], replace(utterance(5), text="silent")]
    extract(url, silent)
    before = sorted(tmp_path.rglob("*"))
    after = changed()
    change, plan = preview(url, (voice_spec(), words_spec(version=2)), after)
    assert (change.appended, change.changed, change.removed) == (1, 3, 1)
    assert plan.why == {
        "audio/voice": {Why.NEVER: 1, Why.CLIP: 1},
        "text/words": {Why.NEVER: 1, Why.EXTRACTOR: 5},
    }
    assert preview(url, SPECS, silent)[1].why == {}
    assert preview(url, SPECS, silent, retry=[Reason.SILENT])[1].why == {
        "audio/voice": {Why.RETRY: 1}
    }
    assert preview(url, SPECS, silent, retry=[Reason.TIMEOUT])[1].why == {}
    wider = preview(url, (voice_spec(width=9), words_spec()), silent)[1]
    assert wider.why == {"audio/voice": {Why.NEVER: 6}}
    assert sorted(tmp_path.rglob("*")) == before


@mostly_in_a_folder
def test_a_plan_is_what_the_run_then_does(url: str) -> None:
    extract(url, corpus(6))
    expected = preview(url, SPECS, changed())
    with open_run(url, SPECS, partition=4) as run:
        assert run.sync(changed()) == expected[0]
        np.testing.assert_equal(asdict(run.plan()), asdict(expected[1]))
