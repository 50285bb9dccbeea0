from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.features import ArraySpec, FeatureSpec
from meldflow.models.schema.media import AudioFacts, Missing
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import history, open_store
from meldflow.storage.places.location import open_repository, writer_lock
from meldflow.storage.reading.plan import preview
from meldflow.storage.writing import transaction
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import COMMIT_SECONDS, open_run
from tests.storage.corpus import (
    SPECS,
    corpus,
    do_partition,
    expected,
    extract,
    extract_all,
    utterance,
    voice_spec,
    words_spec,
)


def check(store: Path, utterances: list[Utterance], specs: tuple[FeatureSpec, ...] = SPECS) -> None:
    """Every row of ``main`` holds exactly the features of its utterance."""
    snapshot = open_store(str(store))
    assert len(snapshot.rows()) == len(utterances)
    for spec in specs:
        frames = {
            array.name: dict(snapshot.iter_frames(spec.name, array.name))
            for array in spec.arrays
            if array.rate
        }
        fixed = {a.name: snapshot.features(spec.name, a.name)[0] for a in spec.arrays if not a.rate}
        state = snapshot.state(spec.name)
        place = {row: i for i, row in enumerate(snapshot.rows().tolist())}
        for one in utterances:
            row, record = snapshot.row(one.id), expected(spec, one)
            assert state["key"][row] == spec.key
            if isinstance(record, Missing):
                assert (state["status"][row], state["reason"][row]) == (2, record.reason)
                assert all(len(frames[name][row]) == 0 for name in frames)
                assert all(np.isnan(fixed[name][place[row]]).all() for name in fixed)
            else:
                assert (state["status"][row], state["reason"][row]) == (1, "")
                for name in frames:
                    np.testing.assert_array_equal(frames[name][row], record[name])
                for name in fixed:
                    np.testing.assert_array_equal(fixed[name][place[row]], record[name])


def test_first_run_stores_every_row_and_the_second_has_nothing_to_do(tmp_path: Path) -> None:
    utterances = [*corpus(10), utterance(10, text="silent")]
    assert extract(tmp_path / "s", utterances) == 22
    check(tmp_path / "s", utterances)
    before = open_store(str(tmp_path / "s")).id
    assert extract(tmp_path / "s", utterances) == 0
    assert open_store(str(tmp_path / "s")).id == before


def test_changes_touch_only_what_depends_on_them(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(10)
    extract(store, utterances)
    utterances[2] = utterance(2, take="b")
    assert extract(store, utterances) == 1  # a new clip: its sound
    utterances[5] = utterance(5, text="other words")
    assert extract(store, utterances) == 1  # a new text: its embedding
    utterances[7] = utterance(7, emotion="joy")
    assert extract(store, utterances) == 0  # a new label: no feature depends on it
    assert open_store(str(store)).utterances["emotion"][7] == "joy"
    check(store, utterances)


def test_a_new_version_redoes_one_extractor_and_new_dims_replace_its_arrays(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(9)
    extract(store, utterances)
    newer = (voice_spec(version=2), words_spec())
    assert extract(store, utterances, newer) == 9
    check(store, utterances, newer)
    wider = (voice_spec(version=2, width=8), words_spec())
    assert extract(store, utterances, wider) == 9
    check(store, utterances, wider)


def test_new_utterances_are_appended_and_removed_ones_stay_in_their_row(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(6)
    extract(store, utterances)
    grown = corpus(13)
    assert extract(store, grown) == 14
    check(store, grown)
    assert extract(store, grown[:-2]) == 0
    snapshot = open_store(str(store))
    assert len(snapshot.rows()) == 11
    assert snapshot.row(grown[-1].id) == 12


def test_new_utterances_reach_the_extractors_that_do_not_run(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(6)
    extract(store, utterances)
    grown = corpus(9)
    assert extract(store, grown, (words_spec(),)) == 3
    snapshot = open_store(str(store))
    assert snapshot.counts()["train"]["audio/voice"].never == 1
    values, mask = snapshot.features("audio/voice", "mean")
    assert (len(values), mask.tolist()) == (9, [True] * 6 + [False] * 3)
    assert np.isnan(values[6:]).all()
    assert snapshot.dataset("audio/voice").sizes["utterance"] == 9
    sizes = [len(frames) for _, frames in snapshot.iter_frames("audio/voice", "frames")]
    assert sizes[6:] == [0] * 3
    assert extract(store, grown) == 3
    check(store, grown)


def test_a_partition_that_outgrows_its_slot_moves(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 128)
    store = tmp_path / "s"
    for n in (1, 3, 7, 12):
        extract(store, corpus(n))
        check(store, corpus(n))


def test_main_shows_nothing_of_a_run_that_is_not_published(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(8)
    extract(store, utterances)
    with open_run(str(store), (voice_spec(version=2),), partition=4) as run:
        extract_all(run, utterances, (voice_spec(version=2),))
        run.commit()
        check(store, utterances)


def test_a_run_that_died_is_resumed_from_its_last_commit(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(12)
    with open_run(str(store), SPECS, partition=4) as run:
        run.sync(utterances)
        first, second, _ = run.plan().partitions
        run.merge(do_partition(run, first, utterances, SPECS))
        run.commit()
        run.merge(do_partition(run, second, utterances, SPECS))  # never committed
    with open_run(str(store), SPECS, partition=4) as run:
        assert run.resumed
        run.sync(utterances)
        assert [part.partition for part in run.plan().partitions] == [1, 2]
        extract_all(run, utterances, SPECS)
        assert [(r.tried, r.failed) for r in run.failure_rates()] == [(12, 0), (12, 0)]
        run.publish()
    check(store, utterances)


def test_a_run_that_came_to_nothing_was_not_begun(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(4)
    with open_run(str(store), SPECS, partition=4) as run:
        run.sync(utterances)  # as where the cluster takes no workers
    with open_run(str(store), SPECS, partition=4) as run:
        assert not run.resumed
        extract_all(run, utterances, SPECS)
        run.publish()
    check(store, utterances)


def test_failure_rate_counts_the_rows_of_this_run_only(tmp_path: Path) -> None:
    store = tmp_path / "s"
    utterances = [*corpus(4), utterance(4, text="silent")]
    extract(store, utterances)
    utterances += [utterance(5, text="silent 5"), utterance(6)]
    with open_run(str(store), SPECS, partition=4) as run:
        extract_all(run, utterances, SPECS)
        voice, words = run.failure_rates()
        assert (voice.tried, voice.failed, voice.reasons) == (2, 1, {"silent": 1})
        assert (words.tried, words.failed) == (2, 0)
        assert (voice.extracted, words.extracted) == (1, 2)


def test_retry_failed_plans_the_failures_again(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", [*corpus(5), utterance(5, text="silent")]
    extract(store, utterances)
    with open_run(str(store), SPECS, partition=4) as run:
        run.sync(utterances)
        assert run.plan().partitions == ()
        assert run.plan(retry=["silent"]).stale() == {"audio/voice": 1}


def test_counts_tell_stale_from_current(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", [*corpus(5), utterance(5, text="silent")]
    extract(store, utterances)
    utterances[0] = utterance(0, take="b")
    with open_run(str(store), SPECS, partition=4) as run:
        run.sync([*utterances, utterance(6)])
        snapshot = open_store(str(store), run.branch)
        train = snapshot.counts()["train"]["audio/voice"]
        assert (train.ok, train.failed, train.stale, train.never) == (1, 0, 1, 1)
        assert snapshot.counts()["test"]["audio/voice"].failed == 1


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    with (
        writer_lock(str(tmp_path / "s")),
        pytest.raises(UsageError, match=r"another run.*process \d+ on"),
    ):
        extract(tmp_path / "s", corpus(2))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: p.write_text("x"), "this is a file"),
        (lambda p: (p.mkdir(), (p / "x").write_text("x")), "holds other files"),
    ],
)
def test_places_that_cannot_hold_a_store_are_refused(tmp_path: Path, prepare, message) -> None:  # type: ignore[no-untyped-def]
    prepare(tmp_path / "s")
    with pytest.raises(UsageError, match=message):
        extract(tmp_path / "s", corpus(1))


def test_reading_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no store is here"):
        open_store(str(tmp_path / "s"))
    assert not (tmp_path / "s").exists()
    extract(tmp_path / "s", corpus(1))
    with pytest.raises(UsageError, match="no branch, tag or snapshot"):
        open_store(str(tmp_path / "s"), "v1")
    with pytest.raises(UsageError, match="no utterance is called"):
        open_store(str(tmp_path / "s")).row("train/dia9_utt9")
    with pytest.raises(UsageError, match="not 'audio/none'"):
        open_store(str(tmp_path / "s")).features("audio/none", "mean")


def test_another_schema_is_refused(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("meldflow.storage.places.location.SCHEMA", 99)
    extract(tmp_path / "s", corpus(1))
    monkeypatch.undo()
    with pytest.raises(
        UsageError, match="layout is 99, this meldflow reads 3; a newer one wrote it: update"
    ):
        open_store(str(tmp_path / "s"))


def test_xarray_sees_a_labelled_lazy_data_set(tmp_path: Path) -> None:
    utterances = corpus(6)
    extract(tmp_path / "s", utterances)
    ds = open_store(str(tmp_path / "s")).dataset("audio/voice")
    assert ds["mean"].dims == ("utterance", "channel")
    assert ds["mean"].chunks is not None
    assert ds["emotion"].to_numpy().tolist() == ["neutral"] * 6
    row = expected(voice_spec(), utterances[4])
    np.testing.assert_array_equal(ds["mean"][4].to_numpy(), row["mean"])  # type: ignore[index]


def test_publish_refuses_a_main_that_moved(tmp_path: Path) -> None:
    store = str(tmp_path / "s")
    extract(Path(store), corpus(2))
    with open_run(store, SPECS, partition=4) as run:
        extract_all(run, corpus(3), SPECS)
        repository = open_repository(store)
        session = repository.writable_session("main")
        zarr.open_group(session.store).attrs["by"] = "someone else"
        session.commit("behind the run's back")
        with pytest.raises(RunError, match="moved during the run"):
            run.publish()


def test_a_run_of_one_extractor_leaves_the_others_readable(tmp_path: Path) -> None:
    store = tmp_path / "s"
    extract(store, corpus(5))
    extract(store, corpus(11), (voice_spec(),))
    snapshot = open_store(str(store))
    train = snapshot.counts()["train"]
    assert (train["audio/voice"].never, train["text/words"].never) == (0, 2)
    values, there = snapshot.features("text/words", "embedding")
    assert values.shape == (11, 4)
    assert there.tolist() == [True] * 5 + [False] * 6
    assert snapshot.dataset("text/words").sizes["utterance"] == 11
    assert snapshot.failures() == []
    assert extract(store, corpus(11)) == 6
    check(store, corpus(11))


def test_a_dead_run_is_not_given_up_by_one_that_wants_less_unless_it_is_named(
    tmp_path: Path,
) -> None:
    store, utterances = tmp_path / "s", corpus(8)
    extract(store, utterances)
    newer, less = (voice_spec(version=2), words_spec()), (words_spec(version=2),)
    dead = die(str(store), utterances, newer)
    said = f"{dead} ended .* audio/voice 4 rows done.*--only audio/voice.*discard {store} {dead}"
    with pytest.raises(UsageError, match=said):
        extract(store, utterances, less)
    with pytest.raises(UsageError, match=said):
        preview(str(store), less, utterances)
    history.discard(str(store), dead)
    extract(store, utterances, less)
    check(store, utterances, (voice_spec(), words_spec(version=2)))


def test_a_run_that_did_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    store = tmp_path / "s"
    extract(store, corpus(8))
    with open_run(str(store), SPECS, partition=4) as run:
        run.sync(corpus(9))
    extract(store, corpus(8), (words_spec(version=2),))
    assert history.unpublished(str(store)) == ()
    assert len(open_repository(str(store)).list_branches()) == 1


def die(url: str, utterances: list[Utterance], specs: tuple[FeatureSpec, ...] = SPECS) -> str:
    """A run that dies after its first partition; gives its name."""
    with open_run(url, specs, partition=4) as run:
        run.sync(utterances)
        run.merge(do_partition(run, run.plan().partitions[-1], utterances, specs))
        run.commit()
        return run.branch


def test_what_was_merged_is_committed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(str(tmp_path / "s"), SPECS, partition=4) as run:
        run.sync(corpus(8))
        assert run.commit_within is None
        parts = [do_partition(run, part, corpus(8), SPECS) for part in run.plan().partitions]
        run.merge(parts[0])
        assert 0 < (run.commit_within or 0) <= COMMIT_SECONDS
        monkeypatch.setattr(transaction, "COMMIT_SECONDS", 0.0)
        run.merge(parts[1])
        assert run.commit_within is None
        assert history.unpublished(run.url)[0].summary.endswith("8, text/words 8 rows done")


def test_an_extractor_that_gives_one_more_array_is_extracted_anew(tmp_path: Path) -> None:
    store, utterances = tmp_path / "s", corpus(6)
    extract(store, utterances)
    pitch = ArraySpec(name="pitch", dims=("frame",), shape=(), dtype="float32", rate=50.0)
    more = replace(voice_spec(version=2), arrays=(*voice_spec().arrays, pitch))
    assert preview(str(store), (more,), utterances)[1].stale() == {"audio/voice": 6}
    assert extract(store, utterances, (more,)) == 6
    assert len(open_store(str(store)).frames("audio/voice", "pitch", utterances[1].id))


def test_clips_of_unknown_length_fit_and_longer_ones_do_at_the_second_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.writing.room.UNKNOWN_SECONDS", 0.5)
    store = str(tmp_path / "s")
    unknown = [
        replace(one, seconds=math.nan, clip=replace(one.clip, seconds=math.nan))
        for one in corpus(4)
    ]
    for retry, failed in (((), 2), (["too_long"], 0)):
        with open_run(store, (voice_spec(),), partition=4) as run:
            run.sync(unknown)
            for part in run.plan(retry=retry).partitions:
                # What decoding shows: longer than anybody said.
                results = {
                    row: Result(
                        record=expected(voice_spec(), corpus(4)[row]),
                        seconds=0.0,
                        facts=AudioFacts(seconds=corpus(4)[row].clip.seconds),
                    )
                    for row in part.rows["audio/voice"]
                }
                run.merge(
                    write_partition(
                        run.fork(),
                        part.partition,
                        {"audio/voice": results},
                        (voice_spec(),),
                        partition_size=4,
                    )
                )
            (rate,) = run.failure_rates()
            assert rate.failed == failed
            run.publish()
    assert not open_store(store).failures()


def test_frames_of_rows_that_stay_count_against_their_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a clip that is longer than it says writes into the next partition."""
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 128)
    spec, store = voice_spec(), tmp_path / "s"
    short = [
        replace(one, seconds=0.5, clip=replace(one.clip, seconds=0.5)) for one in corpus(8)
    ]  # 25 frames each: a partition has 28 left
    extract(store, short, (spec,))
    replaced = replace(short[0], clip=replace(utterance(0, take="b").clip, seconds=0.5))
    long = expected(spec, replace(replaced, clip=replace(replaced.clip, seconds=1.2)))
    with open_run(str(store), (spec,), partition=4) as run:
        run.sync([replaced, *short[1:]])
        written = write_partition(
            run.fork(),
            0,
            {spec.name: {0: Result(record=long, seconds=0.0)}},
            (spec,),
            partition_size=4,
        )
        run.merge(written)
        run.publish()
    snapshot = open_store(str(store))
    assert [one.reason for one in snapshot.failures()] == ["too_long"]
    for one in short[1:]:
        record = expected(spec, one)
        assert isinstance(record, dict)
        found = snapshot.frames(spec.name, "frames", one.id)
        np.testing.assert_array_equal(found, record["frames"])


def test_rows_that_fail_again_count_as_tried(tmp_path: Path) -> None:
    store = str(tmp_path / "s")
    silent = [replace(one, text="silent") for one in corpus(3)]
    extract(Path(store), silent, (voice_spec(),))
    with open_run(store, (voice_spec(),), partition=4) as run:
        run.sync(silent)
        for part in run.plan(retry=["silent"]).partitions:
            run.merge(do_partition(run, part, silent, (voice_spec(),)))
        (rate,) = run.failure_rates()
        assert (rate.tried, rate.failed, rate.reasons) == (3, 3, {"silent": 3})


def test_a_run_that_may_not_go_on_leaves_a_dead_one_its_work(tmp_path: Path) -> None:
    store = str(tmp_path / "s")
    extract(Path(store), corpus(2))
    with open_run(store, SPECS, partition=4) as run:
        run.sync(corpus(9))
        run.merge(do_partition(run, run.plan().partitions[1], corpus(9), SPECS))
        run.commit()
    refused = pytest.raises(UsageError, match="ended before it was published")
    with refused, open_run(store, (words_spec(),), partition=4):
        pass
    with open_run(store, SPECS, partition=4) as run:
        assert run.resumed
        assert extract_all(run, corpus(9), SPECS) == 2 * (9 - 2 - 4)
        run.publish()
    with open_run(store, SPECS, partition=4) as run:
        assert not run.resumed


def test_every_try_of_a_run_names_what_it_ran_on(tmp_path: Path) -> None:
    store = str(tmp_path / "s")
    with open_run(store, SPECS, partition=4, origin={"torch": "1"}) as run:
        run.sync(corpus(8))
        run.merge(do_partition(run, run.plan().partitions[0], corpus(8), SPECS))
        run.commit()
    with open_run(store, SPECS, partition=4, origin={"torch": "2"}) as run:
        extract_all(run, corpus(8), SPECS)
        run.entry.note("workers", 2)
        assert [one.tried for one in run.failure_rates()] == [8, 8]
        run.publish()
    snapshot = open_store(store)
    first, second = snapshot.runs
    assert first.id == second.id
    assert (first.origin, second.origin) == ({"torch": "1"}, {"torch": "2", "workers": 2})
    assert (first.finished, bool(second.finished)) == ("", True)
    assert snapshot.state("audio/voice")["run"].tolist() == [0] * 4 + [1] * 4


def test_rows_that_are_tried_again_may_be_left_out_of_the_rates(tmp_path: Path) -> None:
    utterances = [utterance(n, text="silent" if n < 3 else None) for n in range(8)]
    with open_run(str(tmp_path / "s"), [voice_spec()], partition=4) as run:
        extract_all(run, utterances, [voice_spec()])
        (rate,) = run.failure_rates()
        assert (rate.tried, rate.failed) == (8, 3)
        (rate,) = run.failure_rates(besides=run.plan(retry={"silent"}))
        assert (rate.tried, rate.failed) == (5, 0)
