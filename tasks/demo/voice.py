"""The voices of the demo: glottal pulses through formant resonators, shaped by the emotion."""

from __future__ import annotations

import itertools
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from meldflow.tasks.demo.cast import Speaker

Signal = NDArray[np.float64]

RATE = 24_000
"""Samples per second; the encoder resamples to MELD's 48 kHz."""
NOMINAL_DB = -21.0
"""Level of a neutral voice, dB below full scale."""
MARGIN = 0.12
"""Silence before and after the words, seconds."""
BANDWIDTHS = (90.0, 120.0, 180.0)
"""Of the three formants, Hz."""
VOWELS = np.array(
    [
        (730, 1090, 2440),
        (530, 1840, 2480),
        (270, 2290, 3010),
        (570, 840, 2410),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    ],
    dtype=np.float64,
)
"""Formant frequencies of seven vowels for a vocal tract of factor one, Hz, shape (7, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceStyle:
    """How an emotion at full strength sounds."""

    pitch: float
    """Mean pitch against the speaker's own, semitones."""
    accent: float
    """Standard deviation of the syllables' pitch, semitones."""
    contour: float
    """Change of pitch from the first to the last syllable, semitones."""
    gain: float
    """Level against a neutral voice, dB."""
    syllable_rate: float
    """Syllables per second."""
    breath: float
    """Share of aspiration noise, 0..1."""
    jitter: float
    """Irregularity of the pulses, relative standard deviation of the period."""
    tremor: float
    """Depth of a 7 Hz tremble of the pitch, semitones."""
    bright: float
    """Pre-emphasis that lifts the high frequencies, 0..0.95."""
    stress: float
    """Contrast between loud and soft syllables, 0..1."""


def _style(*values: float) -> VoiceStyle:
    return VoiceStyle(**dict(zip(VoiceStyle.__dataclass_fields__, values, strict=True)))


STYLES: dict[str, VoiceStyle] = {
    #                  pitch accent contour gain rate breath jitter tremor bright stress
    "neutral": _style(0.0, 1.3, -2.0, 0.0, 4.6, 0.08, 0.006, 0.0, 0.30, 0.30),
    "surprise": _style(6.0, 4.0, 7.0, 3.5, 4.9, 0.14, 0.008, 0.0, 0.45, 0.50),
    "fear": _style(4.5, 1.2, 1.0, -2.5, 5.9, 0.45, 0.030, 1.3, 0.55, 0.15),
    "sadness": _style(-2.5, 0.6, -3.0, -7.0, 3.4, 0.32, 0.012, 0.4, 0.02, 0.10),
    "joy": _style(3.5, 3.2, 1.0, 4.5, 5.2, 0.08, 0.006, 0.2, 0.50, 0.55),
    "disgust": _style(-3.5, 2.2, -6.0, 0.5, 3.6, 0.16, 0.050, 0.0, 0.15, 0.60),
    "anger": _style(1.5, 2.2, -4.0, 8.0, 5.3, 0.03, 0.022, 0.0, 0.80, 0.70),
}
"""The table that the rest of this module turns into sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """What one utterance sounds like, before it is mixed into channels."""

    samples: Signal
    """Mono, shape (n_samples,), RATE per second."""
    envelope: Signal
    """How far the mouth is open, 0..1, shape (n_samples,)."""
    pitch: Signal
    """Fundamental frequency at every sample, Hz, also where nothing is heard, shape
    (n_samples,)."""


def blend(emotion: str, strength: float) -> VoiceStyle:
    """The style between neutral (0) and the emotion's own (1)."""
    rest, full = np.array(astuple(STYLES["neutral"])), np.array(astuple(STYLES[emotion]))
    return _style(*(rest + strength * (full - rest)).tolist())


def speak(
    speaker: Speaker, style: VoiceStyle, count: int, seconds: float, rng: np.random.Generator
) -> Voice:
    """An utterance of ``count`` syllables that fills ``seconds`` but for a margin."""
    size = round(seconds * RATE)
    edges = _syllable_edges(count, size, rng)
    loudness = np.clip(1 + style.stress * rng.normal(0, 0.6, count), 0.25, 1.9)
    envelope = _envelope(edges, loudness, size)
    pitch = _unsteady(_pitch(speaker, style, edges, size, rng), style.jitter, rng)
    pulses = _glottal(pitch)
    noise = rng.normal(0, 1, size)
    source = (1 - style.breath) * pulses + 0.5 * style.breath * noise
    sound = _formants(source, edges, speaker.tract, rng)
    sound = lfilter([1.0, -style.bright], [1.0], sound) * envelope
    sound /= np.sqrt(np.mean(sound**2)) + 1e-9
    sound += _consonants(edges, size, rng)
    level = NOMINAL_DB + style.gain + rng.normal(0, 1.8)
    samples = np.tanh(sound * 10 ** (level / 20))
    return Voice(samples=samples, envelope=np.clip(envelope, 0, 1), pitch=pitch)


def _syllable_edges(count: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample positions of the syllables' borders, shape (count + 1,); the last one is drawn out."""
    lengths = rng.lognormal(0, 0.25, count)
    lengths[-1] *= 1.4
    margin = min(round(MARGIN * RATE), size // 5)
    steps = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    edges: NDArray[np.int64] = np.round(margin + steps * (size - 2 * margin)).astype(np.int64)
    return edges


def _envelope(edges: NDArray[np.int64], loudness: Signal, size: int) -> Signal:
    """One smooth bump per syllable, shape (size,)."""
    envelope = np.zeros(size)
    for first, last, loud in zip(edges[:-1], edges[1:], loudness, strict=True):
        envelope[first:last] = loud * np.sin(np.linspace(0, np.pi, last - first)) ** 0.7
    return envelope


def _pitch(
    speaker: Speaker,
    style: VoiceStyle,
    edges: NDArray[np.int64],
    size: int,
    rng: np.random.Generator,
) -> Signal:
    """Fundamental frequency at every sample, Hz, shape (size,)."""
    centres = (edges[:-1] + edges[1:]) / 2
    accents = rng.normal(0, style.accent, len(centres))
    accents += np.linspace(-0.5, 0.5, len(centres)) * style.contour
    if len(centres) == 1:
        centres = np.array([edges[0], edges[1]], dtype=np.float64)
        accents = np.array([-0.5, 0.5]) * style.contour
    time = np.arange(size)
    semitones = np.interp(time, centres, accents) + style.pitch + rng.normal(0, 0.8)
    semitones += style.tremor * np.sin(2 * np.pi * 7 * time / RATE + rng.uniform(0, 6))
    return np.asarray(speaker.pitch * 2 ** (semitones / 12), dtype=np.float64)


def _unsteady(pitch: Signal, jitter: float, rng: np.random.Generator) -> Signal:
    """The pitch with the irregularity of the pulses, shape (size,)."""
    steps = max(2, len(pitch) // 120)
    wobble = np.interp(
        np.arange(len(pitch)), np.linspace(0, len(pitch), steps), rng.normal(0, jitter * 3, steps)
    )
    return np.asarray(pitch * (1 + wobble), dtype=np.float64)


def _glottal(pitch: Signal) -> Signal:
    """Differentiated glottal flow with an open quotient of 0.6, unit variance, shape (size,)."""
    phase = np.cumsum(pitch / RATE) % 1.0
    opening = np.clip(phase / 0.4, 0, 1)
    closing = np.clip((phase - 0.4) / 0.2, 0, 1)
    flow = 0.5 * (1 - np.cos(np.pi * opening)) * np.cos(0.5 * np.pi * closing)
    pulses = np.diff(flow, prepend=flow[0])
    return np.asarray(pulses / (pulses.std() + 1e-9), dtype=np.float64)


def _formants(
    source: Signal, edges: NDArray[np.int64], tract: float, rng: np.random.Generator
) -> Signal:
    """The source through three resonators, whose vowel changes at the syllables' soft borders."""
    sound = np.zeros_like(source)
    states = [np.zeros(2) for _ in BANDWIDTHS]
    for first, last in itertools.pairwise(edges):
        vowel = VOWELS[rng.integers(len(VOWELS))] * tract
        part = source[first:last]
        for place, (centre, width) in enumerate(zip(vowel, BANDWIDTHS, strict=True)):
            radius = np.exp(-np.pi * width / RATE)
            poles = [1.0, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2]
            part, states[place] = lfilter([sum(poles)], poles, part, zi=states[place])
        sound[first:last] = part
    return sound


def _consonants(edges: NDArray[np.int64], size: int, rng: np.random.Generator) -> Signal:
    """Short hisses where some syllables begin, shape (size,)."""
    hiss = np.zeros(size)
    for first in edges[:-1]:
        length = round(rng.uniform(0.02, 0.09) * RATE)
        burst = hiss[max(0, first - length // 2) : first + length // 2]
        if rng.random() < 0.55 and len(burst) > 8:
            shape = np.sin(np.linspace(0, np.pi, len(burst)))
            burst += 0.5 * shape * np.diff(rng.normal(0, 1, len(burst)), prepend=0)
    return hiss
