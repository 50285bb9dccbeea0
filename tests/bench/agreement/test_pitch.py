"""How contours of pitch are compared, on values worked out by hand, and what YIN is good for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bench.agreement.pitch import Compared, Heard, agreement, compare_pitch, tone, tones

NAN = math.nan


def test_agreement_by_hand() -> None:
    #           both   30 cents off       an octave   missed invented silent  not judged
    reference = [200.0, 200.0, 100.0, 100.0, 150.0, NAN, NAN, 100.0]
    found = [200.0, 200.0 * 2 ** (30 / 1200), 100.0 * 1.1, 200.0, NAN, 80.0, NAN, 400.0]
    judged = np.array([True] * 7 + [False])
    one = agreement(np.array(found), np.array(reference), judged)
    assert (one.frames, one.both_voiced) == (7, 4)
    assert one.voicing == pytest.approx(5 / 7)
    assert one.missed == pytest.approx(1 / 5)
    assert one.invented == pytest.approx(1 / 2)
    assert one.close == pytest.approx(2 / 4)
    tenth = 1200 * math.log2(1.1)
    assert one.cents == pytest.approx((30 + tenth) / 2)
    assert one.gross == pytest.approx(1 / 4)
    # Periods: 0.0, 0.09, 0.91 and 5 ms off.
    assert one.gross_period == pytest.approx(1 / 4)


def test_a_period_counts_in_milliseconds_and_a_pitch_in_shares() -> None:
    # 15 % at 70 Hz is 1.9 ms; 25 % at 400 Hz is 0.5 ms.
    reference = np.array([70.0, 400.0])
    one = agreement(reference * np.array([1.15, 1.25]), reference, np.array([True, True]))
    assert (one.gross, one.gross_period) == (0.5, 0.5)
    first = agreement(np.array([80.5]), np.array([70.0]), np.array([True]))
    assert (first.gross, first.gross_period) == (0.0, 1.0)


def test_nothing_in_common_has_no_shares() -> None:
    one = agreement(np.array([NAN, NAN]), np.array([100.0, NAN]), np.array([True, True]))
    assert (one.frames, one.both_voiced, one.missed, one.invented) == (2, 0, 1.0, 0.0)
    assert all(map(math.isnan, (one.close, one.cents, one.gross, one.gross_period)))


@pytest.fixture(scope="module")
def on_tones() -> dict[str, Compared]:
    # pYIN takes its time: every third tone.
    return {name: compare_pitch(name, sounds[::3]) for name, sounds in tones()}


def test_yin_keeps_its_published_agreement_on_tones(on_tones: dict[str, Compared]) -> None:
    for name, one in on_tones.items():
        yin = one.against_truth["yin"]
        assert yin.both_voiced > 75, name
        assert yin.voicing >= 0.99, name
        assert yin.gross == 0 if "10 dB" not in name else yin.gross <= 0.05, name
        assert yin.close >= 0.95, name
        assert yin.cents <= (15 if "10 dB" in name else 5), name
        assert one.between.close >= 0.9, name


def test_sounds_of_unknown_pitch_are_compared_between_the_methods_only() -> None:
    found = compare_pitch("unknown", [Heard(samples=tone(200.0, 10))])
    assert found.against_truth == {}
    assert (found.between.frames, found.seconds) == (29, 0.6)
    assert set(found.cpu_ms) == {"yin", "pyin"}
