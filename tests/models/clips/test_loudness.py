"""The loudness of sounds whose level is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meldflow.models.clips.loudness import loudness

RATE = 16_000


def tone(seconds: float, peak: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    time = np.arange(int(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * 997 * time)).astype(np.float32)


@pytest.mark.parametrize("peak", [1.0, 0.1, 0.01])
def test_a_tone_is_as_loud_as_the_standard_says(peak: float) -> None:
    """BS.1770: a sine of 997 Hz at full scale has -3.01 LUFS."""
    assert loudness(tone(3, peak), RATE) == pytest.approx(-3.01 + 20 * math.log10(peak), abs=0.3)


def test_pauses_do_not_count() -> None:
    speech = np.concatenate([tone(3, 0.1), np.zeros(9 * RATE, np.float32)])
    assert loudness(speech, RATE) == pytest.approx(loudness(tone(3, 0.1), RATE), abs=0.5)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.0])
def test_no_sound_has_no_loudness(seconds: float) -> None:
    assert math.isnan(loudness(tone(seconds, 0.0), RATE))
