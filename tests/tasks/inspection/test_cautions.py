"""What is said of a clip whose channels cancel, and whose pictures start after its sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meldflow.tasks.inspection.inspect import look_into
from meldflow.tasks.inspection.rows import cautions, facts, to_json
from tests.media import Film, Track, noise, tone, write


def test_one_zero_and_one_channel(tmp_path: Path) -> None:
    mono = tone(220, 2.0)[None]
    track = Track(samples=np.concatenate([mono, -mono]), layout="stereo", codec="pcm_s16le")
    found = look_into(write(tmp_path / "a.mkv", [Film(frames=noise(12), start=1.0), track]))
    shown = to_json(found)
    for one in shown["chosen_frames"]:
        assert one["timestamp"] == pytest.approx(1 + one["index"] / 25, abs=2e-3)
    assert shown["modalities"]["audio"]["f0_median"] == pytest.approx(220, rel=0.02)
    assert facts(found)["Video stream"]["Starts at"] == "1.000 s"
    assert tuple(cautions(found)) == (
        "The pictures start 1.000 s later than the sound.",
        "The channels cancel each other: only number 0 is heard.",
    )
    crowded = replace(found, audio_facts=replace(found.audio_facts, overlaps=0.5))
    assert any(one.startswith("Sound of 0.500 s in all is left out") for one in cautions(crowded))
