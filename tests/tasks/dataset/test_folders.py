"""Plain folders of clips: whatever lies in one is taken, or named with the reason why not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.storage.format.catalogue import NO_FILE
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.dataset import Intake, check_folder, check_source, take_in, take_in_folder
from meldflow.tasks.dataset.own import name_clips
from meldflow.tasks.dataset.records import Kind, Known
from meldflow.tasks.extraction.inputs import known_clips
from tests.media import Film, Track, noise, tone, write
from tests.storage.corpus import extract_all, words_spec
from tests.tasks.dataset.standins import STUB, clip_of
from tests.tasks.dataset.test_intake import found, row, write_csv

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def put(folder: Path, *names: str, content: bytes | None = None) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(clip_of(1.0) if content is None else content)


def known(intake: Intake) -> Mapping[str, Known]:
    """What a store has after it."""
    return {one.clip.path: Known(one.name, one.clip) for one in intake.utterances}


def ids(intake: Intake) -> list[str]:
    return [one.id.removeprefix("clips/") for one in intake.utterances]


def left_out(intake: Intake, folder: Path) -> Mapping[str, str]:
    """Path below the folder → why nothing was made of it."""
    return {
        one.subject.removeprefix(f"{folder}/"): one.detail
        for one in intake.findings
        if one.kind is Kind.LEFT_OUT
    }


def test_a_plain_folder_of_clips(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "day 1/a.mp4", "day 1/b.mkv", "day 1/b.mp4", "day 1/.hidden.mp4")
    put(tmp_path, "a.txt", content="\ufeffHello.\n".encode())
    put(tmp_path, "notes.pdf", content=b"")
    intake = take_in_folder(tmp_path)
    assert [(one.id, one.text) for one in intake.utterances] == [
        ("clips/a", "Hello."),
        ("clips/day 1/a", ""),
        ("clips/day 1/b.mkv", ""),
        ("clips/day 1/b.mp4", ""),
    ]
    assert all(one.clip.sha256 != NO_FILE for one in intake.utterances)
    assert left_out(intake, tmp_path) == {
        "day 1/.hidden.mp4": "hidden",
        "notes.pdf": "application/pdf by its name",
    }


def test_a_folder_without_clips_is_none(tmp_path: Path) -> None:
    put(tmp_path, "notes.txt", "cover.jpg", content=b"?")
    for read in (take_in_folder, check_folder):
        with pytest.raises(UsageError, match="no sound or video file"):
            read(tmp_path)
        with pytest.raises(UsageError, match="does not exist"):
            read(tmp_path / "none")
        with pytest.raises(UsageError, match="is a file"):
            read(tmp_path / "notes.txt")
    put(tmp_path, "data.bin", content=bytes(100))
    with pytest.raises(UsageError, match="nothing in it or below it holds sound"):
        take_in_folder(tmp_path)


SUFFIXES = {
    "mkv": (".mka", ".mkv", ".dat", ""),
    "mp4": (".m4b", ".f4v", ".3g2", ".MP4", ".mp4.part"),
    "ts": (".m2ts", ".mts", ".trp"),
    "vob": (".vob", ".VRO"),
    "asf": (".asf", ".wm"),
    "mxf": (".mxf",),
    "au": (".au", ".snd"),
    "w64": (".w64",),
    "caf": (".caf",),
    "rm": (".rm", ".rmvb"),
    "wv": (".wv",),
    "ac3": (".ac3",),
    "oga": (".oga",),
}
"""What a file is written as → what its like may be called."""
CODECS = {
    **dict.fromkeys(("mxf", "w64", "caf"), "pcm_s16le"),
    **dict.fromkeys(("ts", "vob", "rm", "ac3"), "ac3"),
    **{"au": "pcm_s16be", "wv": "wavpack", "oga": "flac"},
}


def test_whatever_ffmpeg_opens_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    expected = []
    for number, (container, suffixes) in enumerate(SUFFIXES.items()):
        sound = Track(samples=tone(220, 0.5)[None], codec=CODECS.get(container, "aac"))
        film = [Film(frames=noise(10), codec="mpeg2video")] if container == "mxf" else []
        tracks: list[Film | Track] = [*film, sound]
        made = write(tmp_path / f"made.{container}", tracks)
        for suffix in suffixes:
            name = f"{number:02d}{suffix.replace('.', '-')}{suffix}"
            put(folder, name, content=made.read_bytes())
            expected.append(name)
    intake = take_in_folder(folder)
    assert [Path(one.clip.path).name for one in intake.utterances] == sorted(expected)
    assert not intake.findings


def test_what_is_none_is_named_and_does_not_change_the_names_of_clips(tmp_path: Path) -> None:
    put(tmp_path, "ok.wav", "a.mp4")
    others = {
        "ok.dat": b"\0\1" * 500,
        "picture": PNG,
        "ok.srt": b"1\n00:00:01,000 --> 00:00:02,000\nHi\n",
        "words": b"1\n00:00:01,000 --> 00:00:02,000\nHi\n",
        "ok.csv": b"a,b\n1,2\n",
        "photo.JPG": b"",
        "._ok.wav": STUB,
        "__MACOSX/._ok.wav": STUB,
        ".cache/b.mp4": b"",
        "orphan.txt": b"Nobody says this.",
        "list.m3u8": b"#EXTM3U\n",
    }
    for name, content in others.items():
        put(tmp_path, name, content=content)
    put(tmp_path, "ok.txt", content=b"Said.")
    os.mkfifo(tmp_path / "pipe.raw")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty" / "er").mkdir(parents=True)
    intake = take_in_folder(tmp_path)
    assert ids(intake) == ["a", "ok"]
    assert [one.text for one in intake.utterances] == ["", "Said."]
    named = left_out(intake, tmp_path)
    assert named == {
        "ok.dat": "cannot be opened (Invalid data found when processing input)",
        "picture": "holds no sound and no moving pictures (png_pipe)",
        "words": "holds no sound and no moving pictures (srt)",
        "ok.srt": "text/plain by its name",
        "ok.csv": "text/csv by its name",
        "photo.JPG": "image/jpeg by its name",
        "orphan.txt": "text/plain by its name",
        "list.m3u8": "application/vnd.apple.mpegurl by its name",
        "pipe.raw": "cannot be opened (not a regular file)",
        "gone": named["gone"],
        **dict.fromkeys(("._ok.wav", "__MACOSX", ".cache"), "hidden"),
    }
    assert "text/plain by its name: " in " ".join(intake.left_out)


def test_a_broken_clip_is_an_utterance(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    put(tmp_path, "b.m2ts", "c.wv", content=b"")
    (tmp_path / "d.mp4").symlink_to(tmp_path / "nowhere")
    intake = take_in_folder(tmp_path)
    assert ids(intake) == ["a", "b", "c", "d"]
    assert found(intake) == {
        ("unreadable_clip", "clips/b"): 1,
        ("unreadable_clip", "clips/c"): 1,
        ("missing_clip", "clips/d"): 1,
    }


def test_a_new_clip_renames_none(tmp_path: Path) -> None:
    put(tmp_path, "ok.wav", "two.mp4", "two.wav", "x.mp4")
    first = take_in_folder(tmp_path)
    assert ids(first) == ["ok", "two.mp4", "two.wav", "x"]
    put(tmp_path, "ok.mp4", "x.mp4.wav")
    (tmp_path / "two.mp4").unlink()
    second = take_in_folder(tmp_path, known=known(first))
    assert ids(second) == ["ok.mp4", "ok", "two.wav", "x", "x.mp4.wav"]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert ids(take_in_folder(moved, known=known(second))) == ids(second)
    (moved / "ok.wav").unlink()
    assert ids(take_in_folder(moved, known=known(second))) == [
        "ok.mp4",
        "two.wav",
        "x",
        "x.mp4.wav",
    ]


def test_a_clip_that_was_renamed_once_keeps_its_last_name(tmp_path: Path) -> None:
    put(tmp_path, "ok.wav", "z.mp4")
    (ok, other), url = take_in_folder(tmp_path).utterances, str(tmp_path / "store")
    for utterances in ((ok, other), (replace(ok, name="ok.wav"), other), (ok, other)):
        with open_run(url, (words_spec(),), partition=4) as run:
            extract_all(run, utterances, (words_spec(),))
            run.publish()
    # The store has two rows of ok.wav; the later one is not active.
    assert {one.name for one in known_clips(url).values()} == {"ok", "z"}


def test_names_are_unique_whatever_the_store_calls_clips(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "a.mp4", "a.mp4.wav", "a.wav", "b.mp4")]
    assert name_clips(files, tmp_path, {}) == ["a", "a.mp4", "a.mp4.wav", "a.wav", "b"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_one_name_in_two_unicode_forms(tmp_path: Path, form: str) -> None:
    name = normalize(form, "Zoë")  # type: ignore[arg-type]
    put(tmp_path, f"{name}.mp4")
    other = normalize("NFD" if form == "NFC" else "NFC", name)
    put(tmp_path, f"{other}.txt", content=b"Hi.")
    intake = take_in_folder(tmp_path)
    (one,) = intake.utterances
    assert (one.id, one.text) == (normalize("NFC", "clips/Zoë"), "Hi.")
    assert Path(one.clip.path).read_bytes()
    put(tmp_path, f"{other}.mp4")
    assert len(set(ids(take_in_folder(tmp_path)))) == 2


@pytest.mark.parametrize(
    ("content", "text", "kind"),
    [
        ("Größe\r\n".encode(), "Größe", None),
        ("\ufeffGröße".encode("utf-16-le"), "Größe", None),
        ("Größe".encode("utf-32"), "", Kind.LEFT_OUT),
        ("Größe – “so”".encode("cp1252"), "Größe – “so”", Kind.REPAIRED_ENCODING),
        ("Größe".encode("utf-16-le"), "", Kind.LEFT_OUT),
        (b"\xff\xfe\x00", "", Kind.LEFT_OUT),
        ("дом".encode("koi8-r") + b"\x81", "", Kind.LEFT_OUT),
        (b"", "", None),
    ],
)
def test_texts_in_any_encoding(
    tmp_path: Path, content: bytes, text: str, kind: Kind | None
) -> None:
    put(tmp_path, "a.mp4", "b.mp4")
    put(tmp_path, "a.TXT", content=content)
    intake = take_in_folder(tmp_path)
    assert [one.text for one in intake.utterances] == [text, ""]
    assert [(one.kind, one.subject) for one in intake.findings] == (
        [(kind, str(tmp_path / "a.TXT"))] if kind else []
    )


@pytest.mark.parametrize("read", ["plain", "meld"])
def test_names_that_are_no_unicode_are_left_out(tmp_path: Path, read: str) -> None:
    put(tmp_path, "dev/dia0_utt0.mp4", "weird/🎬 \n“x”.mp4")
    write_csv(tmp_path / "dev_sent_emo.csv", [row(0)])
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH102
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), "dia0_utt0.mp4")
    put(Path(os.fsdecode(os.fsencode(tmp_path))), os.fsdecode(b"na\xefve.mp4"))
    intake = take_in_folder(tmp_path) if read == "plain" else take_in(tmp_path)
    why = "its name is no UTF-8; rename it"
    named = {name: one for name, one in left_out(intake, tmp_path).items() if one == why}
    assert named == {"caf\\udce9": why, "na\\udcefve.mp4": why}
    if read == "plain":
        assert ids(intake) == ["dev/dia0_utt0", "weird/🎬 \n“x”"]


def test_links_are_followed_last(tmp_path: Path) -> None:
    put(tmp_path, "clips/day 2/a.mp4", "elsewhere/b.mp4")
    before = take_in_folder(tmp_path / "clips")
    (tmp_path / "clips" / "a link").symlink_to(tmp_path / "clips" / "day 2")
    (tmp_path / "clips" / "day 2" / "up").symlink_to(tmp_path)
    (tmp_path / "clips" / "day 2" / "round").symlink_to(tmp_path / "clips")
    (tmp_path / "clips" / "here").symlink_to(tmp_path / "elsewhere")
    after = take_in_folder(tmp_path / "clips", known=known(before))
    assert ids(after) == ["day 2/a", "here/b"]


def test_a_folder_that_is_called_like_a_clip_is_entered(tmp_path: Path) -> None:
    put(tmp_path, "takes.wav/a.mp4")
    assert ids(take_in_folder(tmp_path)) == ["takes.wav/a"]


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that everybody may look into; another pytest would close what lies above ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.fixture
def nobody() -> Iterator[Callable[[], None]]:
    """Makes this process one that may not look everywhere."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    yield lambda: os.seteuid(65534)
    os.seteuid(0)


def test_what_may_not_be_read_is_named(open_path: Path, nobody: Callable[[], None]) -> None:
    put(open_path, "a.mp4", "closed/b.mp4")
    put(open_path, "a.txt", content=b"Hi.")
    before = take_in_folder(open_path)
    (open_path / "closed").chmod(0)
    (open_path / "a.txt").chmod(0)
    nobody()
    after = take_in_folder(open_path, known=known(before))
    assert [(one.id, one.text) for one in after.utterances] == [("clips/a", "")]
    assert left_out(after, open_path) == {
        "closed": "cannot be listed (Permission denied)",
        "a.txt": f"[Errno 13] Permission denied: '{open_path / 'a.txt'}'",
    }
    for check in (check_folder, check_source):
        with pytest.raises(UsageError, match=r"b\.csv: cannot be looked at \(Permission denied\)"):
            check(open_path / "closed" / "b.csv")
