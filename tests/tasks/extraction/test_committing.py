"""What was merged is committed in time, however long the other partitions take."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest
from prefect.futures import PrefectConcurrentFuture

from meldflow.storage import history
from meldflow.storage.writing import transaction
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.extraction.committing import _next
from tests.storage.corpus import SPECS, corpus, do_partition


def test_a_slow_partition_keeps_nothing_uncommitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "COMMIT_SECONDS", 1.0)
    ended: SimpleQueue[Any] = SimpleQueue()
    future: Any = PrefectConcurrentFuture(uuid4(), Future())
    with open_run(str(tmp_path / "s"), SPECS, partition=4) as run:
        run.sync(corpus(8))
        run.merge(do_partition(run, run.plan().partitions[0], corpus(8), SPECS))
        threading.Timer(2.0, ended.put, [future]).start()
        while (found := _next(ended, run)) is None:
            pass
        assert found is future
        [left] = history.unpublished(run.url)
        assert left.summary.endswith("; audio/voice 4, text/words 4 rows done")
