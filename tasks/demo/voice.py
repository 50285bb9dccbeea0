"""The voices of the demo: pulses through formant resonators, shaped by the emotion."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, sawtooth, sosfilt

from meldflow.tasks.demo.material import Speaker, Style

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


class Voice(NamedTuple):
    """What one utterance sounds like, before it is mixed into channels; all shape (n_samples,)."""

    samples: Signal  # RATE per second
    envelope: Signal  # how far the mouth is open, 0..1
    pitch: Signal  # fundamental frequency, Hz, also where nothing is heard


def speak(
    speaker: Speaker, style: Style, count: int, seconds: float, rng: np.random.Generator
) -> Voice:
    """An utterance of ``count`` syllables that fills ``seconds`` but for a margin."""
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
    return Voice(samples=samples, envelope=np.clip(envelope, 0, 1), pitch=pitch)


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
