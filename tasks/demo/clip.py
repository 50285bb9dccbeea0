"""One clip of the demo: a line is spoken, filmed and encoded as MELD's clips are.

The voices are pulses through formant resonators, shaped by the emotion.
"""

import itertools
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, sawtooth, sosfilt

from meldflow.models.schema.errors import MeldflowError, UsageError
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.demo.face import HEIGHT, WIDTH, Canvas, film
from meldflow.tasks.demo.material import CAST, STYLES, Speaker, Style, blend, count_syllables
from meldflow.tasks.demo.script import Line, generator

QUICK: Mapping[str, object] = {"preset": "ultrafast", "crf": 28, "b:a": "96k"}
"""Options of ffmpeg for the demo: small pictures, as fast as they can be written."""
UNINFORMATIVE = 0.13
"""Share of clips whose face is unmoved or whose voice is flat."""
BLENDED = 0.25
"""Share of emotional clips in which a second emotion shows in the face or the voice."""

Signal = NDArray[np.float64]

RATE = 24_000
"""Samples per second; the encoder resamples to MELD's 48 kHz."""
NOMINAL_DB = -21.0
"""Level of a neutral voice, dB below full scale."""
SNR_DB = (16.0, 32.0)
"""Range of the distance between a neutral voice and the room, dB."""
MARGIN = 0.12
"""Silence before and after the words, seconds."""
BANDWIDTHS = np.array([90.0, 120.0, 180.0])
"""Of the three formants, Hz."""
VOWELS = np.array(
    [(730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240)],
    dtype=np.float64,
)
"""Formant frequencies of five vowels for a vocal tract of factor one, Hz, shape (5, 3)."""


def speak(
    speaker: Speaker, style: Style, count: int, seconds: float, rng: np.random.Generator
) -> tuple[Signal, Signal]:
    """An utterance of ``count`` syllables that fills ``seconds`` but for a margin.

    Returns:
        Samples, and how far the mouth is open, 0..1; both ``RATE`` per second.
    """
    size = round(seconds * RATE)
    lengths, margin = rng.lognormal(0, 0.25, count), min(round(MARGIN * RATE), size // 5)
    steps = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    edges = np.round(margin + steps * (size - 2 * margin)).astype(np.int64)
    melody = rng.normal(0, style.accent, count) + style.contour * np.linspace(-0.5, 0.5, count)
    tune = np.interp(np.arange(size), (edges[:-1] + edges[1:]) / 2, melody)
    pitch = speaker.pitch * 2 ** ((style.pitch + rng.normal(0, 0.8) + tune) / 12)
    pulses = sawtooth(2 * np.pi * np.cumsum(pitch) / RATE)
    source = (1 - style.breath) * pulses + 0.3 * style.breath * rng.normal(0, 1, size)
    sound, envelope, state = np.zeros(size), np.zeros(size), np.zeros((3, 2))
    for first, last in itertools.pairwise(edges.tolist()):
        loud = np.clip(rng.normal(1, 0.6 * style.stress), 0.25, 1.9)
        envelope[first:last] = loud * np.sin(np.linspace(0, np.pi, last - first)) ** 0.7
        formants = _resonators(VOWELS[rng.integers(len(VOWELS))] * speaker.tract)
        sound[first:last], state = sosfilt(formants, source[first:last], zi=state)
    sound = lfilter([1.0, -style.bright], [1.0], sound) * envelope
    level = 10 ** ((NOMINAL_DB + style.gain + rng.normal(0, 1.8)) / 20)
    samples = np.tanh(level * sound / (np.sqrt(np.mean(sound**2)) + 1e-9))
    return samples, np.clip(envelope, 0, 1)


def mix(voice: Signal, rng: np.random.Generator, *, surround: bool) -> NDArray[np.float32]:
    """A voice in a room, shape (n_samples, 2) or (n_samples, 6), within [-1, 1].

    In 5.1 (front left, front right, centre, low frequency, back left, back right) the voice
    is in the centre only, as it is on television.
    """
    level = 10 ** ((NOMINAL_DB - rng.uniform(*SNR_DB)) / 20)
    channels = 6 if surround else 2
    noise = lfilter([1.0], [1.0, -0.92], rng.normal(0, 1, (len(voice), channels)), axis=0)
    sound = level * noise / (noise.std() + 1e-9)
    if surround:
        sound[:, 2], sound[:, 3] = voice, 0
    else:
        lean = rng.uniform(0.85, 1.15)
        sound += voice[:, None] * (lean, 2 - lean)
    return np.asarray(np.clip(sound, -0.99, 0.99), dtype=np.float32)


def _resonators(formants: Signal) -> Signal:
    """The vocal tract as second-order sections, one per formant, shape (3, 6)."""
    radius = np.exp(-np.pi * BANDWIDTHS / RATE)
    poles = np.stack([radius**0, -2 * radius * np.cos(2 * np.pi * formants / RATE), radius**2], 1)
    return np.hstack([poles.sum(axis=1, keepdims=True), np.zeros((3, 2)), poles])


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
    spoken, envelope = speak(speaker, style, syllables, line.seconds, rng)
    sound = mix(spoken, rng, surround=line.surround)
    moments = ((np.arange(line.frames) + 0.5) / float(line.rate) * RATE).astype(np.int64)
    talk = envelope[np.minimum(moments, len(envelope) - 1)]
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
            ffmpeg.input(str(heard), format="f32le", ar=RATE, ch_layout=layout),
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
