"""Data sets as people have them become one catalogue, whatever their layout."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import SPLITS
from meldflow.storage.format.catalogue import NO_FILE
from meldflow.tasks.dataset import Intake, check_source, take_in
from meldflow.tasks.dataset.annotations import FIELDS, OPTIONAL, read_source
from meldflow.tasks.dataset.cells import is_ambiguous, parse_seconds, repair_text
from meldflow.tasks.dataset.records import Kind, Known, Table
from tests.paths import DATA, ROOT
from tests.tasks.dataset.standins import LAYOUTS, STUB, build, clip_of, invented

COLUMNS = tuple(FIELDS.values())
DYADIC = (*COLUMNS, OPTIONAL["old_dialogue"], OPTIONAL["old_utterance"])
OWN = ("split", "dialogue_id", "utterance_id", "text", "speaker", "emotion", "clip")
MELD = DATA / "meld"
real = pytest.mark.skipif(not MELD.is_dir(), reason=f"no real annotations in {MELD}")


def write_csv(
    file: Path, rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return file


def row(
    number: int, text: str = "Hi.", emotion: str = "neutral", end: str = "0:00:02,500"
) -> tuple[object, ...]:
    return (text, "Nurse #1", emotion, 0, number, "00:00:01,000", end)


def found(intake: Intake) -> Counter[tuple[str, str]]:
    return Counter((one.kind.value, one.subject) for one in intake.findings)


def names(intake: Intake) -> Mapping[str, str]:
    """Utterance id → name of its clip; empty where that is not there."""
    return {
        one.id: Path(one.clip.path).name if one.clip.sha256 != NO_FILE else ""
        for one in intake.utterances
    }


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("00:16:16,059", 976.059),
        ("0:10:44,769", 644.769),
        ("1:00:00.5", 3600.5),
        ("00:00:01,59", 1.59),
        ("0:00:07", 7.0),
        ("soon", math.nan),
        ("", math.nan),
        ("٠٠:٠٠:٠١,٠٠٠", math.nan),
    ],
)
def test_times(stamp: str, seconds: float) -> None:
    assert parse_seconds(stamp) == pytest.approx(seconds, nan_ok=True)


@pytest.mark.parametrize(("stamp", "is_so"), [("0:0:1,59", True), ("0:0:1,590", False)])
def test_times_that_can_be_read_in_two_ways(stamp: str, is_so: bool) -> None:
    assert is_ambiguous(stamp) == is_so


def test_old_encodings_are_repaired() -> None:
    assert repair_text("It\x92s\xa0so\x85 \x93odd\x94") == "It’s so… “odd”"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_catalogue(tmp_path: Path, layout: str) -> None:
    build(tmp_path / "data", invented(4), layout=LAYOUTS[layout], times=0)
    intake = take_in(tmp_path / "data")
    assert found(intake) == Counter()
    assert names(intake) == {
        f"{split}/dia{d}_utt{u}": f"dia{d}_utt{u}.mp4"
        for split in SPLITS
        for d in range(4)
        for u in range(4)
    }
    assert len({one.clip.sha256 for one in intake.utterances}) > 1
    assert all(abs(one.clip.seconds - one.seconds) < 0.05 for one in intake.utterances)


@pytest.mark.parametrize("folder", ["val", "Valid/clips", "somewhere/else"])
def test_clip_folders_of_other_names_are_found(tmp_path: Path, folder: str) -> None:
    write_csv(tmp_path / "dev_sent_emo.csv", [row(0), row(1)])
    write_csv(tmp_path / "train_sent_emo.csv", [row(7), row(8)])
    for number in (0, 1):
        clip = tmp_path / folder / f"dia0_utt{number}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(clip_of(1.5))
    clips = names(take_in(tmp_path))
    assert clips["dev/dia0_utt0"] == "dia0_utt0.mp4"
    assert clips["train/dia0_utt7"] == ""


def test_stubs_are_no_clips_and_a_missing_one_has_its_place(tmp_path: Path) -> None:
    write_csv(tmp_path / "train_sent_emo.csv", [row(0), row(1), row(2)])
    folder = tmp_path / "train_splits"
    folder.mkdir()
    (folder / "dia0_utt0.mp4").write_bytes(clip_of(1.5))
    (folder / "dia0_utt2.MP4").write_bytes(clip_of(1.5))
    (folder / "._dia0_utt1.mp4").write_bytes(STUB)
    intake = take_in(tmp_path)
    there, absent, upper = intake.utterances
    assert there.clip.sha256 != NO_FILE
    assert (absent.clip.path, absent.clip.sha256) == (str(folder / "dia0_utt1.mp4"), NO_FILE)
    assert upper.clip.path.endswith("dia0_utt2.MP4")
    assert (there.id, there.seconds, there.speaker) == ("train/dia0_utt0", 1.5, "Nurse #1")
    assert found(intake) == {("missing_clip", "train/dia0_utt1"): 1, ("stub", str(folder)): 1}


def test_without_any_folder_a_clip_has_its_place_below_the_root(tmp_path: Path) -> None:
    write_csv(tmp_path / "test_sent_emo.csv", [row(0)])
    (utterance,) = take_in(tmp_path).utterances
    assert utterance.clip.path == str(tmp_path / "output_repeated_splits_test" / "dia0_utt0.mp4")


@pytest.mark.parametrize(
    ("plain", "recut", "chosen"),
    [
        (1.5, 6.0, "dia0_utt0.mp4"),
        (6.0, 1.5, "final_videos_testdia0_utt0.mp4"),
        (1.5, 1.5, "dia0_utt0.mp4"),
        (None, 1.5, "final_videos_testdia0_utt0.mp4"),
    ],
)
def test_of_twins_the_one_that_fits_its_row_is_used(
    tmp_path: Path, plain: float | None, recut: float, chosen: str
) -> None:
    write_csv(tmp_path / "test_sent_emo.csv", [row(0)])
    folder = tmp_path / "output_repeated_splits_test"
    folder.mkdir()
    first = b"damaged" if plain is None else clip_of(plain)
    (folder / "dia0_utt0.mp4").write_bytes(first)
    (folder / "final_videos_testdia0_utt0.mp4").write_bytes(clip_of(recut))
    intake = take_in(tmp_path)
    assert names(intake) == {"test/dia0_utt0": chosen}
    (twin,) = intake.findings
    assert twin.kind is Kind.TWIN
    assert f"{recut:.3f} s" in twin.detail
    assert ("unreadable" if plain is None else f"{plain:.3f} s") in twin.detail
    assert twin.decision == f"{chosen} is used"


def test_only_changed_clips_are_read_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "dev_sent_emo.csv", [row(0), row(1)])
    folder = tmp_path / "dev_splits_complete"
    folder.mkdir()
    files = [folder / "dia0_utt0.mp4", folder / "dia0_utt1.mp4"]
    for file in files:
        file.write_bytes(clip_of(1.5))
    known = {one.clip.path: Known(one.name, one.clip) for one in take_in(tmp_path).utterances}
    stamp, content = files[0].stat(), files[0].read_bytes()
    files[0].write_bytes(bytes(len(content)))
    os.utime(files[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    files[1].write_bytes(clip_of(2.5))
    first, second = take_in(tmp_path, known=known).utterances
    assert first.clip == known[str(files[0])].clip
    assert second.clip.sha256 != known[str(files[1])].clip.sha256
    assert second.clip.seconds == pytest.approx(2.5, abs=0.05)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row(0), row(0)], "row 2: Utterance_ID '0' is there twice"),
        ([row(0), row(1, emotion="Powerful")], "row 2: Emotion 'Powerful' is none of"),
        ([("Hi.", "Ann", "joy", "x", 0, "", "")], "row 1: Dialogue_ID 'x' is not a whole number"),
        ([("Hi.", "Ann", "joy", -1, 0, "", "")], "row 1: Dialogue_ID '-1' is not a whole number"),
        ([("Hi.", "Ann", "joy", 2**31, 0, "", "")], "is not a whole number"),
        ([("Hi.", "Ann", "joy")], "row 1: 3 cells under 7 columns"),
        ([], "hold no utterances"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, rows: list[tuple[object, ...]], says: str) -> None:
    write_csv(tmp_path / "test_sent_emo.csv", rows)
    for read in (take_in, check_source):
        with pytest.raises(UsageError, match=says):
            read(tmp_path)


@pytest.mark.parametrize("content", [b"", b'"a,b\n', b"\xff\xfe\x00", b"a\x00b"])
def test_files_that_are_no_csv(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train_sent_emo.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"train_sent_emo\.csv"):
        take_in(tmp_path)


def test_emorynlp_is_refused_by_the_columns_that_it_lacks(tmp_path: Path) -> None:
    columns = ("Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID", "Season", "Episode")
    write_csv(
        tmp_path / "emorynlp_train_final.csv", [("Hi.", "['Ann']", "Mad", 1, 1, 1, 1)], columns
    )
    with pytest.raises(UsageError, match="has no column Dialogue_ID, StartTime, EndTime"):
        take_in(tmp_path)
    (tmp_path / "emorynlp_train_final.csv").rename(tmp_path / "train_sent_emo.csv")
    with pytest.raises(UsageError, match="no column Dialogue_ID, StartTime, EndTime; found Utt"):
        take_in(tmp_path)


def test_dyadic_rows_have_the_clips_of_their_old_ids(tmp_path: Path) -> None:
    rows = [
        (*row(0), 3, 5),
        (*row(1), 3, 6),
        ("Hi.", "Ann", "joy", 1, 0, "0:0:1,0", "0:0:2,0", 3, 6),
    ]
    write_csv(tmp_path / "dev_sent_emo_dya.csv", rows, DYADIC)
    folder = tmp_path / "dev_splits_complete"
    folder.mkdir()
    for number in (5, 6, 7):
        (folder / f"dia3_utt{number}.mp4").write_bytes(clip_of(1.5))
    intake = take_in(tmp_path)
    assert names(intake) == {
        "dev/dia0_utt0": "dia3_utt5.mp4",
        "dev/dia0_utt1": "dia3_utt6.mp4",
        "dev/dia1_utt0": "dia3_utt6.mp4",
    }
    kinds = Counter(one.kind for one in intake.findings)
    assert kinds[Kind.OTHER_COPY] == 1  # told for what it is
    assert not kinds[Kind.CLIP_WITHOUT_ROW]  # the other clips are MELD's


def test_beside_meld_its_dyadic_files_are_left_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "MELD_Dyadic" / "dev_sent_emo_dya.csv", [(*row(0), 3, 5)], DYADIC)
    write_csv(tmp_path / "MELD" / "dev_sent_emo.csv", [row(0), row(1)])
    assert [one.id for one in take_in(tmp_path).utterances] == ["dev/dia0_utt0", "dev/dia0_utt1"]


def test_a_dyadic_file_without_old_ids_is_none(tmp_path: Path) -> None:
    write_csv(tmp_path / "dev_sent_emo_dya.csv", [row(0)])
    with pytest.raises(UsageError, match="no column Old_Dialogue_ID, Old_Utterance_ID"):
        take_in(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_data_of_ones_own(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a b.mp4").write_bytes(clip_of(1.0))
    rows = [
        ("train", 0, 0, "It’s fine.", "Ann", "JOY", "clips/a b.mp4"),
        ("pilot", 4, 1, "", "", "", str(tmp_path / "clips" / "a b.mp4")),
        ("train", 0, 1, "Gone.", "Ann", "anger", "clips/none.mp4"),
        ("test", 0, 0, "No clip.", "Bob", "fear", ""),
    ]
    file = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        write_csv(file, rows, OWN)
    else:
        pd.DataFrame(rows, columns=OWN).to_parquet(file)
    intake = take_in(file)
    assert list(intake.splits) == ["train", "test", "pilot"]
    assert names(intake) == {
        "train/dia0_utt0": "a b.mp4",
        "train/dia0_utt1": "",
        "test/dia0_utt0": "",
        "pilot/dia4_utt1": "a b.mp4",
    }
    assert found(intake) == {
        ("label_spelling", "train/dia0_utt0"): 1,
        ("missing_clip", "train/dia0_utt1"): 1,
        ("missing_clip", "test/dia0_utt0"): 1,
    }
    assert [one.emotion for one in intake.utterances] == ["joy", "anger", "fear", ""]


def test_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeffsplit;dialogue_id;utterance_id;clip;text\ntrain;0;0;;Well, yes.\n"
    (tmp_path / "mine.csv").write_text(text, encoding="utf-8")
    (utterance,) = take_in(tmp_path / "mine.csv").utterances
    assert (utterance.id, utterance.text) == ("train/dia0_utt0", "Well, yes.")


def test_a_table_without_texts_is_repaired_where_it_has_speakers(tmp_path: Path) -> None:
    columns = ("split", "dialogue_id", "utterance_id", "speaker", "clip")
    write_csv(tmp_path / "mine.csv", [("train", 0, 0, "Nurse\xa01", "")], columns)
    intake = take_in(tmp_path / "mine.csv")
    assert next(iter(intake.utterances)).speaker == "Nurse 1"
    assert ("repaired_encoding", "train/dia0_utt0") in found(intake)


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "dataset.md").read_text(encoding="utf-8")
    (tmp_path / "mine.csv").write_text(text.split("```csv\n")[1].split("```")[0], encoding="utf-8")
    first, second, third = take_in(tmp_path / "mine.csv").utterances
    assert first.clip.path == str(tmp_path / "clips" / "scene 1" / "a.mp4")
    assert (second.speaker, second.emotion) == ("Bob", "surprise")
    assert (third.id, third.clip.path) == ("test/dia0_utt0", "/archive/take 7.mov")


@pytest.mark.parametrize(
    ("name", "columns", "rows", "says"),
    [
        ("mine.csv", OWN[:-1], [], "no column clip; found split"),
        ("mine.csv", COLUMNS, [row(0)], "looks like MELD's: name its folder"),
        ("mine.csv", OWN, [], "holds no rows"),
        ("mine.csv", OWN, [("", 0, 0, "", "", "", "a.mp4")], "split '' is no name of a split"),
        ("mine.csv", OWN, [("a/b", 0, 0, "", "", "", "a.mp4")], "split 'a/b' is no name"),
        ("mine.csv", OWN, [("train", 0, 0, "", "", "bored", "")], "emotion 'bored' is none of"),
        ("mine.txt", OWN, [], "is no folder and no .csv or .parquet file"),
        ("mine.parquet", OWN, [], "cannot be read as Parquet"),
    ],
)
def test_own_tables_that_are_none(
    tmp_path: Path,
    name: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    says: str,
) -> None:
    file = write_csv(tmp_path / name, rows, columns)
    for read in (take_in, check_source):
        with pytest.raises(UsageError, match=says):
            read(file)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    for read in (take_in, check_source):
        with pytest.raises(UsageError, match="none: does not exist"):
            read(tmp_path / "none")


def test_links_that_go_round_in_circles(tmp_path: Path) -> None:
    write_csv(tmp_path / "data" / "dev_sent_emo.csv", [row(0)])
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "dia0_utt0.mp4").write_bytes(clip_of(1.5))
    (tmp_path / "data" / "dev").symlink_to(tmp_path / "clips")
    intake = take_in(tmp_path / "data")
    assert names(intake) == {"dev/dia0_utt0": "dia0_utt0.mp4"}
    assert found(intake) == Counter()


@real
def test_the_real_annotations() -> None:
    intake = take_in(MELD, clips=False)
    assert {split: one.rows for split, one in intake.splits.items()} == {
        "train": 9989,
        "dev": 1109,
        "test": 2610,
    }
    assert {split: one.emotions["anger"] for split, one in intake.splits.items()} == {
        "train": 1109,
        "dev": 153,
        "test": 345,
    }
    assert len({one.id for one in intake.utterances}) == 13_708
    assert not [one for one in intake.findings if one.kind is Kind.COUNT_DIFFERS]


@real
def test_old_and_new_copies_give_the_same_utterances() -> None:
    new, old = take_in(MELD, clips=False), take_in(MELD / "old-encoding", clips=False)
    assert [*map(repr, new.utterances)] == [*map(repr, old.utterances)]
    repaired = Counter(one.kind for one in old.findings)[Kind.REPAIRED_ENCODING]
    rows = [
        row
        for split in SPLITS
        for row in read_source(
            Table(split=split, file=MELD / "old-encoding" / f"{split}_sent_emo.csv")
        ).rows
    ]
    garbled = [row for row in rows if any("\x80" <= c <= "\xa0" for c in row.cells["text"])]
    assert repaired >= len(garbled) > 1000
