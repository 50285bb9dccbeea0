"""What a run survives: whatever goes, the store is in the end that of an undisturbed run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meldflow.storage import open_store
from tests import fragile, rig
from tests.flows.servers import flow_run, records
from tests.proxy import Outage
from tests.rig import Rig
from tests.storage.kinds import PLACES

PARTITION = 8
ARGUMENTS = ("--partition", str(PARTITION), "--batch", "4")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig.open_rig(tmp_path_factory.mktemp("rig")) as opened:
        yield opened


class Case:
    """A data set, where its store lies, and what has to be in it."""

    def __init__(self, folder: Path, place: str, texts: list[str]) -> None:
        self.dataset = rig.write_dataset(folder / "data.csv", texts)
        self.truth = rig.undisturbed(self.dataset, folder / "truth", partition=PARTITION)
        self.store = PLACES[place](folder)

    def start(self, installation: Rig, *arguments: str) -> rig.Extract:
        """A run that is on its way: some partitions are committed, more are not."""
        run = installation.run(self.dataset, self.store, *ARGUMENTS, *arguments)
        run.wait_for_commits(1)
        return run

    @property
    def published(self) -> bool:
        """Whether ``main`` shows a run."""
        return not open_store(self.store).is_empty

    def check(self, run: rig.Extract) -> None:
        """The run ends well, and the store holds what it has to."""
        assert run.end() == 0, run.shown()
        assert rig.differences(self.store, self.truth) == 0


@pytest.fixture(params=["folder"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """A dozen seconds of work on two workers, in a folder."""
    return Case(tmp_path, request.param, rig.texts(240, milliseconds=80))


on_s3 = pytest.mark.parametrize("case", ["s3"], indirect=True)


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again(installation: Rig, case: Case) -> None:
    run = case.start(installation)
    for number in range(4):
        assert installation.workers[number % 2].kill_worker()
        rig.wait_until(installation.workers[number % 2].has_worker, 60, "the nanny starts another")
    case.check(run)


@pytest.mark.slow
def test_all_workers_go_and_new_ones_join(installation: Rig, case: Case) -> None:
    run = case.start(installation)
    for worker in installation.workers:
        worker.kill()
    case.check(run)


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_servers_that_are_restarted(installation: Rig, case: Case, how: signal.Signals) -> None:
    run = case.start(installation)
    installation.prefect.kill()
    installation.wait_for_prefect()
    installation.scheduler.kill(how)
    again = datetime.now(UTC).isoformat()
    case.check(run)
    own = flow_run(installation.api, f"extract-{Path(case.store).name}-")
    of_run = {"flow_run_id": {"any_": [own["id"]]}}
    logs = records(installation.api, "logs", logs=of_run, sort="TIMESTAMP_DESC")
    said = [log["message"] for log in logs if log["timestamp"] > again]
    assert any("loading text/letters" in one for one in said)  # the new workers log here as well


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_prefect_server_that_is_away_when_the_run_ends(
    installation: Rig, case: Case, how: Outage
) -> None:
    run = case.start(installation)
    with installation.network["prefect"].down(how):
        rig.wait_until(lambda: case.published, 120, "main is published without it")
        time.sleep(60)
    case.check(run)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_prefect_server_that_never_comes_back(installation: Rig, case: Case, how: Outage) -> None:
    run = case.start(installation)
    with installation.network["prefect"].down(how):
        assert run.end(500) == 0, run.shown()
    assert rig.differences(case.store, case.truth) == 0
    assert "240 utterances in" in run.shown()
    assert "lacks a part of this run" in run.shown()
    assert len(run.shown().splitlines()) < 20


@pytest.mark.slow
def test_a_flow_that_is_killed_and_started_again(installation: Rig, case: Case) -> None:
    case.start(installation).kill()
    assert open_store(case.store).is_empty
    run = installation.run(case.dataset, case.store, *ARGUMENTS)
    case.check(run)
    assert "resumed" in run.shown()


@on_s3
@pytest.mark.slow
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_store_that_is_away_for_a_minute(installation: Rig, case: Case, how: Outage) -> None:
    run = case.start(installation)
    with installation.network["s3"].down(how):
        time.sleep(60)
    case.check(run)


# tests/tasks/extraction/test_partition.py has it on one worker, in seconds.
@pytest.mark.slow
def test_clips_that_crash_their_worker(installation: Rig, tmp_path: Path) -> None:
    marked = {13: "SIGKILL", 14: "SIGABRT"}
    case = Case(tmp_path, "folder", rig.texts(96, milliseconds=10, marked=marked))
    case.check(installation.run(case.dataset, case.store, *ARGUMENTS))


# tests/tasks/extraction/test_partition.py has it on one worker, in seconds.
@pytest.mark.slow
def test_a_clip_that_hangs(installation: Rig, tmp_path: Path) -> None:
    case = Case(tmp_path, "folder", rig.texts(48, milliseconds=10, marked={21: "HANG"}))
    limit = ("--clip-timeout", str(fragile.CLIP_SECONDS))
    case.check(installation.run(case.dataset, case.store, *ARGUMENTS, *limit))


def test_batches_and_a_clip_that_need_more_memory_than_there_is(
    installation: Rig, tmp_path: Path
) -> None:
    marked = dict.fromkeys(range(20, 60), "ROOMY") | {70: "GREEDY"}
    case = Case(tmp_path, "folder", rig.texts(96, milliseconds=10, marked=marked))
    case.check(installation.run(case.dataset, case.store, *ARGUMENTS))


def test_clips_that_are_all_bad_end_the_run_early(installation: Rig, tmp_path: Path) -> None:
    marked = dict.fromkeys(range(400), "BROKEN")
    case = Case(tmp_path, "folder", rig.texts(400, milliseconds=40, marked=marked))
    run = installation.run(case.dataset, case.store, *ARGUMENTS)
    assert run.end() == 1
    assert "failed on" in run.message
    assert "unreadable" in run.message
    assert "--retry-failed" in run.message
    assert open_store(case.store).is_empty
    assert rig.committed(case.store) < 30  # of 50 partitions: it did not have to see them all
