"""The server's data base that later servers start from."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meldflow.flows.serving import database
from meldflow.flows.serving.server import own_server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Makes a home of Prefect's with a data base in it, as a running server has it open."""
    with contextlib.ExitStack() as stack:

        def make() -> Path:
            folder = tmp_path / "home"
            folder.mkdir()
            opened = stack.enter_context(contextlib.closing(sqlite3.connect(folder / "prefect.db")))
            opened.execute("PRAGMA journal_mode=WAL")
            opened.execute("CREATE TABLE answers (x)")
            opened.execute("INSERT INTO answers VALUES (42)")
            opened.commit()
            return folder

        yield make


def test_what_one_server_leaves_the_next_one_finds(
    home: Callable[[], Path], tmp_path: Path
) -> None:
    database.keep(home())
    (tmp_path / "two").mkdir()
    assert database.take(tmp_path / "two")
    with contextlib.closing(sqlite3.connect(tmp_path / "two" / database.NAME)) as found:
        assert found.execute("SELECT x FROM answers").fetchall() == [(42,)]
    assert [one.name for one in database.ready_made().parent.iterdir()] == [
        database.ready_made().name
    ]


def test_where_nobody_left_one_there_is_none(tmp_path: Path) -> None:
    assert not database.take(tmp_path)
    assert not (tmp_path / database.NAME).exists()


@pytest.mark.parametrize("damage", [b"", b"not a data base", None])
def test_a_damaged_one_is_thrown_away(
    home: Callable[[], Path], tmp_path: Path, damage: bytes | None
) -> None:
    database.keep(home())
    kept = database.ready_made()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    (tmp_path / "two").mkdir()
    assert not database.take(tmp_path / "two")
    assert not kept.exists()
    assert not (tmp_path / "two" / database.NAME).exists()


def test_a_cache_that_cannot_be_written_harms_nobody(
    cache: Path, home: Callable[[], Path], tmp_path: Path
) -> None:
    cache.write_text("a file where the folder would be")
    database.keep(home())
    assert not database.take(tmp_path)


@pytest.mark.slow
def test_a_server_that_starts_from_it_has_all_that_its_first_had() -> None:
    found = []
    for _ in range(2):
        with own_server() as api:
            found.append(block_types(api))
            assert database.ready_made().exists()
    assert found[0] == found[1] != []


def block_types(api: str) -> list[str]:
    """Names of what Prefect's server registers at its first start."""
    request = urllib.request.Request(
        f"{api}/block_types/filter", data=b"{}", headers={"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(request, timeout=30) as answer:
            names = sorted(one["slug"] for one in json.load(answer))
        if names or time.monotonic() > deadline:
            return names
        time.sleep(0.5)
