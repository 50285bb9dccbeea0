"""One clip of the demo: a line is spoken, filmed and encoded as MELD's clips are."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import MeldflowError, UsageError
from meldflow.tasks.demo import voice
from meldflow.tasks.demo.cast import CAST
from meldflow.tasks.demo.mix import mix
from meldflow.tasks.demo.paint import Canvas
from meldflow.tasks.demo.scene import HEIGHT, WIDTH, Take, film
from meldflow.tasks.demo.script import Line, Purpose, generator
from meldflow.tasks.demo.words import count_syllables

UNINFORMATIVE = 0.13
"""Share of clips whose face or voice tells nothing: turned away, unmoved or flat."""
BLENDED = 0.25
"""Share of emotional clips in which a second emotion shows in the face or the voice."""
CONFUSABLE: dict[str, tuple[str, ...]] = {
    "neutral": ("joy", "sadness", "anger", "surprise"),
    "surprise": ("joy", "fear"),
    "fear": ("surprise", "sadness"),
    "sadness": ("fear", "disgust"),
    "joy": ("surprise",),
    "disgust": ("anger", "sadness"),
    "anger": ("disgust", "surprise"),
}
"""What each emotion is taken for by people too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """How far the emotion shows in what is seen and heard."""

    face: dict[str, float]
    """Strength of each emotion in the face at its apex, 0..1."""
    voice: float
    """Strength of the emotion in the voice, 0..1."""
    heard: str
    """The emotion that the voice carries; that of the line, but for a few blends."""
    behind: bool
    """Whether the speaker has turned away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures and sound become a file: options of ffmpeg."""

    video: Mapping[str, object]
    """Of the video stream, with the filters that pictures pass on their way to the encoder."""
    audio: Mapping[int, str]
    """Channels → bit rate of the sound."""


QUICK = Encoding(
    video={"preset": "ultrafast", "crf": 28},
    audio={2: "64k", 6: "160k"},
)
"""For the demo: small pictures, as fast as they can be written."""

BROADCAST = Encoding(
    video={
        "b:v": "1500k",
        "vf": "crop=320:180,scale=1280:720:flags=bicubic+accurate_rnd+bitexact,"
        "noise=alls=12:allf=t:all_seed=1",
    },
    audio={2: "128k"},
)
"""As MELD's clips are: 1280x720 at about 1.5 Mbit/s by x264's default preset, with B-frames and
CABAC. The grain changes from picture to picture; drawings without it would take a tenth of the bits
and less time to decode."""


def draw_cues(emotion: str, rng: np.random.Generator) -> Cues:
    """The strength of the cues in one clip; they overlap between the emotions on purpose."""
    others = CONFUSABLE[emotion]
    other = others[rng.integers(len(others))]
    seen, heard = (float(np.clip(rng.normal(0.88, 0.22), 0.2, 1.2)) for _ in range(2))
    silent = rng.random()
    behind = silent < UNINFORMATIVE * 0.3
    flat_face = behind or silent < UNINFORMATIVE * 0.6
    flat_voice = not flat_face and silent < UNINFORMATIVE
    seen, heard = 0.0 if flat_face else seen, 0.0 if flat_voice else heard
    mixture = float(rng.uniform(0.2, 0.6)) if rng.random() < BLENDED else 0.0
    voiced = other if rng.random() < BLENDED * 0.3 else emotion
    if emotion == "neutral":
        return Cues(
            face={other: mixture},
            voice=0.5 * heard * (voiced == other),
            heard=voiced,
            behind=behind,
        )
    face = {emotion: seen * (1 - 0.6 * mixture), other: seen * mixture}
    return Cues(face=face, voice=heard, heard=voiced, behind=behind)


def make_clip(line: Line, seed: int, path: Path, encoding: Encoding = QUICK) -> None:
    """Write the clip of ``line`` to ``path``; the same arguments give the same bytes.

    The file appears under its name only when it is whole.

    Raises:
        UsageError: the disk is full, or the folder cannot be written.
        MeldflowError: ffmpeg is not there or fails.
    """
    rng = generator(seed, Purpose.CLIP, line.split, line.dialogue, line.utterance)
    set_rng = generator(seed, Purpose.SCENE, line.split, line.dialogue)
    cues = draw_cues(line.emotion, rng)
    speaker = CAST[line.speaker]
    style = voice.blend(cues.heard, cues.voice)
    spoken = voice.speak(speaker, style, count_syllables(line.text), line.seconds, rng)
    sound = mix(spoken.samples, rng, surround=line.surround)
    moments = ((np.arange(line.frames) + 0.5) / float(line.rate) * voice.RATE).astype(np.int64)
    take = Take(
        speaker=speaker,
        moods=cues.face,
        behind=cues.behind,
        talk=spoken.envelope[np.minimum(moments, len(spoken.envelope) - 1)],
        rate=float(line.rate),
    )
    rate = f"{line.rate.numerator}/{line.rate.denominator}"
    encode(film(take, set_rng, rng), sound, rate, path, encoding)


def encode(
    pictures: Iterable[Canvas],
    sound: NDArray[np.float32],
    rate: str,
    path: Path,
    encoding: Encoding = QUICK,
) -> None:
    """Encode pictures and sound, shape (n_samples, 2 or 6), as H.264 and AAC in one ffmpeg call.

    Raises:
        UsageError: the disk is full, or the folder cannot be written.
        MeldflowError: ffmpeg is not there or fails.
    """
    raw, whole = path.with_suffix(".pcm"), path.with_suffix(".part.mp4")
    try:
        raw.write_bytes(sound.tobytes())
        _run(_graph(raw, whole, rate, sound.shape[1], encoding), pictures, path)
        whole.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        raw.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)


def ffmpeg_binary() -> str:
    """The ffmpeg on PATH, else the one that the package ``imageio-ffmpeg`` brings.

    Raises:
        MeldflowError: there is neither.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MeldflowError(
            "no ffmpeg: install one on PATH, or the package imageio-ffmpeg with its binary"
        ) from error


def one_thread() -> None:
    """Keep OpenCV to one thread: the processes are the parallelism."""
    cv2.setNumThreads(1)


def _graph(
    raw: Path, target: Path, rate: str, channels: int, encoding: Encoding
) -> ffmpeg.nodes.OutputStream:
    """The ffmpeg call; single-threaded and bit-exact, because a seed promises the same bytes."""
    layout = {2: "stereo", 6: "5.1"}[channels]
    video = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{WIDTH}x{HEIGHT}", r=rate, threads=1
    )
    audio = ffmpeg.input(str(raw), format="f32le", ar=voice.RATE, ch_layout=layout)
    exact = {
        "flags:v": "+bitexact",
        "flags:a": "+bitexact",
        "b:a": encoding.audio[channels],
        **encoding.video,
    }
    return ffmpeg.output(
        video,
        audio,
        str(target),
        vcodec="libx264",
        pix_fmt="yuv420p",
        threads=1,
        acodec="aac",
        aac_coder="fast",
        ar=48_000,
        sws_flags="bicubic+accurate_rnd+bitexact",
        fflags="+bitexact",
        map_metadata=-1,
        format="mp4",
        loglevel="error",
        **exact,
    )


def _run(graph: ffmpeg.nodes.OutputStream, pictures: Iterable[Canvas], path: Path) -> None:
    """Feed ffmpeg picture by picture.

    Not ``ffmpeg.run(input=...)``: it hands over 4 KiB at a time, which takes longer than the
    encoding. Nothing reads ffmpeg's messages meanwhile, so it may print errors only.
    """
    process = ffmpeg.run_async(
        graph, cmd=ffmpeg_binary(), pipe_stdin=True, pipe_stderr=True, overwrite_output=True
    )
    with process:
        try:
            for picture in pictures:
                process.stdin.write(picture.tobytes())
            process.stdin.close()
        except BrokenPipeError:
            # It gave up, and says why below; closing tries to write what is left once more.
            with suppress(BrokenPipeError):
                process.stdin.close()
        lines = process.stderr.read().decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        last = lines[-1] if lines else f"exit status {process.returncode}"
        raise MeldflowError(f"ffmpeg failed on {path}: {last}")
