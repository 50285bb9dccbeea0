"""How contours of pitch are compared, on values worked out by hand, and what ours is good for."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.bench import command
from tests.bench.pitch.contours import Agreement, agreement
from tests.bench.pitch.methods import METHODS, OURS
from tests.bench.pitch.sounds import made
from tests.real import SENTENCE

NAN = math.nan


def test_agreement_by_hand() -> None:
    #           both   30 cents off       an octave   missed invented silent  not judged
    reference = [200.0, 200.0, 100.0, 100.0, 150.0, NAN, NAN, 100.0]
    found = [200.0, 200.0 * 2 ** (30 / 1200), 100.0 * 1.1, 200.0, NAN, 80.0, NAN, 400.0]
    judged = np.array([True] * 7 + [False])
    one = agreement(np.array(found), np.array(reference), judged)
    assert one.frames == 7
    assert one.voicing == pytest.approx(2 / 7)
    assert one.missed == pytest.approx(1 / 5)
    assert one.invented == pytest.approx(1 / 2)
    assert one.gross == pytest.approx(1 / 4)
    assert one.cents == pytest.approx((30 + 1200 * math.log2(1.1)) / 2)
    assert one.mean == pytest.approx(np.nanmean(found[:7]) / np.nanmean(reference[:7]))


def test_nothing_in_common_has_no_shares() -> None:
    one = agreement(np.array([NAN, NAN]), np.array([100.0, NAN]), np.array([True, True]))
    assert (one.frames, one.missed, one.invented) == (2, 1.0, 0.0)
    assert all(map(math.isnan, (one.gross, one.cents, one.mean)))


@pytest.fixture(scope="module")
def against_truth() -> dict[str, Agreement]:
    """Of our method, by kind of made sound."""
    found = {}
    for name, sounds in made():
        contours = np.concatenate([METHODS[OURS](one.samples) for one in sounds])
        truths = [one.truth for one in sounds if one.truth is not None]
        judged = np.concatenate([one.judged for one in sounds])
        found[name] = agreement(contours, np.concatenate(truths), judged)
    return found


def test_what_is_known_is_found(against_truth: dict[str, Agreement]) -> None:
    for name, one in against_truth.items():
        if name.startswith("music") or name.endswith("as loud"):
            continue
        assert one.frames > 200, name
        assert (one.missed, one.gross) == (0, 0), name
        assert one.invented <= 0.005, name
        assert one.cents <= (12 if "creaky" in name else 2), name


def test_in_noise_as_loud_as_the_voice_most_is_found(against_truth: dict[str, Agreement]) -> None:
    for name in ("white noise as loud", "pink noise as loud", "rumble as loud", "hum as loud"):
        one = against_truth[name]
        assert one.voicing <= 0.06, name
        assert one.gross <= 0.25, name
        assert one.cents <= 20, name


@pytest.mark.slow
def test_the_bench_judges_recordings_by_their_reference_or_by_each_other(tmp_path: Path) -> None:
    speech = SENTENCE
    shutil.copy(speech, tmp_path / "known.wav")
    # A reference that says "never voiced": every voiced frame is invented.
    (tmp_path / "known.f0ref").write_text("0\n" * 500)
    found = command.measured("pitch", tmp_path, speech, cwd=tmp_path)
    rows = {row["name"]: row for row in found["pitch"]}
    unvoiced = rows[f"{tmp_path.name} (1 sentences): {OURS} / truth"]
    assert unvoiced["invented %"] == unvoiced["voicing %"] > 10
    assert rows[f"{speech.name}: {OURS} / praat"]["cents"] < 20
    (praat,) = (one for one in found["contours"] if one["name"].endswith("praat"))
    assert 60 < praat["mean"] < praat["max"] <= 600
    assert min(one["ms"] for one in found["cpu_ms_per_second"].values()) > 0


def test_what_cannot_be_heard_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no sound")
    for place, why in (("none.wav", "is not there"), (".", "nothing there can be heard")):
        wrong = command.run("pitch", place, cwd=tmp_path, code=2)
        assert f"pitch {place}: {why}" in wrong.stderr
