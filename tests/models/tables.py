"""Feature tables drawn at random, for tests of training and of the report."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from meldflow.models.judging.table import FeatureTable
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.models.training.fit import fit_unit
from meldflow.models.training.networks import Config
from meldflow.models.training.run import Trained, plan

DESCRIPTORS = (*(f"mfcc_{i}" for i in range(25)), "centroid", "zcr", "f0", "voiced", "rms")
STATS = tuple(
    f"{name}_{stat}"
    for name in DESCRIPTORS
    for stat in ("mean", "std", "min", "max", "q25", "q50", "q75")
)
SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "audio/wav2vec2/mean": ((768,), "f4"),
    "audio/librosa/stats": ((210,), "f4"),
    "audio/librosa/tempo": ((), "f4"),
    "video/resnet50/features": ((10, 2048), "f2"),
    "text/minilm/embedding": ((384,), "f4"),
}
SHARES = (0.40, 0.13, 0.06, 0.09, 0.17, 0.05, 0.10)
"""How common each emotion is, about as in MELD."""


@lru_cache(maxsize=8)
def make_table(
    sizes: tuple[int, int, int] = (90, 30, 40),
    *,
    seed: int = 0,
    signal: float = 1.0,
    missing: float = 0.0,
    without: tuple[str, ...] = (),
    weights: str = "pretrained",
) -> FeatureTable:
    """Gaussian features around a centre per emotion, ``signal`` deviations from the origin.

    Kept for the next caller with the same wishes: copy before changing an array.
    """
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    # One of each emotion per split as far as it goes, so that none is absent by chance.
    labels = np.concatenate(
        [
            np.append(np.arange(7)[:size], rng.choice(7, max(size - 7, 0), p=SHARES))
            for size in sizes
        ]
    )
    features = {}
    for path, (shape, dtype) in SHAPES.items():
        if path.rpartition("/")[0] in without:
            continue
        centres = signal * rng.normal(size=(7, *shape[-1:]))[labels]
        centres = centres[:, None, :] if len(shape) == 2 else centres
        values = (centres + rng.standard_normal((n, *shape), dtype=np.float32)).astype(dtype)
        values[rng.random(n) < missing] = np.nan
        features[path] = values
    extractors = sorted({path.rpartition("/")[0] for path in features})
    return FeatureTable(
        snapshot="4K7QW2",
        store="file:///tmp/store",
        keys={name: f"{name}@1#0123456789ab+rev" for name in extractors},
        weights={name: "none" if name == "audio/librosa" else weights for name in extractors},
        split=np.repeat(["train", "dev", "test"], sizes),
        dialogue=np.arange(n) // 8,
        utterance=np.arange(n) % 8,
        speaker=np.resize(["Ross", "Joey"], n),
        text=np.array([f"line {i}" for i in range(n)]),
        label=np.array(EMOTIONS)[labels],
        features=features,
        columns={"audio/librosa/stats": STATS},
        missing={"audio/wav2vec2": {"too_short": 3}} if missing else {},
    )


def train(
    table: FeatureTable,
    config: Config,
    *,
    protocol: str = "official",
    seeds: int = 1,
    ablations: bool = False,
    **more: Any,
) -> Trained:
    """A training in this process, its fits one after another; ``more`` is for each of them."""
    planned = plan(table, config, protocol=protocol, seeds=seeds, ablations=ablations)
    known = ((unit, table.only(unit.modalities)) for unit in planned.units)
    return planned.conclude(
        {unit: fit_unit(some, unit, config, planned.rules, **more) for unit, some in known}
    )
