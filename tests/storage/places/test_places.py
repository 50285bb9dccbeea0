"""A store is the same in a folder and in a bucket, and has one writer in either."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import obstore
import pytest

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage import open_store
from meldflow.storage.places import bucket, location
from meldflow.storage.places.folder import _file_system
from meldflow.storage.places.place import Holder, place_of
from meldflow.storage.writing.transaction import open_run
from tests.storage import kinds as places
from tests.storage.corpus import corpus, do_partition, expected, extract_all, voice_spec, words_spec

SPECS = (voice_spec(), words_spec())


def extract(url: str, n: int) -> str:
    with open_run(url, SPECS, partition=4) as run:
        extract_all(run, corpus(n), SPECS)
        return run.publish()


def test_a_store_is_filled_read_and_grown(url: str) -> None:
    assert not location.exists(url)
    first = extract(url, 6)
    second = extract(url, 9)
    snapshot = open_store(url)
    assert snapshot.id == second != first
    for row, one in enumerate(corpus(9)):
        found = snapshot.frames("audio/voice", "frames", one.id)
        np.testing.assert_array_equal(found, expected(voice_spec(), one)["frames"])  # type: ignore[index]
        assert snapshot.row(one.id) == row
    assert len(open_store(url, first).rows()) == 6
    assert extract(url, 9) == second  # nothing to do, nothing published


def test_a_run_that_died_is_resumed(url: str) -> None:
    extract(url, 2)
    with open_run(url, SPECS, partition=4) as run:
        run.sync(corpus(12))
        plan = run.plan()
        run.merge(do_partition(run, plan.partitions[0], corpus(12), SPECS))
        run.commit()
    with open_run(url, SPECS, partition=4) as run:
        assert run.resumed
        assert extract_all(run, corpus(12), SPECS) < sum(plan.stale().values())
        run.publish()
    assert len(open_store(url).rows()) == 12


def test_a_second_writer_is_refused_and_told_who_the_first_is(url: str) -> None:
    who = f"another run is writing to it \\(process {os.getpid()} on {socket.gethostname()}"
    with open_run(url, SPECS, partition=4), pytest.raises(UsageError, match=who):
        extract(url, 2)
    extract(url, 2)


def test_a_fork_reaches_another_process(url: str) -> None:
    with open_run(url, SPECS, partition=4) as run:
        run.sync(corpus(4))
        assert len(pickle.dumps(run.fork())) < 2000


HOLDING = """
import sys, time
from meldflow.storage.places.location import writer_lock
with writer_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_process_that_was_killed_is_free_at_once(url: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDING, url], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=f"process {child.pid} on"):
            extract(url, 1)
        child.kill()
    extract(url, 1)


@pytest.mark.usefixtures("s3")
class TestBucket:
    def test_a_lock_is_renewed_while_it_is_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bucket, "BEAT", 0.05)
        with location.writer_lock(url := places.bucket(Path())) as lock:
            name = url.removeprefix(f"s3://{places.BUCKET}/") + ".lock"
            first = obstore.head(places.objects(), name)["last_modified"]
            time.sleep(1.2)  # the server's clock has whole seconds
            assert obstore.head(places.objects(), name)["last_modified"] > first
            lock.check()
        assert name not in places.names()

    def test_a_lock_of_another_machine_is_taken_over_once_it_ran_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = places.bucket(Path())
        name = url.removeprefix(f"s3://{places.BUCKET}/") + ".lock"
        elsewhere = replace(Holder.me(), host="elsewhere", machine="another")
        obstore.put(places.objects(), name, elsewhere.to_json())
        with pytest.raises(UsageError, match="on elsewhere"):
            extract(url, 1)
        with contextlib.ExitStack() as stack:
            with monkeypatch.context() as later:
                later.setattr(bucket, "LEASE", 0.0)
                lock = stack.enter_context(location.writer_lock(url))
            lock.check()
        extract(url, 1)

    @pytest.mark.parametrize(("seconds", "is_taken"), [(0, False), (40, False), (80, True)])
    def test_a_lock_outlives_a_few_renewals_that_failed(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float, is_taken: bool
    ) -> None:
        """It is renewed every ten seconds; a bad minute of the network is no death."""

        class Later(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Later:
                return super().now(tz) + datetime.timedelta(seconds=seconds)

        clock = SimpleNamespace(
            datetime=Later, UTC=datetime.UTC, timedelta=datetime.timedelta, __name__="datetime"
        )
        url = places.bucket(Path())
        elsewhere = replace(Holder.me(), host="elsewhere", machine="another")
        name = url.removeprefix(f"s3://{places.BUCKET}/") + ".lock"
        obstore.put(places.objects(), name, elsewhere.to_json())
        monkeypatch.setattr(bucket, "datetime", clock)
        with contextlib.ExitStack() as stack:
            if not is_taken:
                stack.enter_context(pytest.raises(UsageError, match="on elsewhere"))
            stack.enter_context(location.writer_lock(url))

    @pytest.mark.parametrize("taken", [True, False])
    def test_who_lost_the_lock_publishes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, taken: bool
    ) -> None:
        monkeypatch.setattr(bucket, "BEAT", 0.05)
        url = places.bucket(Path())
        name = url.removeprefix(f"s3://{places.BUCKET}/") + ".lock"
        with open_run(url, SPECS, partition=4) as run:
            extract_all(run, corpus(3), SPECS)
            theirs = replace(Holder.me(), host="elsewhere").to_json()
            if taken:
                obstore.put(places.objects(), name, theirs)
            else:
                obstore.delete(places.objects(), name)
            time.sleep(0.5)
            with pytest.raises(RunError, match="another run took the store over"):
                run.publish()
        assert open_store(url).is_empty
        assert (name in places.names()) == taken  # it is the other one's

    def test_a_renewal_whose_answer_was_lost_is_no_loss(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = places.bucket(Path())
        name = url.removeprefix(f"s3://{places.BUCKET}/") + ".lock"
        with location.writer_lock(url) as lock:
            content = bytes(obstore.get(places.objects(), name).bytes())
            obstore.put(places.objects(), name, content)  # it came through
            lock._tag = "old"  # type: ignore[attr-defined]
            lock._beat()  # type: ignore[attr-defined]
            lock.check()
            lock._beat()  # type: ignore[attr-defined]
            lock.check()
            monkeypatch.setattr(bucket, "LEASE", 0.0)
            with pytest.raises(RunError, match="could not be renewed for 0 s"):
                lock.check()

    def test_a_store_whose_maker_died_is_completed(self) -> None:
        import icechunk

        url = places.bucket(Path())
        icechunk.Repository.create(place_of(url).storage())
        assert not location.exists(url)
        with pytest.raises(UsageError, match="no store is here"):
            open_store(url)
        extract(url, 2)
        assert len(open_store(url).rows()) == 2

    def test_other_objects_are_left_alone(self) -> None:
        url = places.bucket(Path())
        key = url.removeprefix(f"s3://{places.BUCKET}/") + "/thesis.tex"
        obstore.put(places.objects(), key, b"")
        with pytest.raises(UsageError, match="other objects lie below it"):
            extract(url, 1)

    @pytest.mark.parametrize("url", ["s3://", "s3://corpora", "s3://corpora/"])
    def test_a_bucket_alone_is_no_place(self, url: str) -> None:
        with pytest.raises(UsageError, match="name a place in a bucket"):
            location.exists(url)

    def test_a_bucket_that_is_not_there(self) -> None:
        with pytest.raises(UsageError, match=r"s3://nowhere/store: .*there is no such bucket"):
            extract("s3://nowhere/store", 1)

    def test_a_server_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(UsageError, match="nobody answers: check AWS_ENDPOINT_URL"):
            extract(places.bucket(Path()), 1)


def test_two_names_of_a_store_have_one_lock(tmp_path: Path) -> None:
    extract(str(tmp_path / "store"), 1)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with (
        location.writer_lock(str(tmp_path / "store")),
        pytest.raises(UsageError, match="another run"),
        location.writer_lock(str(tmp_path / "link")),
    ):
        pass


def test_addresses_of_no_kind_are_refused() -> None:
    with pytest.raises(UsageError, match="gs://a/b: no store can lie there"):
        location.exists("gs://a/b")


def test_a_holder_is_read_as_it_was_written() -> None:
    me = Holder.me()
    assert Holder.read(me.to_json()) == me
    assert Holder.read(b"") is None
    assert Holder.read(json.dumps({"pid": 1}).encode()) is None
    assert not me.is_dead
    assert not replace(me, machine="another", pid=2**22 - 1).is_dead
    assert not replace(me, machine="", pid=2**22 - 1).is_dead
    assert replace(me, pid=2**22 - 1).is_dead


def test_the_file_system_is_known(tmp_path: Path) -> None:
    assert _file_system(tmp_path)
    assert _file_system(Path("/proc/self")) == "proc"
