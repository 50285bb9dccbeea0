"""Both networks train on a GPU, in mixed precision too, and a training repeats itself there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from meldflow.models.judging.protocols import PROTOCOLS, divide
from meldflow.models.networks.common import Fitted, Precision
from tests.gpu import DEVICE
from tests.models.networks import test_fusion, test_reference
from tests.models.tables import make_table

pytestmark = pytest.mark.gpu

EPOCHS = 4


def fusion(precision: Precision) -> Fitted:
    config = replace(test_fusion.CONFIG, epochs=EPOCHS, device=DEVICE, precision=precision)
    return test_fusion.fitted(make_table(), config)


def reference(precision: Precision) -> Fitted:
    table = make_table()
    config = replace(test_reference.QUICK, epochs=EPOCHS, device=DEVICE, precision=precision)
    return test_reference.fitted(table, divide(table, PROTOCOLS["official"]), config)


NETWORKS = pytest.mark.parametrize("train", [fusion, reference])


@NETWORKS
@pytest.mark.parametrize("precision", get_args(Precision))
def test_it_learns(train: Callable[[Precision], Fitted], precision: Precision) -> None:
    if (DEVICE, precision, train) == ("cpu", "16-mixed", reference):
        pytest.skip("not every torch has an LSTM in float16 on the CPU")
    losses = [epoch.train_loss for epoch in train(precision).history]
    assert losses[-1] < losses[0]


@NETWORKS
def test_the_same_seed_gives_the_same_bits(train: Callable[[Precision], Fitted]) -> None:
    one, other = train("32-true"), train("32-true")
    np.testing.assert_array_equal(one.said.logits, other.said.logits)
    for name, values in one.state.items():
        np.testing.assert_array_equal(values, other.state[name])
