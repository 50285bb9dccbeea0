"""The commands about a store's states, as a user runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from meldflow.flows.cli import main
from meldflow.flows.cli.parameters import spread_reasons
from meldflow.storage import history
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


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of two published states."""
    url = str(tmp_path / "store")
    for utterances in (corpus(3), [utterance(0, text="[b]other[/b] words"), *corpus(13)[1:]]):
        with open_run(url, SPECS, partition=4) as run:
            extract_all(run, utterances, SPECS)
            run.publish()
    return url


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Runs a command in this process; gives its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["meldflow", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main.main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


def test_log_and_tags(store: str, shown) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = shown("log", store)
    assert code == 0
    assert out.index("10 new, 1 changed") < out.index("3 new") < out.index("create the store")
    assert shown("tag", store)[1] == "no tags\n"
    assert "paper-1  " in shown("tag", store, "paper-1")[1]
    assert "(paper-1)" in shown("log", store)[1]
    states = json.loads(shown("log", store, "--json")[1])
    assert states[0]["tags"] == ["paper-1"]


def test_a_run_that_was_not_published_is_listed(store: str, shown) -> None:  # type: ignore[no-untyped-def]
    fresh = f"{store}-fresh"
    for url in (store, fresh):
        with open_run(url, SPECS, partition=4) as run:
            run.sync(corpus(14))
            run.merge(do_partition(run, run.plan().partitions[-1], corpus(14), SPECS))
            run.commit()
        assert shown("log", url)[1].splitlines()[0].endswith(f"  {run.branch}")
        assert json.loads(shown("log", url, "--json")[1])[0]["published"] is False
        code, out, _ = shown("status", url)
        assert code == 0
        assert f"{run.branch}: not published; audio/voice " in " ".join(out.split())
        assert json.loads(shown("status", url, "--json")[1])["unpublished"][0]["run"] == run.branch
        assert shown("status", url, "--snapshot", run.branch)[0] == 0
    _, before, _ = history.log(store)
    branch = history.unpublished(store)[0].run
    assert f"current again: {branch}" in " ".join(
        shown("rollback", store, before.snapshot)[1].split()
    )
    assert branch not in shown("discard", store, branch)[1]


def test_diff(store: str, shown) -> None:  # type: ignore[no-untyped-def]
    newest, before, _ = history.log(store)
    _, out, _ = shown("diff", store, before.snapshot)
    assert "new utterances: 10: " in out
    assert "changed utterances: 1: train/dia0_utt0 (text, text_sha)" in out
    assert "other results: 1: train/dia0_utt0" in out
    found = json.loads(shown("diff", store, before.snapshot, newest.snapshot, "--json")[1])
    assert len(found["added"]) == 10
    assert shown("diff", store, "main")[1].endswith("no difference\n")


def test_rollback_and_maintain(store: str, shown) -> None:  # type: ignore[no-untyped-def]
    _, before, _ = history.log(store)
    code, out, _ = shown("rollback", store, before.snapshot)
    assert (code, before.snapshot in out) == (0, True)
    assert "is kept as before-rollback-" in out
    assert "would be deleted" in shown("maintain", store, "--dry-run")[1]
    freed = json.loads(shown("maintain", store, "--older-than", "0", "--json")[1])
    assert freed["expired"] > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("log", "nowhere"), "no store is here"),
        (("diff", "{store}", "x"), "no branch, tag or snapshot is called 'x'"),
        (("tag", "{store}", "a/b"), "'a/b' is no name for a tag"),
        (("rollback", "{store}", "main"), "is the current state already"),
        (("maintain", "nowhere"), "no store is here"),
        (("maintain", "{store}", "--older-than", "1e6"), "give 0 to 36,500"),
        (("tag", "{store}", "x", "--delete"), "no tag is called 'x'"),
        (("tag", "{store}", "--delete"), "name the tag to forget"),
        (("train", "{store}", "--seed", "99999999999"), "--seed: Input should be less than"),
        (("log", "s3://bucket"), "name a place in a bucket"),
        (("log", "gs://bucket/store"), "no store can lie there"),
    ],
)
def test_mistakes_end_in_one_line(store: str, shown, arguments, says: str) -> None:  # type: ignore[no-untyped-def]
    code, out, err = shown(*(one.format(store=store) for one in arguments))
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert sorted(one.name for one in Path(store).parent.iterdir()) == ["store", "store.lock"]


@pytest.mark.parametrize(
    ("given", "spread"),
    [
        ("extract data --retry-failed", "extract data --retry-failed all"),
        (
            "extract --retry-failed timeout crashed data",
            "extract --retry-failed timeout --retry-failed crashed data",
        ),
        ("--retry-failed --strict", "--retry-failed all --strict"),
        ("extract data", "extract data"),
    ],
)
def test_reasons_behind_one_option(given: str, spread: str) -> None:
    assert spread_reasons(given.split()) == spread.split()
