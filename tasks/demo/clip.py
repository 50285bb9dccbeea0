"""One clip of the demo: a line is spoken, filmed and encoded as MELD's clips are."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import MeldflowError, UsageError
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.demo import voice
from meldflow.tasks.demo.face import HEIGHT, WIDTH, Canvas, film
from meldflow.tasks.demo.material import CAST, STYLES, blend, count_syllables
from meldflow.tasks.demo.script import Line, generator

QUICK: Mapping[str, object] = {"preset": "ultrafast", "crf": 28, "b:a": "96k"}
"""Options of ffmpeg for the demo: small pictures, as fast as they can be written."""
UNINFORMATIVE = 0.13
"""Share of clips whose face is unmoved or whose voice is flat."""
BLENDED = 0.25
"""Share of emotional clips in which a second emotion shows in the face or the voice."""


def draw_cues(emotion: str, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float]]:
    """How far emotions show in the face and the voice of one clip: emotion → strength, 0..1.

    They overlap between the emotions on purpose, and one of both may tell nothing.
    """
    other = str(rng.choice([one for one in EMOTIONS if one != emotion]))
    seen, heard = np.clip(rng.normal(0.88, 0.22, 2), 0.2, 1.2).tolist()
    silent = rng.random()
    if silent < UNINFORMATIVE:
        seen, heard = (0.0, heard) if silent < UNINFORMATIVE * 0.6 else (seen, 0.0)
    mixture = float(rng.uniform(0.2, 0.6)) if rng.random() < BLENDED else 0.0
    voiced = other if rng.random() < BLENDED * 0.3 else emotion
    return {emotion: seen * (1 - 0.6 * mixture), other: seen * mixture}, {voiced: heard}


def make_clip(line: Line, seed: int, path: Path, options: Mapping[str, object] = QUICK) -> None:
    """Write the clip of ``line`` to ``path``; the same arguments give the same bytes.

    The file appears under its name only when it is whole.

    Raises:
        UsageError: the disk is full, or the folder cannot be written.
        MeldflowError: ffmpeg is not there or fails.
    """
    rng = generator(seed, "clip", line.split, line.dialogue, line.utterance)
    scene = generator(seed, "scene", line.split, line.dialogue)
    (face, tone), speaker = draw_cues(line.emotion, rng), CAST[line.speaker]
    style, syllables = blend(STYLES, tone), count_syllables(line.text)
    spoken = voice.speak(speaker, style, syllables, line.seconds, rng)
    sound = voice.mix(spoken.samples, rng, surround=line.surround)
    moments = ((np.arange(line.frames) + 0.5) / float(line.rate) * voice.RATE).astype(np.int64)
    talk = spoken.envelope[np.minimum(moments, len(spoken.envelope) - 1)]
    pictures = film(speaker, face, talk, float(line.rate), (scene, rng))
    try:
        _encode(pictures, sound, line.rate, path, options)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _encode(
    pictures: Iterable[Canvas],
    sound: NDArray[np.float32],
    rate: Fraction,
    path: Path,
    options: Mapping[str, object],
) -> None:
    """Encode pictures and sound, shape (n_samples, 2 or 6), as H.264 and AAC in one ffmpeg call.

    It is single-threaded and bit-exact, because a seed promises the same bytes.
    """
    heard, whole = path.with_suffix(".pcm"), path.with_suffix(".part.mp4")
    try:
        heard.write_bytes(sound.tobytes())
        seen = b"".join(picture.data for picture in pictures)
        size, layout = f"{WIDTH}x{HEIGHT}", {2: "stereo", 6: "5.1"}[sound.shape[1]]
        film = {"format": "rawvideo", "pix_fmt": "rgb24", "s": size, "r": str(rate), "threads": 1}
        ffmpeg.output(
            ffmpeg.input("pipe:", **film),
            ffmpeg.input(str(heard), format="f32le", ar=voice.RATE, ch_layout=layout),
            str(whole),
            **{"vcodec": "libx264", "pix_fmt": "yuv420p", "threads": 1},
            **{"acodec": "aac", "aac_coder": "fast", "ar": 48_000, "format": "mp4"},
            **{"flags:v": "+bitexact", "flags:a": "+bitexact", "fflags": "+bitexact"},
            **{"sws_flags": "bicubic+accurate_rnd+bitexact", "map_metadata": -1},
            **{"loglevel": "error", **options},
        ).run(cmd=_ffmpeg(), input=seen, capture_stderr=True, overwrite_output=True)
        whole.replace(path)
    except ffmpeg.Error as error:
        said = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise MeldflowError(f"ffmpeg failed on {path}: {said or 'it does not say why'}") from error
    finally:
        for part in (heard, whole):
            part.unlink(missing_ok=True)


def _ffmpeg() -> str:
    """The ffmpeg that the package ``imageio-ffmpeg`` brings, else the one on PATH."""
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MeldflowError(
            "no ffmpeg: install one on PATH, or the whole imageio-ffmpeg"
        ) from error
