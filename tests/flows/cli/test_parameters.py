"""The parameters of commands become those of the flows, all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.flows.cli.parameters import extraction, takes, training


def test_every_option_of_training_arrives() -> None:
    given = {
        "store": "a",
        "report": Path("b"),
        "protocol": "leaky-80-20",
        "network": "fusion",
        "modalities": "text",
        "target": "sentiment",
        "seed": 3,
        "seeds": 2,
        "ablations": False,
        "epochs": 7,
        "tracking": "none",
        "causal": True,
        "device": "auto",
        "training_precision": "bf16-mixed",
    }
    options = training(**given).model_dump(exclude={"snapshot"})  # type: ignore[arg-type]
    assert options == {
        **{name: value for name, value in given.items() if name != "training_precision"},
        "modalities": ("text",),
        "precision": "bf16-mixed",
    }


def test_backend_and_precision_of_extraction_arrive() -> None:
    options = extraction(Path("data"), backend="torch", precision="bf16")
    assert (options.backend, options.precision) == ("torch", "bf16")


def test_parameters_of_one_name_have_to_be_one() -> None:
    def left(size: int = 1) -> int:
        return size

    def right(size: int = 2) -> int:
        return size

    with pytest.raises(TypeError, match="two different parameters called size"):

        @takes(a=left, b=right)
        def command(a: int, b: int) -> None:
            pass
