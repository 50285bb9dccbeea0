"""The demo data set: annotations and clips in MELD's own tree, the same for the same seed."""

import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2

from meldflow.models.files import write_atomically
from meldflow.models.running.hardware import usable_cores
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.utterances import CLIP_FOLDERS
from meldflow.tasks.dataset.records import SplitCounts
from meldflow.tasks.demo.clip import make_clip
from meldflow.tasks.demo.script import Line, annotate, write_script
from meldflow.tasks.pages.progress import progress

VERSION = 3
"""Raised when the same parameters give other files."""
MARK = "synth.json"
"""Says what a folder holds, and whether all of it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthSummary:
    """What lies in the folder now."""

    directory: Path
    splits: Mapping[str, SplitCounts]
    clips: int
    size: int  # bytes of all clips
    seconds: float  # playing time of all clips
    reused: bool  # whether everything was there already and nothing was written


def synthesise(
    directory: Path, *, dialogues: int, seed: int, processes: int | None = None
) -> SynthSummary:
    """Write a demo data set below ``directory``.

    A call that was interrupted is continued by the same call; one that was finished is not
    repeated. ``processes`` (default: the cores at hand) changes the time and nothing else.

    Raises:
        UsageError: the folder holds something else or cannot be written.
        MeldflowError: ffmpeg is not there or fails.
        RunError: the system killed a process that draws clips.
    """
    script = write_script(dialogues, seed)
    about = {"generator": "meldflow synth", "version": VERSION}
    about |= {"dialogues": dialogues, "seed": seed}
    marks = [json.dumps({**about, "complete": one}, indent=2).encode() for one in (False, True)]
    paths = {
        directory / CLIP_FOLDERS[split] / f"dia{line.dialogue}_utt{line.utterance}.mp4": line
        for split, lines in script.items()
        for line in lines
    }
    try:
        complete = _claim(directory, marks)
        lacking = {path: line for path, line in paths.items() if not path.exists()}
        reused = complete and not lacking
        if not reused:
            for split, lines in script.items():
                write_atomically(directory / f"{split}_sent_emo.csv", annotate(lines).encode())
            _make_clips(lacking, seed, processes or usable_cores())
            write_atomically(directory / MARK, marks[True])
        size = sum(path.stat().st_size for path in paths)
    except OSError as error:
        where = error.filename or directory
        raise UsageError(f"cannot write {where}: {error.strerror or error}") from error
    return SynthSummary(
        directory=directory,
        splits={
            split: SplitCounts.of((line.dialogue, line.emotion) for line in lines)
            for split, lines in script.items()
        },
        clips=len(paths),
        size=size,
        seconds=sum(line.seconds for line in paths.values()),
        reused=reused,
    )


def _claim(directory: Path, marks: Sequence[bytes]) -> bool:
    """Take an empty folder, or know our own again; True if that one was finished.

    ``marks`` are what MARK holds before that and from then on.

    Raises:
        UsageError: the folder holds something else.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder")
    directory.mkdir(parents=True, exist_ok=True)
    if not any(directory.iterdir()):
        write_atomically(directory / MARK, marks[False])
    mark = directory / MARK
    held = mark.read_bytes() if mark.is_file() else b""
    if held not in marks:
        raise UsageError(
            f"{directory} is not empty and holds no data set of these parameters: "
            "name another folder, or delete this one"
        )
    for folder in CLIP_FOLDERS.values():
        (directory / folder).mkdir(exist_ok=True)
    return held == marks[True]


def _make_clips(lacking: Mapping[Path, Line], seed: int, processes: int) -> None:
    if processes == 1 or len(lacking) <= 1:
        for path, line in lacking.items():
            make_clip(line, seed, path)
        return
    # Spawned, because forking a process that has threads may hang; OpenCV keeps to one thread in
    # each, since the processes are the parallelism.
    spawn = multiprocessing.get_context("spawn")
    with (
        progress("drawing clips", len(lacking), "clips") as advance,
        ProcessPoolExecutor(processes, spawn, cv2.setNumThreads, (1,)) as pool,
    ):
        made = [pool.submit(make_clip, line, seed, path) for path, line in lacking.items()]
        try:
            for done in as_completed(made):
                done.result()
                advance(1)
        except BrokenProcessPool as error:
            raise RunError("a process that draws clips was killed (out of memory?)") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
