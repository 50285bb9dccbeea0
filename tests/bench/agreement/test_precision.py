"""How rows of features are compared, on values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.agreement.precision import deviation


def test_deviation_by_hand() -> None:
    reference = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    found = np.array([[3.0, 4.0], [1.0, 1.0], [0.0, 5.0]])
    one = deviation("rows", found, reference)
    assert (one.array, one.rows, one.largest) == ("rows", 3, 3.0)
    assert one.lowest == pytest.approx(np.sqrt(0.5))
    assert one.median == pytest.approx(1.0)
    # The third row with the first, the first with the second, the second with the third.
    assert one.chance == pytest.approx(np.median([0.8, 0.6, 0.0]))
    # A fiftieth of the way from the lowest to the next one.
    assert one.percentile == pytest.approx(np.sqrt(0.5) + 0.02 * (1 - np.sqrt(0.5)))
