"""The audit finds what was planted, and nothing else, whatever the layout."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import EMOTIONS, SPLITS
from meldflow.tasks.audit.page import render_page, write_page
from meldflow.tasks.audit.stock import AuditReport, check_page, markdown, table, take_stock
from meldflow.tasks.dataset.records import Finding, Kind
from meldflow.tasks.options import AuditOptions
from tests.tasks.dataset.standins import LAYOUTS, Planted, build, invented, read_rows
from tests.tasks.dataset.test_intake import MELD, real
from tests.tasks.report.test_report import Page

N_PLANTED_KINDS = 17
"""Every kind but ``count_differs``, which needs whole splits, and ``reported``."""


def audited(root: Path, *, annotations_only: bool = False, fixes: bool = True) -> AuditReport:
    return take_stock(AuditOptions(dataset=root, annotations_only=annotations_only, fixes=fixes))


def as_planted(findings: tuple[Finding, ...]) -> Counter[Planted]:
    return Counter(Planted(one.kind, one.split, one.subject) for one in findings)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditReport, list[Planted]]:
    root = tmp_path_factory.mktemp("audit") / "ME<LD> & co"
    expected = build(root, invented(30))
    return audited(root), expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exactly_what_was_planted_is_found(tmp_path: Path, layout: str) -> None:
    expected = build(tmp_path, invented(30), layout=LAYOUTS[layout], seed=len(layout))
    report = audited(tmp_path)
    assert as_planted(report.intake.findings) == Counter(expected)
    assert len({one.kind for one in expected}) == N_PLANTED_KINDS
    assert not any(one.known for one in report.intake.findings)


@real
def test_in_real_annotations_exactly_what_was_planted_comes_on_top(tmp_path: Path) -> None:
    rows = read_rows(MELD, dialogues=60)
    build(tmp_path / "whole", rows, times=0)
    expected = build(tmp_path / "planted", rows)
    whole = audited(tmp_path / "whole").intake.findings
    before = as_planted(whole)
    after = as_planted(audited(tmp_path / "planted").intake.findings)
    assert after - before == Counter(expected)
    assert before - after == Counter()
    # What is amiss in the real rows themselves is known, but for texts that two splits share.
    news = {one.kind for one in whole if not one.known}
    assert news <= {Kind.DUPLICATE_TEXT}


@real
@pytest.mark.slow
def test_all_of_meld(tmp_path: Path) -> None:
    rows = read_rows(MELD)
    expected = Counter(build(tmp_path, rows, times=3))
    whole = as_planted(audited(MELD, annotations_only=True).intake.findings)
    before = Counter({one: n for one, n in whole.items() if one.kind is not Kind.OTHER_COPY})
    report = audited(tmp_path)
    after = as_planted(report.intake.findings)
    # The one row whose time the list corrects has, like the published clip, a clip that is not.
    corrected = Planted(Kind.DURATION_DIFFERS, "test", "test/dia38_utt4")
    assert after - before == expected + Counter([corrected])
    assert before - after == Counter()
    assert report.clips["read"] > 13_600
    assert report.peak_memory_bytes < 2**30


def test_a_second_audit_says_the_same(planted: tuple[AuditReport, list[Planted]]) -> None:
    report, _ = planted
    again = audited(report.options.dataset)
    assert again.intake.findings == report.intake.findings
    assert again.intake.splits == report.intake.splits


def test_annotations_alone(planted: tuple[AuditReport, list[Planted]]) -> None:
    report, expected = planted
    alone = audited(report.options.dataset, annotations_only=True)
    of_clips = {
        Kind.MISSING_CLIP,
        Kind.UNREADABLE_CLIP,
        Kind.CLIP_WITHOUT_ROW,
        Kind.STUB,
        Kind.TWIN,
        Kind.DURATION_DIFFERS,
    }
    copies = {one for one in expected if one.kind is Kind.OTHER_COPY and "splits" in one.subject}
    wanted = [one for one in expected if one.kind not in of_clips and one not in copies]
    assert as_planted(alone.intake.findings) == Counter(wanted)
    assert alone.clips["read"] == 0
    assert "clips left alone" in alone.headline()


@real
def test_the_json_of_the_real_annotations() -> None:
    shown = json.loads(json.dumps(audited(MELD, annotations_only=True).to_json()))
    assert list(shown["splits"]) == list(SPLITS)
    train = shown["splits"]["train"]
    assert (train["rows"], train["dialogues"]) == (9989, 1038)
    assert list(train["emotions"]) == list(EMOTIONS)
    assert train["emotions"]["neutral"] == 4710
    assert train["findings"]["id_gap"] == 73
    assert shown["splits"]["test"]["findings"]["ambiguous_time"] == 2
    assert sum(shown["splits"]["dev"]["emotions"].values()) == 1109
    assert shown["fixes"]["version"] >= 1
    assert len(shown["fixes"]["applied"]) > 100


def test_the_json_names_every_finding(planted: tuple[AuditReport, list[Planted]]) -> None:
    report, expected = planted
    shown = json.loads(json.dumps(report.to_json()))
    listed = Counter(
        Planted(Kind(one["kind"]), one["split"], one["subject"]) for one in shown["findings"]
    )
    assert listed == Counter(expected)
    assert all(one["detail"] and one["decision"] for one in shown["findings"])
    assert shown["seconds"] >= 0
    assert shown["peak_memory_bytes"] > 2**20
    by_split = {s: Counter(one["findings"]) for s, one in shown["splits"].items()}
    for split in SPLITS:
        assert by_split[split] == Counter(one.kind for one in expected if one.split == split)


def test_the_page_is_whole_and_hides_nothing(planted: tuple[AuditReport, list[Planted]]) -> None:
    report, expected = planted
    page = Page(render_page(report))
    assert not page.open
    assert str(report.options.dataset) in page.text
    assert report.headline() in page.text
    for one in expected:
        assert one.subject in page.text
    assert {"findings", "counts", "durations", "details", "provenance"} <= {
        attributes.get("id") for _, attributes in page.tags
    }
    assert not [a for _, a in page.tags if (a.get("src") or "").startswith("http")]
    assert all(a.get("alt") for tag, a in page.tags if tag == "img")


def test_without_findings_the_page_says_so(tmp_path: Path) -> None:
    build(tmp_path, invented(3), times=0)
    report = audited(tmp_path)
    page = Page(render_page(report))
    assert "0 findings" in report.headline()
    assert "Nothing." in page.text


def test_what_the_prefect_ui_shows(planted: tuple[AuditReport, list[Planted]]) -> None:
    report, expected = planted
    lines = markdown(report).splitlines()
    assert lines[0] == f"**{report.headline()}**"
    assert len(lines) == 2 + 2 + len(report.by_kind)
    assert len({line.count("|") for line in lines[2:]}) == 1
    rows = table(report, 5)
    assert len(rows) == 6
    assert rows[-1]["kind"] == f"and {len(expected) - 5:,} more"
    assert len(table(report, 1000)) == len(expected)


def test_pages_that_cannot_be_written_are_noticed_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file"):
        check_page(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        check_page(tmp_path / "file" / "audit.html")
    check_page(tmp_path / "new" / "audit.html")
    assert not list((tmp_path / "new").iterdir())


def test_the_page_is_written(planted: tuple[AuditReport, list[Planted]], tmp_path: Path) -> None:
    written = write_page(planted[0], tmp_path / "audit.html")
    assert written.read_text().startswith("<!doctype html>")
