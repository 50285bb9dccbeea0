"""A flow killed half way goes on from its last commit, and ends with the same features."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np

from meldflow.storage import open_store
from meldflow.storage.places.location import exists, open_repository
from tests.flows import command
from tests.flows.servers import Workers

ONLY = ("--only", "audio/librosa", "--partition", "2", "--batch", "2")


def committed_partitions(store: Path) -> int:
    """Partitions on the run's branch that are not on main."""
    if not exists(str(store)):
        return 0
    repository = open_repository(str(store))
    branches = [b for b in repository.list_branches() if b.startswith("run-")]
    messages = [s.message for b in branches for s in repository.ancestry(branch=b)]
    return sum(int(m.split()[0]) for m in messages if m.endswith("partitions"))


def test_kill_and_go_on(api: str, demo: Path, workers: Workers, tmp_path: Path) -> None:
    interrupted, undisturbed = tmp_path / "interrupted", tmp_path / "undisturbed"
    (tmp_path / "own.yaml").write_text("kind: local\nworkers: 1\n")
    again = ("extract", demo, "--store", interrupted, *ONLY, "--cluster")
    first = command.start(*again, "own.yaml", cwd=tmp_path, api=api)
    deadline = time.monotonic() + 240
    while committed_partitions(interrupted) == 0:
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert open_store(str(interrupted)).is_empty  # main shows nothing of it
    kept = committed_partitions(interrupted)

    second = command.run(*again, workers.profile, cwd=tmp_path, api=api)
    assert "resumed" in second.stdout
    whole = ("extract", demo, "--store", undisturbed, *ONLY, "--cluster", workers.profile)
    command.run(*whole, cwd=tmp_path, api=api)
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
