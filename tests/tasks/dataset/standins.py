"""Stand-ins for MELD: its annotations, tiny clips as long as their rows say, planted defects.

The footage is copyrighted and large; what an audit reads of it is names and headers. So every
row gets a clip of 32x32 grey pictures and silence that lasts exactly as long as the row, and
then defects are planted, each in a dialogue of its own, of which nothing else is remarkable.

    python -m tests.tasks.dataset.standins ANNOTATIONS DIR [--dialogues N] [--times N] [--seed S]

writes the tree and, beside it, ``DIR.planted.json``: the findings an audit has to come back with.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from meldflow.models.schema.utterances import CLIP_FOLDERS, EMOTIONS, SPLITS
from meldflow.tasks.dataset.checks import PUBLISHED
from meldflow.tasks.dataset.fixes import load_fixes
from meldflow.tasks.dataset.records import Kind
from meldflow.tasks.demo.script import COLUMNS

Row = dict[str, str]
Rows = dict[str, list[Row]]
"""Split → rows of its annotation file, as they are written."""


@dataclass(frozen=True)
class Layout:
    """Where the files of a split lie below the root; ``{split}`` and ``{folder}`` are filled in."""

    csv: str
    clips: str

    def csv_of(self, split: str) -> str:
        return self.csv.format(split=split, folder=CLIP_FOLDERS[split])

    def clips_of(self, split: str) -> str:
        return self.clips.format(split=split, folder=CLIP_FOLDERS[split])


LAYOUTS = {
    "flat": Layout("{split}_sent_emo.csv", "{folder}"),
    "beside": Layout("MELD.Raw/{split}_sent_emo.csv", "MELD.Raw/{split}/{folder}"),
    "inside": Layout("{folder}/{split}_sent_emo.csv", "{folder}"),
    "nested": Layout("MELD.Raw/{split}/{folder}/{split}_sent_emo.csv", "MELD.Raw/{split}/{folder}"),
}


class Planted(NamedTuple):
    """What an audit has to find."""

    kind: Kind
    split: str
    subject: str


def invented(dialogues: int, utterances: int = 4) -> Rows:
    """Rows of our own in MELD's shape, in which there is nothing to find."""
    return {
        split: [
            _row(split, dialogue, utterance, number)
            for number, (dialogue, utterance) in enumerate(
                (d, u) for d in range(dialogues) for u in range(utterances)
            )
        ]
        for split in SPLITS
    }


def _row(split: str, dialogue: int, utterance: int, number: int) -> Row:
    start = 60 + number * 4.0
    values = (
        number + 1,
        f"It’s line {utterance} of scene {dialogue} for {split}.",
        "Nurse #1",
        EMOTIONS[number % len(EMOTIONS)],
        "neutral",
        dialogue,
        utterance,
        1,
        1,
        stamp(start),
        stamp(start + 0.8 + number % 7 * 0.3),
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))


def read_rows(folder: Path, dialogues: int | None = None) -> Rows:
    """The rows of real annotation files; of each split the first ``dialogues`` dialogues only."""
    rows: Rows = {}
    for split in SPLITS:
        with (folder / f"{split}_sent_emo.csv").open(newline="", encoding="utf-8") as file:
            every = list(csv.DictReader(file))
        ids = sorted({dialogue_of(row) for row in every})
        kept = set(ids[:dialogues])
        rows[split] = [row for row in every if dialogue_of(row) in kept]
    return rows


def dialogue_of(row: Row) -> int:
    return int(row["Dialogue_ID"])


def name_of(row: Row) -> str:
    """``dia12_utt3``."""
    return f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"


def id_of(split: str, row: Row) -> str:
    """``train/dia12_utt3``."""
    return f"{split}/{name_of(row)}"


def stamp(seconds: float) -> str:
    """The time as MELD writes it, e.g. ``00:16:16,059``."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{milliseconds:03d}"


_STAMP = re.compile(r"(\d+):(\d+):(\d+),(\d+)")


def seconds_of(text: str) -> float:
    """The time that a well-formed stamp means."""
    match = _STAMP.fullmatch(text)
    assert match is not None, text
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def length_of(row: Row) -> float:
    return seconds_of(row["EndTime"]) - seconds_of(row["StartTime"])


@cache
def clip(milliseconds: int) -> bytes:
    """An mp4 of ``milliseconds`` by its header: five pictures a second, and silence."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
        picture.time_base = Fraction(1, 1000)
        packets = []
        for start in range(0, milliseconds, 200):
            picture.pts = start
            packets += video.encode(picture)
        packets += video.encode(None)
        for packet in packets:
            assert packet.pts is not None
            packet.duration = min(200, milliseconds - packet.pts)
        silence = np.zeros((1, max(1, milliseconds * 16 // 1024 - 1) * 1024), np.float32)
        sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        sound.rate = 16_000
        for packet in (*packets, *audio.encode(sound), *audio.encode(None)):
            container.mux(packet)
    return target.getvalue()


SHORTEST, GRID = 80, 20
"""Milliseconds: the shortest clip, and the step that lengths are rounded to: so few are made."""


def clip_of(seconds: float) -> bytes:
    """A clip of about so long; what is shorter, zero or negative gets the shortest."""
    return clip(max(SHORTEST, round(seconds * 1000 / GRID) * GRID))


STUB = bytes.fromhex("00051607000200004d6163204f532058").ljust(212, b"\0")
"""What macOS leaves as ``._name`` in archives: an AppleDouble header and attributes."""


@dataclass
class Tree:
    """What is going to be written, and which of its dialogues nothing was planted in yet."""

    root: Path
    rows: Rows
    layout: Layout
    rng: random.Random
    avoid: Container[tuple[str, int]] = ()
    """Split and dialogue where defects are known of."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path below the root → content, but for the annotation files that are to be read."""
    plain: dict[str, list[int]] = field(default_factory=dict)
    """Split → dialogues that a defect may be planted in."""

    def __post_init__(self) -> None:
        for split, rows in self.rows.items():
            for row in rows:
                self.film(split, row)
            self.plain[split] = list(_plain(self.rows, split, self.avoid))
            self.rng.shuffle(self.plain[split])

    def take(self, *splits: str) -> tuple[str, list[Row]]:
        """A dialogue that nothing was planted in: its split and its rows."""
        split = self.rng.choice([one for one in splits or SPLITS if self.plain.get(one)])
        dialogue = self.plain[split].pop()
        return split, [row for row in self.rows[split] if dialogue_of(row) == dialogue]

    def clip(self, split: str, row: Row, name: str = "{}.mp4") -> str:
        """The path of a row's clip."""
        return f"{self.layout.clips_of(split)}/{name.format(name_of(row))}"

    def film(self, split: str, row: Row, seconds: float | None = None) -> None:
        """Makes the clip of a row, as long as the row unless told otherwise."""
        length = length_of(row) if seconds is None else seconds
        self.files[self.clip(split, row)] = clip_of(length)

    def drop(self, split: str, row: Row) -> Planted:
        """Takes a row away, but not its clip."""
        self.rows[split].remove(row)
        return Planted(Kind.CLIP_WITHOUT_ROW, split, id_of(split, row))

    def write(self) -> None:
        own = {self.layout.csv_of(split): as_csv(rows) for split, rows in self.rows.items()}
        for name, content in (self.files | own).items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def as_csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _plain(rows: Rows, split: str, avoid: Container[tuple[str, int]]) -> Iterator[int]:
    """Dialogues of three rows or more of which there is nothing remarkable."""
    said = Counter(_letters(row) for every in rows.values() for row in every)
    for dialogue, own in dialogues_of(rows[split]).items():
        starts = [row["StartTime"] for row in own]
        if (
            len(own) >= 3
            and (split, dialogue) not in avoid
            and [row["Utterance_ID"] for row in own] == [str(n) for n in range(len(own))]
            and all(said[_letters(row)] == 1 for row in own)
            and all(_STAMP.fullmatch(row[end]) for row in own for end in ("StartTime", "EndTime"))
            and all(0.6 <= length_of(row) <= 15 for row in own)
            and starts == sorted(starts)
            and seconds_of(starts[0]) >= 10
        ):
            yield dialogue


def _letters(row: Row) -> str:
    return "".join(filter(str.isalnum, row["Utterance"].casefold()))


def dialogues_of(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(dialogue_of(row), []).append(row)
    return found


def missing_clip(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    del tree.files[tree.clip(split, row)]
    yield Planted(Kind.MISSING_CLIP, split, id_of(split, row))


def clip_without_row(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    extra = row | {"Utterance_ID": "99"}
    tree.film(split, extra)
    yield Planted(Kind.CLIP_WITHOUT_ROW, split, id_of(split, extra))


def clips_of_no_split(tree: Tree) -> Iterator[Planted]:
    tree.files["extras/dia0_utt0.mp4"] = clip_of(1)
    yield Planted(Kind.CLIP_WITHOUT_ROW, "", str(tree.root / "extras"))


def truncated_clip(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    name = tree.clip(split, row)
    tree.files[name] = tree.files[name].partition(b"moov")[0][:-4]  # the index is at the end
    yield Planted(Kind.UNREADABLE_CLIP, split, id_of(split, row))


def empty_clip(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    tree.files[tree.clip(split, row)] = b""
    yield Planted(Kind.UNREADABLE_CLIP, split, id_of(split, row))


def stubs(tree: Tree) -> Iterator[Planted]:
    split, rows = tree.take("train")
    for row in rows:
        tree.files[tree.clip(split, row, "._{}.mp4")] = STUB
        tree.files["__MACOSX/" + tree.clip(split, row, "._{}.mp4")] = STUB
    yield Planted(Kind.STUB, "", str(tree.root / tree.layout.clips_of(split)))


def plain_cut_is_wrong(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take("test")
    tree.film(split, row, seconds=2 * length_of(row) + 3)
    tree.files[tree.clip(split, row, "final_videos_test{}.mp4")] = clip_of(length_of(row))
    yield Planted(Kind.TWIN, split, id_of(split, row))


def second_cut_is_wrong(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take("test")
    wrong = clip_of(2 * length_of(row) + 3)
    tree.files[tree.clip(split, row, "final_videos_test{}.mp4")] = wrong
    yield Planted(Kind.TWIN, split, id_of(split, row))


def long_clip(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    tree.film(split, row, seconds=2 * length_of(row) + 3)
    yield Planted(Kind.DURATION_DIFFERS, split, id_of(split, row))


def zero_duration(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    row["EndTime"] = row["StartTime"]
    yield Planted(Kind.ZERO_DURATION, split, id_of(split, row))


def negative_duration(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    row["EndTime"] = stamp(seconds_of(row["StartTime"]) - 1)
    yield Planted(Kind.NEGATIVE_DURATION, split, id_of(split, row))


def short_row(tree: Tree) -> Iterator[Planted]:
    yield _lasting(tree, 0.05)


def long_row(tree: Tree) -> Iterator[Planted]:
    yield _lasting(tree, 45)


def _lasting(tree: Tree, seconds: float) -> Planted:
    split, (row, *_) = tree.take()
    row["EndTime"] = stamp(seconds_of(row["StartTime"]) + seconds)
    tree.film(split, row)
    return Planted(Kind.ABSURD_DURATION, split, id_of(split, row))


def two_digits(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    row["EndTime"] = row["EndTime"][:-3] + "95"
    tree.film(split, row)
    yield Planted(Kind.AMBIGUOUS_TIME, split, id_of(split, row))


def no_time(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    row["EndTime"] = "soon"
    yield Planted(Kind.UNREADABLE_TIME, split, id_of(split, row))


def old_encoding(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    row["Utterance"] = row["Utterance"].replace("’", "\x92") + "\x85"
    yield Planted(Kind.REPAIRED_ENCODING, split, id_of(split, row))


def same_text(tree: Tree) -> Iterator[Planted]:
    _, (first, *_) = tree.take("train")
    split, (row, *_) = tree.take("dev", "test")
    row["Utterance"] = first["Utterance"].upper()
    yield Planted(Kind.DUPLICATE_TEXT, split, id_of(split, row))


def earlier_start(tree: Tree) -> Iterator[Planted]:
    split, (first, row, *_) = tree.take()
    length = length_of(row)
    row["StartTime"] = stamp(seconds_of(first["StartTime"]) - 5)
    row["EndTime"] = stamp(seconds_of(row["StartTime"]) + length)
    yield Planted(Kind.OUT_OF_ORDER, split, id_of(split, row))


def swapped_rows(tree: Tree) -> Iterator[Planted]:
    split, (first, second, *_) = tree.take()
    rows = tree.rows[split]
    at = rows.index(first)
    rows[at : at + 2] = second, first
    for _ in ("by its id", "by its time"):
        yield Planted(Kind.OUT_OF_ORDER, split, id_of(split, first))


def dropped_row(tree: Tree) -> Iterator[Planted]:
    split, (_, row, *_) = tree.take()
    yield tree.drop(split, row)
    yield Planted(Kind.ID_GAP, split, f"{split}/dia{dialogue_of(row)}")


def dropped_dialogue(tree: Tree) -> Iterator[Planted]:
    while True:
        split, rows = tree.take()
        dialogue, others = dialogue_of(rows[0]), dialogues_of(tree.rows[split])
        if {dialogue - 1, dialogue + 1} <= others.keys():  # else it would widen another gap
            break
    yield from [tree.drop(split, row) for row in rows]
    yield Planted(Kind.ID_GAP, split, f"{split}/dia{dialogue}")


def capital_label(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take()
    row["Emotion"] = row["Emotion"].title()
    yield Planted(Kind.LABEL_SPELLING, split, id_of(split, row))


def second_annotations(tree: Tree) -> Iterator[Planted]:
    name = "copies/of/an/older/version/train_sent_emo.csv"
    tree.files[name] = as_csv(tree.rows["train"])
    yield Planted(Kind.OTHER_COPY, "train", str(tree.root / name))


def second_clips(tree: Tree) -> Iterator[Planted]:
    split, (row, *_) = tree.take("dev")
    folder = f"copies/{CLIP_FOLDERS[split]}"
    tree.files[f"{folder}/{name_of(row)}.mp4"] = clip_of(length_of(row))
    yield Planted(Kind.OTHER_COPY, split, str(tree.root / folder))


Plant = Callable[[Tree], Iterable[Planted]]
ONCE: tuple[Plant, ...] = (stubs, clips_of_no_split, second_annotations, second_clips)
"""Defects that a tree has once."""
PLANTS: tuple[Plant, ...] = (
    missing_clip,
    clip_without_row,
    truncated_clip,
    empty_clip,
    plain_cut_is_wrong,
    second_cut_is_wrong,
    long_clip,
    zero_duration,
    negative_duration,
    short_row,
    long_row,
    two_digits,
    no_time,
    old_encoding,
    same_text,
    earlier_start,
    swapped_rows,
    dropped_row,
    dropped_dialogue,
    capital_label,
)
"""Defects of single rows, clips and dialogues; a new one is a function and a line here."""


def plant(tree: Tree, times: int = 1) -> list[Planted]:
    """Plants every defect, those of ``PLANTS`` so many times; gives what is to be found."""
    before = _counts(tree.rows)
    planted = [one for defect in (*ONCE, *PLANTS * times) for one in defect(tree)]
    after = _counts(tree.rows)
    changed = [one for one in before if after[one] != before[one]]
    whole = [
        split for split, counts in PUBLISHED.items() if before[split, "utterances"] == counts.rows
    ]
    return planted + [
        Planted(Kind.COUNT_DIFFERS, split, f"{split}: {subject}")
        for split, subject in changed
        if split in whole
    ]


def _counts(rows: Rows) -> Counter[tuple[str, str]]:
    """(split, what is counted) → how many."""
    counts: Counter[tuple[str, str]] = Counter()
    for split, every in rows.items():
        counts[split, "utterances"] = len(every)
        counts[split, "dialogues"] = len(dialogues_of(every))
        counts.update((split, row["Emotion"].lower()) for row in every)
    return counts


def known_places() -> set[tuple[str, int]]:
    """Dialogues that the fix list speaks of, and those before them, whose texts it checks."""
    places = [entry.place for entry in load_fixes().entries]
    return {(split, key[0] - back) for split, key in places if key for back in (0, 1)}


def build(
    root: Path,
    rows: Rows,
    *,
    layout: Layout = LAYOUTS["beside"],
    times: int = 1,
    seed: int = 0,
) -> list[Planted]:
    """Writes a tree of stand-ins; ``times`` 0 plants nothing. Gives what is to be found."""
    tree = Tree(
        root=root,
        rows=copy.deepcopy(rows),
        layout=layout,
        rng=random.Random(seed),
        avoid=known_places(),
    )
    planted = plant(tree, times) if times else []
    tree.write()
    return planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("annotations", type=Path, help="folder with MELD's three CSV files")
    parser.add_argument("directory", type=Path, help="a new folder")
    parser.add_argument("--dialogues", type=int, help="of each split; by default all")
    parser.add_argument("--times", type=int, default=3, help="how often each defect is planted")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    root = given.directory.absolute()
    rows = read_rows(given.annotations, given.dialogues)
    planted = build(root, rows, times=given.times, seed=given.seed)
    listed = root.with_name(f"{root.name}.planted.json")
    listed.write_text(json.dumps([one._asdict() for one in planted], indent=1))
    print(f"{sum(map(len, rows.values()))} rows in {root}, {len(planted)} findings in {listed}")


if __name__ == "__main__":
    main()
