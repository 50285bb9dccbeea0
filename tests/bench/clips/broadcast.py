"""A data set to measure with: as many clips as asked for, in MELD's format and of its lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.utterances import CLIP_FOLDERS, SPLITS
from meldflow.tasks.demo.clip import make_clip
from meldflow.tasks.demo.material import STYLES, count_syllables, write_line
from meldflow.tasks.demo.script import FILM, Line, annotate, draw_moods, generator, write_dialogue
from tests.bench.running.system import WORKERS

BROADCAST = {
    "b:v": "1500k",
    "vf": "crop=320:180,scale=1280:720:flags=bicubic+accurate_rnd+bitexact,"
    "noise=alls=12:allf=t:all_seed=1",
    "b:a": "128k",
}
"""As MELD's clips are: 1280x720 at about 1.5 Mbit/s by x264's default preset, with B-frames and
CABAC. The grain changes from picture to picture; drawings without it would take a tenth of the bits
and less time to decode."""

SPLIT = "dev"
"""The split that all clips are in, since their lengths are those of its clips."""

DEV_SECONDS: dict[float, float] = {
    0.0: 0.084,
    0.05: 0.68,
    0.1: 1.0,
    0.25: 1.56,
    0.5: 2.45,
    0.75: 3.92,
    0.9: 5.97,
    0.95: 7.6,
    0.99: 11.9,
    1.0: 28.5,
}
"""Quantile → length of the utterances of MELD's dev split, seconds: ``EndTime`` minus ``StartTime``
in ``dev_sent_emo.csv``, 1,109 rows with a mean of 3.1."""


def durations(clips: int) -> NDArray[np.float64]:
    """Lengths of ``clips`` clips as MELD's dev split has them, shortest first, seconds."""
    places = (np.arange(clips) + 0.5) / clips
    return np.interp(places, list(DEV_SECONDS), list(DEV_SECONDS.values()))


def make_clips(directory: Path, clips: int, seed: int, on_clip: Callable[[], None]) -> None:
    """Makes a data set that was not there; it appears under its name when it is whole.

    What was stopped goes on when the same is asked for again.
    """
    lines, part = write_broadcast(clips, seed), directory.with_name(f"{directory.name}.part{clips}")
    folder = part / CLIP_FOLDERS[SPLIT]
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        table = annotate(lines if split == SPLIT else [])
        (part / f"{split}_sent_emo.csv").write_bytes(table.encode())
    paths = {folder / f"dia{one.dialogue}_utt{one.utterance}.mp4": one for one in lines}
    spawn = get_context("spawn")
    with ProcessPoolExecutor(WORKERS, spawn, cv2.setNumThreads, (1,)) as pool:
        for made in as_completed(
            pool.submit(make_clip, line, seed, path, BROADCAST)
            for path, line in paths.items()
            if not path.exists()
        ):
            made.result()
            on_clip()
    part.rename(directory)


def write_broadcast(clips: int, seed: int) -> list[Line]:
    """Every utterance: all of them film in stereo, with as many words as fit."""
    lengths = durations(clips)
    np.random.default_rng(seed).shuffle(lengths)
    lines, clock = [], 0.0
    for line, seconds in zip(_lines(seed), lengths.tolist(), strict=False):
        rng = generator(seed, "words", SPLIT, line.dialogue, line.utterance + 1)
        clock = line.start if line.utterance == 0 else clock
        timed = _lasting(replace(line, start=clock), seconds, rng)
        lines.append(timed)
        clock = round(clock + timed.seconds, 3)
    return lines


def _lines(seed: int) -> Iterator[Line]:
    """Utterances of one dialogue after the other, without end."""
    dialogue = 0
    while True:
        moods = draw_moods(generator(seed, "moods", SPLIT, dialogue))
        words = generator(seed, "words", SPLIT, dialogue)
        yield from write_dialogue(SPLIT, dialogue, moods, words)
        dialogue += 1


def _lasting(line: Line, seconds: float, rng: np.random.Generator) -> Line:
    """The line in a clip of ``seconds``; sentences are added for as long as there is time."""
    rate, text = STYLES[line.emotion].rate, line.text
    while count_syllables(longer := f"{text} {write_line(line.emotion, rng)}") / rate < seconds:
        text = longer
    frames = max(2, round(seconds * FILM))
    return replace(line, text=text, frames=frames, rate=FILM, surround=False)
