"""Fitted scalers as arrays, and back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler


def arrays_of(scalers: Mapping[str, StandardScaler]) -> dict[str, NDArray[np.float64]]:
    """Mean and scale of every scaler, as ``<name>.mean`` and ``<name>.scale``."""
    return {
        f"{name}.{what}": values
        for name, scaler in scalers.items()
        for what, values in (("mean", scaler.mean_), ("scale", scaler.scale_))
    }


def scalers_of(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, StandardScaler]:
    """The scalers that ``arrays_of`` took apart."""
    found: dict[str, StandardScaler] = {}
    for name in sorted({key.rpartition(".")[0] for key in arrays}):
        scaler = found[name] = StandardScaler()
        scaler.mean_, scaler.scale_ = arrays[f"{name}.mean"], arrays[f"{name}.scale"]
        scaler.var_, scaler.n_features_in_ = scaler.scale_**2, len(scaler.mean_)
    return found


def finite(values: NDArray[Any]) -> NDArray[np.float32]:
    """``values`` as float32, NaN where they are not finite."""
    found = values.astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found
