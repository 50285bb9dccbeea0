"""Models that earlier releases saved are read, and say what they said.

``saved`` holds context fusion on text, of width 8, trained on 75 made-up lines by the last
release whose packages were called ``models`` and ``tasks``, and what it said of three others.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meldflow.tasks.training.predict.predictor import load_predictor
from meldflow.tasks.training.predict.records import Given

SAVED = Path(__file__).with_name("saved")


def test_a_model_of_an_earlier_release_says_what_it_said() -> None:
    predictor = load_predictor(SAVED)
    for one in json.loads((SAVED / "said.json").read_text()):
        found = predictor.predict(Given(text=one["text"], speaker=one["speaker"]))
        assert found.label == one["label"]
        for classifier, probabilities in one["by"].items():
            assert found.by[classifier] == pytest.approx(probabilities, abs=1e-4)
