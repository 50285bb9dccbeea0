"""The list of known defects: curated, fitting the real data, and harmless to any other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.dataset import take_in
from meldflow.tasks.dataset.annotations import find_sources, read_source
from meldflow.tasks.dataset.fixes import NONE, digest, load_fixes
from meldflow.tasks.dataset.records import Kind, Table
from meldflow.tasks.dataset.tree import walk
from tests.tasks.dataset.standins import build, invented
from tests.tasks.dataset.test_intake import MELD, real, row, write_csv

CLIPS = {Kind.UNREADABLE_CLIP, Kind.MISSING_CLIP, Kind.CLIP_WITHOUT_ROW, Kind.DURATION_DIFFERS}
"""What only those see who have the clips."""

ENTRY = """\
version: 3
fixes:
  - id: time-1
    utterance: dev/dia0_utt0
    kind: absurd_duration
    text: "{text}"
    why: "Too long."
    source: https://example.org/1
    set:
      EndTime: {{was: "0:01:02,500", now: "0:00:02,500"}}
"""


def real_tables() -> tuple[Table, ...]:
    return tuple(map(read_source, find_sources(walk(MELD))[0]))


def test_every_entry_is_named_once_and_has_a_source() -> None:
    fixes = load_fixes()
    assert fixes.version >= 1
    assert max(Counter(one.id for one in fixes.entries).values()) == 1
    assert max(Counter((one.kind, one.utterance) for one in fixes.entries).values()) == 1
    assert all(one.source.startswith("https://") for one in fixes.entries)
    assert all(one.why.endswith(".") for one in fixes.entries)


@real
def test_every_entry_fits_the_published_files() -> None:
    fixes = load_fixes()
    assert fixes.about(real_tables()).entries == fixes.entries
    seen = {one.id for one in take_in(MELD, clips=False).fixes}
    assert {one.id for one in fixes.entries if one.kind not in CLIPS} == seen


@real
def test_everything_in_the_published_annotations_is_known() -> None:
    findings = take_in(MELD, clips=False).findings
    news = Counter(one.kind for one in findings if not one.known)
    assert news == {Kind.OTHER_COPY: 3}  # the old copy beside them


@real
def test_a_time_is_corrected_unless_the_list_is_off() -> None:
    def seconds(*, fixes: bool) -> float:
        utterances = take_in(MELD, clips=False, fixes=fixes).utterances
        return next(one.seconds for one in utterances if one.id == "test/dia38_utt4")

    assert seconds(fixes=True) == pytest.approx(4.94)
    assert seconds(fixes=False) == pytest.approx(304.94)
    intake = take_in(MELD, clips=False, fixes=False)
    assert (intake.fixes, intake.fixes_version) == ((), 0)
    assert not any(one.known for one in intake.findings)


def test_other_data_with_the_same_ids_are_left_alone(tmp_path: Path) -> None:
    build(tmp_path, invented(80), times=0)
    tables = tuple(map(read_source, find_sources(walk(tmp_path))[0]))
    assert load_fixes().about(tables).entries == ()


def listed(folder: Path, text: str) -> Path:
    (folder / "fixes.yaml").write_text(ENTRY.format(text=text))
    return folder / "fixes.yaml"


def test_an_entry_is_applied_only_to_the_text_and_the_time_that_it_knows(tmp_path: Path) -> None:
    late = "0:01:02,500"
    file = write_csv(tmp_path / "dev_sent_emo.csv", [row(0, end=late)])
    (table,) = map(read_source, find_sources(walk(file.parent))[0])
    fixes = load_fixes(listed(tmp_path, digest("Hi.")))
    assert fixes.version == 3
    (mended,) = fixes.about([table]).mend(table).rows
    assert (mended.seconds, mended.cells["end"]) == (1.5, late)
    assert load_fixes(listed(tmp_path, digest("Bye."))).about([table]).entries == ()
    assert NONE.mend(table) == table
    write_csv(tmp_path / "dev_sent_emo.csv", [row(0, end="0:00:09,000")])
    (other,) = map(read_source, find_sources(walk(tmp_path))[0])
    assert [*fixes.about([other]).mend(other).rows] == [*other.rows]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("version: 3", "", "version Field required"),
        ("absurd_duration", "odd", r"fixes\.0\.kind Input should be 'missing_clip'"),
        ("EndTime", "Emotion", r"fixes\.0\.set\.Emotion.* should be 'StartTime' or 'EndTime'"),
        ("dev/dia0_utt0", "dev/utt0", r"fixes\.0\.utterance .*'dev/utt0'"),
        ('why: "Too long."', "because: no", r"fixes\.0\.why Field required"),
        ("000000000000", "Hi.", r"fixes\.0\.text .*'Hi\.'"),
        ("fixes:", "fixes: [", "while parsing a flow"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, was: str, now: str, says: str) -> None:
    (tmp_path / "fixes.yaml").write_text(ENTRY.format(text="0" * 12).replace(was, now))
    with pytest.raises(UsageError, match=says) as raised:
        load_fixes(tmp_path / "fixes.yaml")
    assert "\n" not in str(raised.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fix list .*none\.yaml: .*No such file"):
        load_fixes(tmp_path / "none.yaml")
