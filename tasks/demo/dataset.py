"""The demo data set: annotations and clips in MELD's own tree, the same for the same seed."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.utterances import CLIP_FOLDERS, EMOTIONS
from meldflow.tasks.demo.annotation import annotate
from meldflow.tasks.demo.broadcast import write_broadcast
from meldflow.tasks.demo.clip import BROADCAST, make_clip, one_thread
from meldflow.tasks.demo.script import Line, write_script

VERSION = 1
"""Raised when the same parameters give other files."""
MARK = "synth.json"
"""Says what a folder holds, and whether all of it is there."""
GENERATOR = "meldflow synth"
Make = Callable[[Line, int, Path], None]
"""Writes the clip of a line, from a seed."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSummary:
    """One split of the data set."""

    dialogues: int
    rows: int
    emotions: Mapping[str, int]
    """Rows per emotion, every emotion named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthSummary:
    """What lies in the folder now."""

    directory: Path
    splits: Mapping[str, SplitSummary]
    clips: int
    size: int
    """Bytes of all clips."""
    seconds: float
    """Playing time of all clips."""
    reused: bool
    """Whether everything was there already and nothing was written."""


def synthesise(
    directory: Path,
    *,
    dialogues: int,
    seed: int,
    processes: int | None = None,
    on_clip: Callable[[], None] | None = None,
) -> SynthSummary:
    """Write a demo data set below ``directory``; ``on_clip`` is called after each new clip.

    A call that was interrupted is continued by the same call; one that was finished is not
    repeated. ``processes`` (default: the cores at hand) changes the time and nothing else.

    Raises:
        UsageError: the folder holds something else or cannot be written, there are too few
            dialogues, or the seed is negative.
        MeldflowError: ffmpeg is not there or fails.
        RunError: the system killed a process that draws clips.
    """
    script = write_script(dialogues, seed)
    about = {"generator": GENERATOR, "version": VERSION, "dialogues": dialogues, "seed": seed}
    return _write(directory, script, about, make_clip, seed, processes, on_clip)


def synthesise_bench(
    directory: Path,
    *,
    clips: int,
    seed: int,
    processes: int | None = None,
    on_clip: Callable[[], None] | None = None,
) -> SynthSummary:
    """Write a data set to measure with: ``clips`` clips in MELD's format and of MELD's lengths.

    In all else it is as ``synthesise``.

    Raises:
        UsageError: the folder holds something else or cannot be written, there are no clips, or
            the seed is negative.
        MeldflowError: ffmpeg is not there or fails.
        RunError: the system killed a process that draws clips.
    """
    script = write_broadcast(clips, seed)
    about = {"generator": f"{GENERATOR} --bench", "version": VERSION, "clips": clips, "seed": seed}
    make = partial(make_clip, encoding=BROADCAST)
    return _write(directory, script, about, make, seed, processes, on_clip)


def is_unfinished(directory: Path) -> bool:
    """Whether a call was interrupted that was to write a data set there."""
    return _read_mark(directory / MARK).get("complete") is False


def _write(
    directory: Path,
    script: Mapping[str, list[Line]],
    parameters: Mapping[str, object],
    make: Make,
    seed: int,
    processes: int | None,
    on_clip: Callable[[], None] | None,
) -> SynthSummary:
    """Writes what is lacking of a data set that ``parameters`` tell from all others."""
    if processes is not None and processes < 1:
        raise UsageError(f"processes must be at least 1: got {processes}")
    paths = {path: line for line, path in _clip_paths(directory, script)}
    try:
        complete = _claim(directory, parameters)
        lacking = {path: line for path, line in paths.items() if not path.exists()}
        reused = complete and not lacking
        if not reused:
            for split, lines in script.items():
                _write_whole(directory / f"{split}_sent_emo.csv", annotate(lines))
            _make_clips(lacking, make, seed, processes or _cores(), on_clip or (lambda: None))
            _mark(directory, parameters, complete=True)
        size = sum(path.stat().st_size for path in paths)
    except OSError as error:
        where = error.filename or directory
        raise UsageError(f"cannot write {where}: {error.strerror or error}") from error
    return SynthSummary(
        directory=directory,
        splits={split: _summarise(lines) for split, lines in script.items()},
        clips=len(paths),
        size=size,
        seconds=sum(line.seconds for line in paths.values()),
        reused=reused,
    )


def _clip_paths(directory: Path, script: Mapping[str, list[Line]]) -> Iterator[tuple[Line, Path]]:
    for split, lines in script.items():
        for line in lines:
            name = f"dia{line.dialogue}_utt{line.utterance}.mp4"
            yield line, directory / CLIP_FOLDERS[split] / name


def _claim(directory: Path, parameters: Mapping[str, object]) -> bool:
    """Take an empty folder, or know our own again; True if that one was finished.

    Raises:
        UsageError: the folder holds something else.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder")
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        held = _read_mark(directory / MARK)
        complete = held.pop("complete", None)
        if held == dict(parameters) and isinstance(complete, bool):
            return complete
        raise UsageError(
            f"{directory} is not empty and holds no data set of these parameters: "
            "name another folder, or delete this one"
        )
    _mark(directory, parameters, complete=False)
    for folder in CLIP_FOLDERS.values():
        (directory / folder).mkdir()
    return False


def _read_mark(path: Path) -> dict[str, object]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def _mark(directory: Path, parameters: Mapping[str, object], *, complete: bool) -> None:
    content = json.dumps({**parameters, "complete": complete}, indent=2) + "\n"
    _write_whole(directory / MARK, content)


def _write_whole(path: Path, content: str) -> None:
    """Write a text file so that nobody ever sees half of it."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(content, encoding="utf-8", newline="")
    partial.replace(path)


def _make_clips(
    lacking: Mapping[Path, Line],
    make: Make,
    seed: int,
    processes: int,
    on_clip: Callable[[], None],
) -> None:
    for path in {path.parent for path in lacking}:
        path.mkdir(exist_ok=True)
    if processes == 1 or len(lacking) <= 1:
        one_thread()
        for path, line in lacking.items():
            make(line, seed, path)
            on_clip()
        return
    with _one_thread_each(), _pool(min(processes, len(lacking))) as pool:
        running = {pool.submit(make, line, seed, path) for path, line in lacking.items()}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    on_clip()
        except BrokenProcessPool as error:
            raise RunError("a process that draws clips was killed (out of memory?)") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _pool(processes: int) -> ProcessPoolExecutor:
    """Spawned, because forking a process that has threads may hang."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Spawned processes read these when they import NumPy, before any code of ours runs."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _summarise(lines: list[Line]) -> SplitSummary:
    counts = Counter(line.emotion for line in lines)
    return SplitSummary(
        dialogues=len({line.dialogue for line in lines}),
        rows=len(lines),
        emotions={emotion: counts[emotion] for emotion in EMOTIONS},
    )
