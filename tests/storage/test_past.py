"""Stores outlive releases: what an earlier one wrote is read, understood and gone on with."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing, Reason
from meldflow.storage import history, open_store
from meldflow.storage.format import layout
from meldflow.storage.format.columns import Column, array_of, group_of
from meldflow.storage.places import location
from meldflow.storage.places.location import open_repository
from meldflow.storage.reading.plan import preview
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import expected, extract_all, utterance
from tests.storage.past import FEWER, SPECS, STORES, TAG, Past, unpack, utterances

RELEASES = sorted(one.name.removesuffix(".tar.xz") for one in STORES.glob("*.tar.xz"))
OLD_ICECHUNK = version("icechunk").startswith("1.")
NEWER_FORMAT = "0.1.0-icechunk-2"
"""Written by Python 3.12 with Icechunk 2, when nobody asked it for the older format."""
READABLE = [one for one in RELEASES if not (OLD_ICECHUNK and one == NEWER_FORMAT)]


@pytest.fixture(params=READABLE)
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Past:
    return unpack(request.param, tmp_path)


def check(past: Past) -> None:
    """Everything that its release stored is there."""
    snapshot = open_store(past.url)
    assert snapshot.ids[: len(past.about["ids"])] == past.about["ids"]
    for path, wanted in past.values.items():
        name, _, of = path.partition("|")
        extractor, _, array = name.rpartition("/")
        (found,) = snapshot.read_rows(extractor, array, np.array([snapshot.row(of)]))
        np.testing.assert_array_equal(found, wanted)
        assert snapshot.state(extractor)["status"][snapshot.row(of)] == layout.OK
    failures = {f"{one.extractor}|{one.id}": one.reason for one in snapshot.failures()}
    assert failures == past.about["failures"]


def test_what_a_release_stored_is_read(past: Past) -> None:
    check(past)
    snapshot = open_store(past.url)
    assert len(snapshot.runs) == 2
    assert len(open_store(past.url, TAG).rows()) == FEWER
    assert [bool(one.tags) for one in history.log(past.url)][-1:] == [False]
    tracks = snapshot.dataset("audio/tracks")
    assert tracks["tracks"].dims == ("frame", "descriptor")
    at = tracks.sel(utterance="dev/dia0_utt1", descriptor="rms")
    start = int(at["frame_offset"])
    found = at["tracks"][start : start + int(at["frame_row_size"])]
    np.testing.assert_array_equal(found, past.values["audio/tracks/tracks|dev/dia0_utt1"][:, 0])
    assert sorted(snapshot.tree().leaves, key=str)


def test_nothing_of_it_is_stale_and_a_run_goes_on(past: Past) -> None:
    """Also where the extractors say more of their arrays than they did then."""
    told = [
        replace(
            spec,
            arrays=tuple(
                replace(one, long_name="more", units="s", dims=tuple(f"new_{d}" for d in one.dims))
                for one in spec.arrays
            ),
        )
        for spec in SPECS
    ]
    assert {spec.name: spec.key for spec in told} == past.about["keys"]
    grown = [*utterances()[1:], utterance(7)]
    assert preview(past.url, told, utterances()[1:])[1].stale() == {}
    with open_run(past.url, told, partition=4) as run:
        assert extract_all(run, grown, told) == len(told)
        run.publish()
    check(past)
    assert open_store(past.url).dataset("audio/voice")["mean"].attrs["long_name"] == "more"


def test_a_column_that_a_release_did_not_know_holds_its_default(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (*layout.STATE_COLUMNS, Column("tries", "int32", 1))
    monkeypatch.setattr(layout, "STATE_COLUMNS", more)
    label = (*layout.UTTERANCE_COLUMNS, Column("language", "str", "en"))
    monkeypatch.setattr(layout, "UTTERANCE_COLUMNS", label)
    snapshot = open_store(past.url)
    assert snapshot.state("audio/voice")["tries"].tolist() == [1] * 7
    assert snapshot.utterances["language"].tolist() == ["en"] * 7
    assert preview(past.url, SPECS, utterances()[1:])[1].stale() == {}
    with open_run(past.url, SPECS, partition=4) as run:
        extract_all(run, [*utterances()[1:], utterance(7)], SPECS)
        run._states["audio/voice"].put([2], {"tries": [5]})
        run.publish()
    assert open_store(past.url).state("audio/voice")["tries"].tolist() == [1, 1, 5, *[1] * 5]
    check(past)


def test_a_field_that_a_later_release_added_is_passed_over(past: Past) -> None:
    session = open_repository(past.url).writable_session("main")
    group = group_of(zarr.open_group(session.store), "audio/voice")
    attributes: dict[str, Any] = dict(group.attrs)
    attributes["arrays"] = [{**one, "codec": "later"} for one in attributes["arrays"]]
    group.attrs.put(attributes)
    session.commit("a later release")
    check(past)


def test_a_store_of_a_newer_layout_is_refused(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "SCHEMA", 2)
    with pytest.raises(UsageError, match=r"layout is 3, .* reads 2; a newer one wrote it: update"):
        open_store(past.url)


@pytest.mark.skipif(not OLD_ICECHUNK, reason="this Icechunk reads the newer format")
def test_a_format_that_this_icechunk_cannot_read_is_named(tmp_path: Path) -> None:
    past = unpack(NEWER_FORMAT, tmp_path)
    for act in (open_store, location.exists, location.check_writable):
        with pytest.raises(UsageError, match=r"Icechunk 2 wrote it.* under Python 3\.12") as caught:
            act(past.url)
        assert "\n" not in str(caught.value)


def test_new_stores_are_in_the_format_that_every_icechunk_reads(tmp_path: Path) -> None:
    location.create(str(tmp_path / "s"), partition=4)
    assert (tmp_path / "s" / "refs").is_dir()
    assert not (tmp_path / "s" / "repo").exists()


def test_reasons_are_only_ever_added() -> None:
    """Stores hold them: one that goes or is renamed makes what they say unreadable."""
    known = (
        *("missing_file", "unreadable", "no_audio", "no_video", "no_text", "too_short"),
        *("too_long", "decode_error", "silent", "encrypted", "overflow", "not_finite"),
        *("timeout", "crashed", "changed"),
    )
    assert tuple(Reason)[: len(known)] == known


def test_features_are_masked_where_they_failed(past: Past) -> None:
    snapshot = open_store(past.url)
    values, there = snapshot.features("audio/voice", "mean")
    failed = [isinstance(expected(SPECS[0], one), Missing) for one in utterances()[1:]]
    assert there.tolist() == [not one for one in failed]
    assert sum(failed) == 1
    assert np.isnan(values[failed]).all()
    assert array_of(snapshot.group("audio/voice"), "status")[4] == layout.FAILED
