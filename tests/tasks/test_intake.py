from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.schema import SPLITS, UsageError
from storage.catalogue import NO_FILE
from tasks.intake import parse_seconds, read_catalogue, read_table, repair_text

COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
MELD = Path(__file__).parents[3] / "shared" / "data" / "meld"
real = pytest.mark.skipif(not MELD.is_dir(), reason=f"no real annotations in {MELD}")


def write_csv(file: Path, rows: Sequence[Sequence[object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])


def row(number: int, text: str = "Hi.", emotion: str = "neutral") -> tuple[object, ...]:
    return (text, "Nurse #1", emotion, 0, number, "00:00:01,000", "0:00:02,500")


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
    ],
)
def test_times(stamp: str, seconds: float) -> None:
    assert parse_seconds(stamp) == pytest.approx(seconds, nan_ok=True)


def test_old_encodings_are_repaired() -> None:
    assert repair_text("It\x92s\xa0so\x85 \x93odd\x94") == "It’s so… “odd”"


@pytest.mark.parametrize("nested", ["", "MELD.Raw/train"])
def test_clips_are_found_at_any_depth_and_stubs_are_not(tmp_path: Path, nested: str) -> None:
    write_csv(tmp_path / nested / "train_sent_emo.csv", [row(0), row(1), row(2)])
    folder = tmp_path / nested / "train_splits"
    folder.mkdir()
    (folder / "dia0_utt0.mp4").write_bytes(b"one")
    (folder / "dia0_utt2.MP4").write_bytes(b"two")
    (folder / "._dia0_utt1.mp4").write_bytes(b"stub")
    there, absent, upper = read_catalogue(tmp_path)
    assert there.clip.size == 3
    assert there.clip.sha256 != NO_FILE
    assert (absent.clip.path, absent.clip.sha256) == (str(folder / "dia0_utt1.mp4"), NO_FILE)
    assert upper.clip.path.endswith("dia0_utt2.MP4")
    assert there.seconds == 1.5
    assert there.id == "train/dia0_utt0"


def test_only_changed_clips_are_read_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "dev_sent_emo.csv", [row(0), row(1)])
    folder = tmp_path / "dev_splits_complete"
    folder.mkdir()
    files = [folder / "dia0_utt0.mp4", folder / "dia0_utt1.mp4"]
    for file in files:
        file.write_bytes(b"same size")
    known = {one.clip.path: one.clip for one in read_catalogue(tmp_path)}
    stamp = files[0].stat()
    files[0].write_bytes(b"not read!")
    os.utime(files[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    files[1].write_bytes(b"different")
    first, second = read_catalogue(tmp_path, known=known)
    assert first.clip == known[str(files[0])]
    assert second.clip.sha256 != known[str(files[1])].sha256


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row(0), row(0)], "row 2: Utterance_ID '0' is there twice"),
        ([row(0), row(1, emotion="Powerful")], "row 2: Emotion 'powerful' is none of"),
        ([("Hi.", "Ann", "joy", "x", 0, "", "")], "row 1: Dialogue_ID 'x' is not a whole number"),
        ([], "hold no utterances"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, rows: list[tuple[object, ...]], says: str) -> None:
    write_csv(tmp_path / "test_sent_emo.csv", rows)
    with pytest.raises(UsageError, match=says):
        read_catalogue(tmp_path)


@pytest.mark.parametrize("content", [b"", b'"a,b\n', b"\xff\xfe\x00"])
def test_files_that_are_no_csv(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train_sent_emo.csv").write_bytes(content)
    with pytest.raises(UsageError, match=r"train_sent_emo\.csv"):
        read_catalogue(tmp_path)


@real
def test_the_real_annotations() -> None:
    utterances = read_catalogue(MELD)
    assert Counter(one.split for one in utterances) == {"train": 9989, "dev": 1109, "test": 2610}
    anger = Counter(one.split for one in utterances if one.emotion == "anger")
    assert anger == {"train": 1109, "dev": 153, "test": 345}
    assert len({one.id for one in utterances}) == 13_708


@real
def test_old_and_new_copies_give_the_same_texts() -> None:
    for split in SPLITS:
        new = read_table(MELD / f"{split}_sent_emo.csv")
        old = read_table(MELD / "old-encoding" / f"{split}_sent_emo.csv")
        assert new["Utterance"].tolist() == old["Utterance"].tolist()
        assert new["Emotion"].tolist() == old["Emotion"].tolist()
