"""Columns that are read as they are needed: what is held of them, and what changes."""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format import catalogue, layout
from meldflow.storage.format.catalogue import listing, merge_catalogue
from meldflow.storage.format.columns import CHUNK, Column, ColumnTable, Records
from meldflow.storage.reading.plan import preview
from meldflow.storage.writing.transaction import open_run
from tests.bench.stores.growth import SPECS, corpus
from tests.bench.stores.standin import utterance

COLUMNS = (Column("number", "int32", -1), Column("text", "str", ""), Column("pair", "u1", 0, (2,)))
SMALL = 4


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> zarr.Group:
    monkeypatch.setattr("meldflow.storage.format.columns.CHUNK", SMALL)
    return zarr.open_group(MemoryStore(), mode="w")


def written(group: zarr.Group, n: int) -> ColumnTable:
    table = ColumnTable(group, COLUMNS)
    table.grow(n)
    words = [f"a text that is too long for a small string: {row}" for row in range(n)]
    table.put(np.arange(n), {"number": np.arange(n), "text": words, "pair": [[1, 2]] * n})
    table.write(group)
    return table


def test_what_was_put_is_read_before_it_is_written_and_after(group: zarr.Group) -> None:
    table, rng = written(group, 10), np.random.default_rng(7)
    held = [f"a text that is too long for a small string: {row}" for row in range(10)]
    for step in range(60):
        if step % 9 == 8:
            table.grow(len(held) + 3)
            held += [""] * 3
        rows = rng.choice(len(held), 3, replace=False)
        table.put(rows, {"text": [f"{step} of some more words than fit: {row}" for row in rows]})
        for row in rows.tolist():
            held[row] = f"{step} of some more words than fit: {row}"
        if step % 4 == 3:
            table.write(group)
        some = rng.choice(len(held), 5)
        assert table.at("text", some).tolist() == [held[row] for row in some]
        assert table.at("text").tolist() == table["text"].tolist() == held
    table.write(group)
    assert ColumnTable(group, COLUMNS)["text"].tolist() == held
    assert ColumnTable(group, COLUMNS)["pair"][10:].sum() == 0


def test_text_of_any_kind_comes_back_and_as_what_every_library_knows(group: zarr.Group) -> None:
    words = [
        "",
        "a",
        "a ",
        "caf\u00e9",
        "cafe\u0301",
        "\u6f22\u5b57 \U0001f642",
        "\n",
        "long " * 40_000,
    ]
    table = ColumnTable(group, COLUMNS)
    table.grow(2 * len(words))
    table.put(np.arange(len(words)), {"text": words})
    table.write(group)
    for one in (table, ColumnTable(group, COLUMNS)):
        assert one.at("text", np.arange(len(words))[::-1]).tolist() == words[::-1]
        assert one["text"].tolist() == words + [""] * len(words)
        assert one["text"].dtype == object
        assert one["text"].astype(str).tolist() == one["text"].tolist()
        assert pickle.loads(pickle.dumps(one["text"])).tolist() == one["text"].tolist()
        assert np.unique(one["text"]).tolist() == sorted(words)
        unlike = catalogue.differs(one.at("text"), np.roll(one.at("text"), 1))
        assert np.flatnonzero(unlike).tolist() == list(range(1, len(words) + 1))


def test_a_column_keeps_what_was_asked_for_and_no_more_than_a_few_recent(group: zarr.Group) -> None:
    table = written(group, 400)
    for row in range(400):
        table.at("number", np.array([row]))
    assert len(table._recent) <= len(COLUMNS)
    table.put([1], {"number": 5})
    table.forget("number")
    assert table.at("number", np.array([1])).tolist() == [1]
    assert table["number"] is table["number"]
    assert "text" not in table._whole


def test_one_reader_of_many_rows_asks_for_few_recent(
    group: zarr.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = written(group, 40)
    seen: list[tuple[str, int, int]] = []
    span = table._span

    def counted(name: str, first: int, n_rows: int) -> np.ndarray:
        seen.append((name, first, n_rows))
        return span(name, first, n_rows)

    monkeypatch.setattr(table, "_span", counted)
    table._recent.clear()
    assert table.at("number", np.array([9, 10, 12])).tolist() == [9, 10, 12]
    assert seen == [("number", 8, 4), ("number", 12, 4)]


def test_a_listing_gives_back_what_it_was_made_of() -> None:
    told = [utterance(0, seconds=1 / 3), utterance(1, split="clips", name="a/b", dialogue=-1)]
    assert list(listing(iter(told))) == told
    assert len(listing(told)) == 2
    assert len(listing(())) == 0


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5], [5, 3, 1], [7, 0, 8, 2], [3, 4, 2, 0, 1]])
def test_a_merge_says_what_the_rows_say(rows: list[int]) -> None:
    table = ColumnTable(None, layout.UTTERANCE_COLUMNS)
    merge_catalogue(table, [utterance(row) for row in range(5)], "s")
    merge_catalogue(table, [utterance(row) for row in range(4)], "s")  # the last one has left
    now = [utterance(row, "b" if row == 3 else "") for row in rows]
    change = merge_catalogue(table, now, "s")
    old = {row for row in rows if row < 5}
    assert change.appended == len(rows) - len(old)
    assert change.changed == len(old & {3, 4})  # its clip; it came back
    assert change.removed == len({0, 1, 2, 3} - old)
    assert change.unchanged == len(old - {3, 4})
    names = catalogue.ids(table)
    assert names[:5] == [utterance(row).id for row in range(5)]
    assert len(set(names)) == len(names) == 5 + change.appended
    for one in now:
        row = names.index(one.id)
        assert table["clip_sha"][row].tobytes() == one.clip.sha256
        assert table["active"][row] == 1
    with pytest.raises(UsageError, match=r"it holds .*/dia0_utt"):
        merge_catalogue(table, [utterance(99)], "s")


def _lived(rows: Records[Utterance]) -> int:
    """Utterances that are there at once while somebody goes through ``rows``."""
    found = 0
    for number, _ in enumerate(rows):
        if number % 10_000 == 9_999:
            found = max(found, sum(type(one) is Utterance for one in gc.get_objects()))
    return found


def test_a_catalogue_has_no_object_for_each_utterance() -> None:
    listed = corpus(20_000)
    assert sum(type(one) is Utterance for one in gc.get_objects()) < 100
    assert _lived(listed) < 100
    assert {type(one) for one in listed.columns.values()} == {np.ndarray}
    assert not any(one.dtype.hasobject for name, one in listed.columns.items() if _plain(name))


def _plain(name: str) -> bool:
    return all(column.dtype != "str" for column in layout.UTTERANCE_COLUMNS if column.name == name)


def _held(url: str, n: int) -> dict[str, int]:
    """The most bytes at once for a plan, for the start of a run, and while its partitions come."""
    listed = corpus(n)
    found = {}

    def note(name: str) -> None:
        found[name] = tracemalloc.get_traced_memory()[1]
        gc.collect()
        tracemalloc.reset_peak()

    gc.collect()
    tracemalloc.start()
    try:
        preview(url, SPECS, listed)
        note("plan")
        with open_run(url, SPECS, partition=1024) as run:
            run.sync(listed)
            run.plan()
            note("start")
            run.failure_rates()
            note("partitions")
    finally:
        tracemalloc.stop()
    return found


def test_what_a_plan_and_a_run_hold_grows_little_with_the_corpus(tmp_path: Path) -> None:
    few, many = (_held(f"{tmp_path}/{n}", n) for n in (CHUNK, 3 * CHUNK))
    by_utterance = {name: (many[name] - few[name]) / (2 * CHUNK) for name in few}
    # Ids, checksums and a column or two; 900 and more where every cell is an object.
    assert by_utterance["plan"] < 350
    assert by_utterance["start"] < 350
    assert by_utterance["partitions"] < 40
