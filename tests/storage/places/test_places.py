"""A store is the same in a folder and in a bucket, and has one writer in either."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import obstore
import pytest

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage import open_store
from meldflow.storage.places import bucket, location, patience
from meldflow.storage.places.folder import _file_system
from meldflow.storage.places.place import Holder, place_of
from meldflow.storage.writing.transaction import open_run
from tests.proxy import Proxy
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


def test_who_would_wait_for_a_busy_store_may_start(url: str) -> None:
    extract(url, 1)
    with location.writer_lock(url):
        location.check_writable(url, wait=1.0)
        with pytest.raises(UsageError, match="another run is writing"):
            location.check_writable(url)


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


def lock_of(url: str) -> str:
    """The name of a store's lock in the bucket."""
    return url.removeprefix(f"s3://{places.BUCKET}/") + ".lock"


def held(url: str) -> Holder | None:
    return Holder.read(bytes(obstore.get(places.objects(), lock_of(url)).bytes()))


ELSEWHERE = replace(Holder.me(), host="elsewhere", machine="another")


class _Refusing(BaseHTTPRequestHandler):
    """A server that says of every write that it is not implemented, and has nothing."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(501, b"<Error><Code>NotImplemented</Code></Error>")

    def do_GET(self) -> None:
        is_list = "list-type" in self.path
        said = b"<ListBucketResult/>" if is_list else b"<Error><Code>NoSuchKey</Code></Error>"
        self._say(200 if is_list else 404, said)

    do_HEAD = do_GET

    def _say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.usefixtures("s3")
class TestBucket:
    def test_a_lock_is_renewed_while_it_is_held_and_given_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bucket, "BEAT", 0.05)
        with location.writer_lock(url := places.bucket(Path())) as lock:
            first = obstore.head(places.objects(), lock_of(url))["last_modified"]
            time.sleep(1.2)  # the server's clock has whole seconds
            assert obstore.head(places.objects(), lock_of(url))["last_modified"] > first
            lock.check()
            assert place_of(url).writer() == held(url)
        assert (left := held(url)) is not None
        assert left.is_gone
        assert place_of(url).writer() is None

    def test_a_lock_that_nobody_renews_is_taken_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = places.bucket(Path())
        obstore.put(places.objects(), lock_of(url), ELSEWHERE.to_json())
        monkeypatch.setattr(bucket, "LEASE", 1.0)
        began = time.monotonic()
        with location.writer_lock(url) as lock:
            assert time.monotonic() - began > 1.0
            lock.check()
        extract(url, 1)

    def test_a_lock_that_is_renewed_is_nobody_elses_whatever_the_clocks_say(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Ahead(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Ahead:
                return super().now(tz) + datetime.timedelta(hours=1)

        clock = SimpleNamespace(datetime=Ahead, UTC=datetime.UTC, timedelta=datetime.timedelta)
        monkeypatch.setattr(bucket, "datetime", clock)
        monkeypatch.setattr(bucket, "BEAT", 0.5)
        with location.writer_lock(url := places.bucket(Path())):
            with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
                extract(url, 1)
            assert (mine := held(url)) is not None
            assert not mine.is_gone

    def test_who_lost_the_lock_leaves_its_successors_alone(self) -> None:
        with location.writer_lock(url := places.bucket(Path())):
            obstore.put(places.objects(), lock_of(url), ELSEWHERE.to_json())
        assert held(url) == ELSEWHERE

    @pytest.mark.parametrize("taken", [True, False])
    def test_who_lost_the_lock_publishes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, taken: bool
    ) -> None:
        monkeypatch.setattr(bucket, "BEAT", 0.05)
        url = places.bucket(Path())
        with open_run(url, SPECS, partition=4) as run:
            extract_all(run, corpus(3), SPECS)
            if taken:
                obstore.put(places.objects(), lock_of(url), ELSEWHERE.to_json())
            else:
                obstore.delete(places.objects(), lock_of(url))
            time.sleep(0.5)
            with pytest.raises(RunError, match="another run took the store over"):
                run.publish()
        assert open_store(url).is_empty
        assert (lock_of(url) in places.names()) == taken  # it is the other one's

    def test_a_lock_that_could_not_be_renewed_in_time_is_still_held_if_nobody_took_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bucket, "LEASE", 0.0)
        monkeypatch.setattr(patience, "PATIENCE", 0.0)
        with location.writer_lock(url := places.bucket(Path())) as lock:
            lock.check()
            with monkeypatch.context() as broken:
                broken.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
                broken.setattr(lock, "_objects", bucket.Bucket(url)._objects())
                with pytest.raises(RunError, match="could not be renewed for 0 s"):
                    lock.check()
            obstore.put(places.objects(), lock_of(url), ELSEWHERE.to_json())
            with pytest.raises(RunError, match="another run took the store over"):
                lock.check()

    def test_answers_that_are_lost_cost_nothing(self, network: Proxy) -> None:
        url = places.bucket(Path())
        extract(url, 1)
        again = places.bucket(Path())
        put = re.compile(rb"PUT \S+\.lock ")
        for number in (1, 3):  # it is created, and then taken
            network.lose = put
            with location.writer_lock(again) as lock:
                assert network.lost == number
                network.lose = put
                lock._beat()  # type: ignore[attr-defined]
                assert network.lost == number + 1
                lock.check()

    def test_a_server_without_conditional_writes_is_refused(self, network: Proxy) -> None:
        url = places.bucket(Path())
        network.edit = lambda sent: re.sub(rb"(?i)\r\nif-(none-)?match: [^\r]*", b"", sent)
        for _ in range(2):
            with pytest.raises(UsageError, match="the server has no conditional writes"):
                extract(url, 1)
            assert not [one for one in places.names() if one.startswith(lock_of(url)[:8])]

    def test_that_a_server_has_conditional_writes_is_found_out_once(self, network: Proxy) -> None:
        url, written = places.bucket(Path()), []

        def edit(sent: bytes) -> bytes:
            written.extend(re.findall(rb"PUT \S+\.lock ", sent))
            return sent

        network.edit = edit
        for requests in (5, 2, 2):
            with location.writer_lock(url):
                pass
            assert len(written) == requests
            written.clear()

    def test_a_tag_goes_back_without_its_quotes(self, network: Proxy) -> None:
        """Ceph's gateway refuses its own tags in theirs, and a lock would be held for ever."""
        url, sent = places.bucket(Path()), []
        with location.writer_lock(url):
            pass

        def edit(content: bytes) -> bytes:
            sent.extend(re.findall(rb"(?i)\r\nif-match: ([^\r]*)", content))
            return content

        network.edit = edit
        with location.writer_lock(url):
            pass
        assert len(sent) == 2  # taken, and given back
        assert not [one for one in sent if b'"' in one]

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

    def test_a_server_that_knows_no_conditional_writes_at_all(self, refusing: str) -> None:
        with pytest.raises(UsageError, match=r"\(the server has no conditional writes"):
            extract(places.bucket(Path()), 1)

    def test_credentials_that_are_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(UsageError, match="no credentials: set AWS_ACCESS_KEY_ID and"):
            location.exists(places.bucket(Path()))

    def test_a_server_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setattr(patience, "PATIENCE", 0.0)
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
    assert not me.is_gone
    assert not replace(me, machine="another", pid=2**22 - 1).is_gone
    assert not replace(me, machine="", pid=2**22 - 1).is_gone
    assert replace(me, pid=2**22 - 1).is_gone
    assert replace(me, machine="another", pid=0).is_gone


def test_the_file_system_is_known(tmp_path: Path) -> None:
    assert _file_system(tmp_path)
    assert _file_system(Path("/proc/self")) == "proc"
