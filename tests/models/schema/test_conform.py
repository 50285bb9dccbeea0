"""What of an extractor's values may be stored: nothing wraps, and nothing is rounded to a number
that means something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from meldflow.models.schema.features import ArraySpec, FeatureSpec, Record, Weights, conform
from meldflow.models.schema.media import Missing, Modality, Reason


def conformed(value: Any, dtype: str, *, may_be_nan: bool = False) -> Record:
    value = np.asarray(value)
    array = ArraySpec(
        name="v", dims=("n",) * value.ndim, shape=value.shape, dtype=dtype, may_be_nan=may_be_nan
    )
    spec = FeatureSpec(
        name="audio/v",
        modality=Modality.AUDIO,
        version=1,
        arrays=(array,),
        weights=Weights(kind="none", revision="none"),
    )
    return conform({"v": value}, spec)


@pytest.mark.parametrize(
    ("value", "dtype", "named"),
    [
        (np.int64(5_000_000_000), "int32", "5e+09"),
        (np.array([1, 5_000_000_000]), "int32", "5e+09"),
        (np.array([1.0, np.nan]), "int32", "nan"),
        (np.array([np.inf]), "int64", "inf"),
        (np.array([0, 300]), "uint8", "300"),
        (np.array([-1]), "uint8", "-1"),
        (np.array([-1]), "uint64", "-1"),
        (np.array([2.0**63]), "int64", "9.22337e+18"),
        (np.array([2.5]), "int32", "2.5"),
        (np.array([1e300]), "float32", "1e+300"),
        (np.array([1e300]), "float16", "1e+300"),
        (np.array([-70_000]), "float16", "-70000"),
        (np.array([1e300, np.inf]), "float32", "1e+300"),
    ],
)
@pytest.mark.parametrize("may_be_nan", [True, False])
def test_what_a_dtype_cannot_hold_is_overflow(
    value: Any, dtype: str, named: str, may_be_nan: bool
) -> None:
    found = conformed(value, dtype, may_be_nan=may_be_nan)
    assert isinstance(found, Missing)
    assert found.reason is Reason.OVERFLOW
    assert found.message == f"v holds {named}, which {dtype} cannot hold"


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([2**31 - 1, -(2**31)]), "int32"),
        (np.array([255.0, 0.0]), "uint8"),
        (np.array([65_504.0]), "float16"),
        (np.array([0.1]), "float32"),
        (np.float64(7), "int32"),
    ],
)
def test_what_it_can_hold_is_kept(value: Any, dtype: str) -> None:
    found = conformed(value, dtype)
    assert isinstance(found, dict)
    assert found["v"].dtype == dtype
    np.testing.assert_allclose(found["v"], value, rtol=1e-6)


def test_infinity_is_nowhere_and_nan_where_it_says_something() -> None:
    for value, may_be_nan, kept in (
        (np.nan, True, True),
        (np.nan, False, False),
        (np.inf, True, False),
    ):
        found = conformed([value, 1.0], "float32", may_be_nan=may_be_nan)
        assert isinstance(found, dict) is kept
        assert kept or (isinstance(found, Missing) and found.reason is Reason.NOT_FINITE)
