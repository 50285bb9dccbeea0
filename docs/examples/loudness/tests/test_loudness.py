from __future__ import annotations

import numpy as np
import pytest
from meldflow_loudness import Loudness

from meldflow import NO_WEIGHTS, Missing, Reason, testing
from meldflow.models.schema.media import Audio, Media


@pytest.mark.parametrize("law", [*testing.LAWS, testing.parameters(floor=-10.0)])
def test_laws(law: testing.Law) -> None:
    law(Loudness(weights=NO_WEIGHTS), testing.example_media())


def measured(samples: np.ndarray) -> dict[str, np.ndarray] | Missing:
    nothing = Missing(reason=Reason.MISSING_FILE)
    sound = Audio(samples=samples.astype(np.float32))
    ready = Loudness(weights=NO_WEIGHTS).setup("cpu")
    (record,) = ready.extract([Media(audio=sound, video=nothing, text=nothing)])
    return record


def test_twice_the_amplitude_is_six_decibels_louder() -> None:
    sine = 0.25 * np.sin(2 * np.pi * 997 * np.arange(16000) / 16000)
    quiet, loud = measured(sine), measured(2 * sine)
    for array in ("whole", "blocks"):
        np.testing.assert_allclose(loud[array] - quiet[array], 6.02, atol=0.01)


def test_silence_is_a_reason() -> None:
    assert measured(np.zeros(16000)).reason == Reason.SILENT
