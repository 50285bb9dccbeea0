"""A flow killed half way goes on from its last commit, and ends with the same features."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from meldflow.storage import open_store
from meldflow.storage.places.location import exists, open_repository
from meldflow.tasks.demo.dataset import synthesise
from tests.flows import command

ONLY = ("--only", "audio/librosa", "--only", "text/minilm", "--partition", "2", "--batch", "2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synth"
    synthesise(folder, dialogues=3, seed=3)
    return folder


def committed_partitions(store: Path) -> int:
    """Partitions on the run's branch that are not on main."""
    if not exists(str(store)):
        return 0
    repository = open_repository(str(store))
    branches = [b for b in repository.list_branches() if b.startswith("run-")]
    messages = [s.message for b in branches for s in repository.ancestry(branch=b)]
    return sum(int(m.split()[0]) for m in messages if m.endswith("partitions"))


def test_kill_and_go_on(dataset: Path, tmp_path: Path, api: str) -> None:
    interrupted, undisturbed = tmp_path / "interrupted", tmp_path / "undisturbed"
    first = command.start("extract", dataset, "--store", interrupted, *ONLY, cwd=tmp_path)
    deadline = time.monotonic() + 240
    while committed_partitions(interrupted) == 0:
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert open_store(str(interrupted)).is_empty  # main shows nothing of it
    kept = committed_partitions(interrupted)

    again = ("extract", dataset, "--store", interrupted, *ONLY)
    second = command.run(*again, cwd=tmp_path, api=api)
    assert "resumed" in second.stdout
    command.run("extract", dataset, "--store", undisturbed, *ONLY, cwd=tmp_path, api=api)
    assert 0 < kept < len(open_store(str(undisturbed)).rows()) / 2
    assert_equal_stores(interrupted, undisturbed)


def assert_equal_stores(left: Path, right: Path) -> None:
    one, other = open_store(str(left)), open_store(str(right))
    assert one.extractors == other.extractors
    for extractor in one.extractors:
        for array in one.attributes(extractor)["arrays"]:
            if array["rate"] is None:
                mine, theirs = (s.features(extractor, array["name"])[0] for s in (one, other))
                np.testing.assert_array_equal(mine, theirs)
            else:
                frames = [s.iter_frames(extractor, array["name"]) for s in (one, other)]
                for (row, mine), (same, theirs) in zip(*frames, strict=True):
                    assert row == same
                    np.testing.assert_array_equal(mine, theirs)
