"""From stored features to the reference network's five inputs, by fixed documented rules.

Each feature is standardised by the fit rows' mean and deviation; a missing value then
becomes 0, the fit rows' mean. Vectors of another length than 512 are brought there without
learning anything: longer ones by a seeded Gaussian random projection, which nearly keeps
distances (Johnson & Lindenstrauss 1984; ``sklearn.random_projection``), shorter ones by
zeros at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from meldflow.models.judging.protocols import Ledger
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.reference.config import ReferenceConfig
from meldflow.models.networks.scaling import finite
from meldflow.models.schema.errors import UsageError

WIDTH = 512
REPEATS = 5
"""The five scalars are repeated (a, b, c, d, e, a, b, ...) to the published length of 25."""
N_MFCC = 25
STATS = "audio/librosa/stats"
SCALARS = ("centroid", "zcr", "rms", "tempo", "f0")
"""Spectral centroid (Hz), zero-crossing rate, RMS, tempo (beats/min), pitch (Hz): means."""
_BLOCK = 512
"""Utterances of video averaged at a time: 2048-wide f16 frames must not all become f32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The network's inputs for every row of a table, finite, float32."""

    values: Mapping[str, NDArray[np.float32]]
    """Input name, as in ``network.Vectors`` → values of every row, shape (n, 512) or (n, 25)."""
    scalers: Mapping[str, StandardScaler]
    """Input name → its fitted scaler; an input without a single fit row has none."""

    def flat(self) -> NDArray[np.float32]:
        """All inputs side by side, shape (n, 1586): what an SVM without a network sees."""
        return np.concatenate([self.values[name] for name in SOURCES], axis=1)


def prepare(
    table: FeatureTable, rows: NDArray[np.intp], ledger: Ledger, config: ReferenceConfig
) -> Inputs:
    """Inputs of every row of ``table``; scalers see ``rows`` only, entered into the ledger.

    Raises:
        LeakError: ``rows`` holds a row outside the protocol's fit split.
        UsageError: the stored librosa statistics lack a descriptor.
    """
    raw = raw_inputs(table)
    scalers: dict[str, StandardScaler] = {}
    for name, values in raw.items():
        usable = rows[np.isfinite(values[rows]).any(axis=1)]
        if len(usable):
            ledger.enter("fit", f"StandardScaler({SOURCES[name]})", usable)
            # A column without any value keeps a NaN mean, so that it is 0 in every row.
            with np.errstate(invalid="ignore"):
                scalers[name] = StandardScaler().fit(finite(values[usable]))
    arranged = arrange(raw, scalers, config.projection_seed)
    return Inputs(values=arranged, scalers=scalers)


def raw_inputs(table: FeatureTable) -> dict[str, NDArray[np.float32]]:
    """Input name → stored values of every row, NaN where missing, at their own widths.

    Raises:
        UsageError: the stored librosa statistics lack a descriptor.
    """
    return {
        "voice": _matrix(table, "audio/wav2vec2/mean", 768),
        "mfcc": _stats(table, [f"mfcc_{i}_mean" for i in range(N_MFCC)]),
        "scalars": _scalars(table),
        "text": _matrix(table, "text/minilm/embedding", 384),
        "video": mean_of_frames(table),
    }


def arrange(
    raw: Mapping[str, NDArray[np.float32]], scalers: Mapping[str, StandardScaler], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Scaled inputs at the network's widths: 512, or 25 for MFCC and scalars."""
    scaled = {name: standardise(values, scalers.get(name)) for name, values in raw.items()}
    wide = {name: to_width(scaled[name], seed) for name in ("voice", "text", "video")}
    return scaled | wide | {"scalars": np.tile(scaled["scalars"], (1, REPEATS))}


SOURCES: Mapping[str, str] = {
    "voice": "audio/wav2vec2/mean",
    "mfcc": "audio/librosa/stats: mfcc",
    "scalars": "audio/librosa: centroid, zcr, rms, tempo, f0",
    "text": "text/minilm/embedding",
    "video": "video/resnet50/features, mean of frames",
}
"""Input → the stored features that it is made of."""


def mean_of_frames(table: FeatureTable) -> NDArray[np.float32]:
    """Mean over each clip's valid frames, shape (n, 2048); NaN for a clip without any."""
    if "video/resnet50/features" not in table.features:
        return np.full((len(table), 2048), np.nan, dtype=np.float32)
    frames = table.taken("video/resnet50/features")
    means = np.empty((len(table), frames.shape[2]), dtype=np.float32)
    for start in range(0, len(table), _BLOCK):
        block = np.asarray(frames[start : start + _BLOCK], dtype=np.float32)
        valid = np.asarray(np.isfinite(block).all(axis=2))
        total = np.where(valid[:, :, None], block, 0).sum(axis=1)
        count = valid.sum(axis=1, keepdims=True).astype(np.float32)
        means[start : start + _BLOCK] = np.divide(
            total, count, out=np.full_like(total, np.nan), where=count > 0
        )
    return means


def standardise(values: NDArray[np.float32], scaler: StandardScaler | None) -> NDArray[np.float32]:
    """Scaled ``values`` with 0 where there is none, shape unchanged; all 0 without a scaler."""
    if scaler is None:
        return np.zeros_like(values)
    scaled = scaler.transform(finite(values))
    return np.asarray(np.nan_to_num(scaled, nan=0.0), dtype=np.float32)


def to_width(values: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """``values`` at width 512: projected at random if wider, zero-padded if narrower.

    The projection depends on the seed and the two widths alone, never on the values.
    """
    n, width = values.shape
    if width <= WIDTH:
        return np.pad(values, ((0, 0), (0, WIDTH - width)))
    projection = GaussianRandomProjection(WIDTH, random_state=seed)
    projection.fit(np.zeros((1, width), dtype=np.float32))  # reads the shape only
    return np.asarray(projection.transform(values), dtype=np.float32).reshape(n, WIDTH)


def _matrix(table: FeatureTable, path: str, width: int) -> NDArray[np.float32]:
    values = table.features.get(path)
    if values is None:
        return np.full((len(table), width), np.nan, dtype=np.float32)
    return np.asarray(values, dtype=np.float32)


def _stats(table: FeatureTable, names: list[str]) -> NDArray[np.float32]:
    """The named librosa statistics, shape (n, len(names))."""
    values = _matrix(table, STATS, len(names))
    if STATS not in table.features:
        return values
    known = {name: i for i, name in enumerate(table.columns.get(STATS, ()))}
    absent = [name for name in names if name not in known]
    if absent:
        raise UsageError(f"snapshot {table.snapshot}: {STATS} has no column {absent[0]}")
    return values[:, [known[name] for name in names]]


def _scalars(table: FeatureTable) -> NDArray[np.float32]:
    """The five scalars in the order of ``SCALARS``, shape (n, 5)."""
    four = _stats(table, [f"{name}_mean" for name in SCALARS if name != "tempo"])
    tempo = _matrix(table, "audio/librosa/tempo", 1).reshape(len(table))
    return np.insert(four, SCALARS.index("tempo"), tempo, axis=1)
