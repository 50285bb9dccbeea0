"""``audio/librosa``: acoustic descriptors every 20 ms, their statistics, and the tempo.

McFee et al., "librosa: Audio and Music Signal Analysis in Python", SciPy 2015.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from meldflow.models.extractors.librosa.compiled import compiling
from meldflow.models.extractors.librosa.pitch import PITCH
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Modality, Reason

_N_MFCC, _N_MELS, _N_FFT = 25, 40, 512
COLUMNS = (*(f"mfcc_{i}" for i in range(_N_MFCC)), "centroid", "zcr", "f0", "voiced", "rms")
"""Descriptors of a frame; centroid and f0 in Hz, zcr and voiced as shares, rms of full scale."""
STATS = ("mean", "std", "min", "max", "q25", "q50", "q75")
_SHORTEST_TEMPO = 1.0
"""Seconds below which a tempo means nothing."""
_FLOOR = 1e-8
"""Power below a frame's loudest mel band, 80 dB, that counts as none: what lies there was left by a
resampler or a codec, above 4 kHz in sound of 8 kHz."""


@dataclass(frozen=True, kw_only=True)
class Descriptors(Extractor):
    """MFCC, spectral centroid, zero crossings, pitch, voicing and loudness on 25 ms frames.

    Frames lie where wav2vec 2.0 has its own: the i-th is about samples [320 i, 320 i + 400). Each
    loses its mean first, so that a sound card's offset changes nothing.
    """

    f0: Literal["autocorrelation", "pyin"] = "autocorrelation"
    """How pitch is found: ``autocorrelation`` (Boersma's, as in Praat) or ``pyin`` (librosa's)."""
    fmin: float = 60.0
    """Lowest pitch, Hz."""
    fmax: float = 600.0
    """Highest pitch, Hz."""
    decoding: DecodeOptions = field(default_factory=DecodeOptions)
    """How the clip is decoded."""

    def __post_init__(self) -> None:
        """Refuses a method or a range of pitch that cannot be used (``ValueError``)."""
        if self.f0 not in PITCH:
            raise ValueError(f"f0 is {self.f0!r}, known: {', '.join(PITCH)}")
        if not 32 <= self.fmin < self.fmax <= self.decoding.sample_rate / 4:
            raise ValueError(f"pitch from {self.fmin} to {self.fmax} Hz cannot be found")

    @property
    def spec(self) -> FeatureSpec:
        """Frames (n_frames, 30) at 50/s, statistics (210,), tempo () in beats per minute."""
        stats = tuple(f"{name}_{stat}" for name, stat in product(COLUMNS, STATS))
        return FeatureSpec(
            name="audio/librosa",
            modality=Modality.AUDIO,
            version=2,
            arrays=(
                ArraySpec(
                    name="frames",
                    dims=("frame", "descriptor"),
                    shape=(len(COLUMNS),),
                    dtype="float32",
                    rate=50.0,
                    may_be_nan=True,
                    columns=COLUMNS,
                    long_name="acoustic descriptors of 20 ms",
                ),
                ArraySpec(
                    name="stats",
                    dims=("statistic",),
                    shape=(len(stats),),
                    dtype="float32",
                    may_be_nan=True,
                    columns=stats,
                    long_name="statistics of the descriptors over the utterance",
                ),
                ArraySpec(
                    name="tempo",
                    dims=(),
                    shape=(),
                    dtype="float32",
                    may_be_nan=True,
                    units="min-1",
                    long_name="tempo in beats per minute",
                ),
            ),
            weights=self.weights,
            parameters={
                "f0": self.f0,
                "fmin": self.fmin,
                "fmax": self.fmax,
                "n_mfcc": _N_MFCC,
                "n_mels": _N_MELS,
                **self.decoding.audio_parameters,
            },
            resource="cpu",
        )

    def lengths(self, media: Media) -> dict[str, int]:
        """Frames that fit into the sound."""
        if isinstance(media.audio, Missing):
            return {}
        return {"frames": frames_in(media.audio.samples.size)}

    def load(self, device: str) -> Any:
        """Nothing but librosa, warmed up: its first call compiles and imports for seconds."""
        noise = np.random.default_rng(0).normal(0, 0.1, 2 * self.decoding.sample_rate)
        with compiling(f"descriptors {self.f0}"):
            self._describe(noise.astype(np.float32))
        return True

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """Descriptors of every clip; ``too_short`` below 400 samples (25 ms)."""
        clips = [one.audio.samples for one in media if not isinstance(one.audio, Missing)]
        return [self._describe(samples) for samples in clips]

    def _describe(self, samples: NDArray[np.float32]) -> Features | Missing:
        if samples.size < FRAME:
            message = f"{samples.size} samples, the first frame needs {FRAME}"
            return Missing(reason=Reason.TOO_SHORT, message=message)
        rate = self.decoding.sample_rate
        columns, mel = _columns(samples, rate)
        f0 = PITCH[self.f0](samples, rate, self.fmin, self.fmax)
        frames = np.column_stack([*columns[:-1], f0, ~np.isnan(f0), columns[-1]])
        return {"frames": frames, "stats": statistics(frames), "tempo": _tempo(mel, samples, rate)}


def statistics(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seven statistics of each column without its NaN, shape (n_columns * 7,).

    A column that is nowhere defined has NaN for all of them.
    """
    rows = np.full((frames.shape[1], len(STATS)), np.nan)
    for row, column in zip(rows, frames.T, strict=True):
        values = column[~np.isnan(column)]
        if values.size:
            quartiles = np.quantile(values, (0.25, 0.5, 0.75))
            row[:] = (values.mean(), values.std(), values.min(), values.max(), *quartiles)
    return rows.ravel()


def _columns(
    samples: NDArray[np.float32], rate: int
) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
    """MFCC, centroid, zero crossings and rms of the frames, and their log-mel spectrum."""
    import librosa

    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    window = librosa.filters.get_window("hann", FRAME).astype(np.float32)
    spectrum = np.abs(scipy.fft.rfft(frames * window, _N_FFT)).T
    mel = librosa.feature.melspectrogram(S=spectrum**2, sr=rate, n_mels=_N_MELS)
    # Relative to the frame's own loudness, not the clip's: a frame depends on itself only.
    mel = librosa.power_to_db(np.maximum(mel, _FLOOR * mel.max(axis=0)), top_db=None)
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=_N_MFCC)
    centroid = librosa.feature.spectral_centroid(S=spectrum, sr=rate, n_fft=_N_FFT)
    crossings = librosa.zero_crossings(frames, axis=1, pad=False).mean(axis=1)
    rms = np.sqrt(np.mean(frames**2, axis=1))
    return [*mfcc, centroid[0], crossings, rms], mel


def _tempo(mel: NDArray[np.float32], samples: NDArray[np.float32], rate: int) -> NDArray[Any]:
    """Beats per minute by the autocorrelation of the onset strength, shape ()."""
    import librosa

    if samples.size < _SHORTEST_TEMPO * rate:
        return np.array(np.nan)
    onsets = librosa.onset.onset_strength(S=mel, sr=rate, hop_length=HOP, center=False)
    if not onsets.any():
        return np.array(np.nan)
    tempo = librosa.feature.tempo(onset_envelope=onsets, sr=rate, hop_length=HOP)
    return np.array(tempo[0])
