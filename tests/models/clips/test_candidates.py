"""Choosing among the frames alone that others are coded from, on real films."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import REFERENCE, DecodeOptions
from meldflow.models.schema.media import Video, VideoFacts
from tests import real
from tests.gpu.pictures import alike, follow
from tests.real import BUNNY, CONTAINERS, FILMS

PASSED = DecodeOptions(candidates=REFERENCE)
DEMO = next(one for one in CONTAINERS if one.suffix == ".mp4")
CODED = [one for one in (*FILMS, DEMO) if one != BUNNY]
"""With pictures that nothing refers to."""


def seen(clip: Path, options: DecodeOptions | None = None) -> tuple[Video, VideoFacts]:
    decoded = decode(clip, options)
    assert isinstance(decoded.video, Video)
    assert decoded.video_facts is not None
    return decoded.video, decoded.video_facts


def referred(clip: Path) -> NDArray[np.bool_]:
    """Whether each picture, as shown, is referred to, by its own words (nal_ref_idc, H.264 7.4.1).

    They stand in the top of the byte after the four of a unit's length.
    """
    found = []
    with av.open(str(clip)) as container:
        for packet in container.demux(video=0):
            data, place = bytes(packet), 0
            while place < len(data):
                importance, kind = data[place + 4] >> 5 & 3, data[place + 4] & 31
                if kind in (1, 5):
                    found.append((packet.pts, importance > 0))
                    break
                place += 4 + int.from_bytes(data[place : place + 4], "big")
    return np.array([one for _, one in sorted(found)])


@pytest.mark.parametrize("clip", CODED, ids=lambda clip: clip.name)
def test_those_that_nothing_refers_to_are_passed_over(clip: Path) -> None:
    (every, facts), (part, told) = seen(clip), seen(clip, PASSED)
    among = np.flatnonzero(referred(clip))
    assert 0 < len(among) < every.n_frames
    np.testing.assert_array_equal(part.curve_timestamp, every.curve_timestamp[among])
    np.testing.assert_array_equal(part.curve_entropy, every.curve_entropy[among])
    best = sorted(np.argsort(-part.curve_entropy, kind="stable")[:10])
    np.testing.assert_array_equal(part.index, best)
    assert told.frames_decoded == facts.frames_decoded  # what is passed over is no damage
    assert told.damage == facts.damage == ""


def test_where_all_are_referred_to_nothing_changes() -> None:
    (every, facts), (part, told) = seen(BUNNY), seen(BUNNY, PASSED)
    np.testing.assert_array_equal(part.frames, every.frames)
    assert told == facts


def test_half_a_clip_is_damaged_still() -> None:
    clip = real.clip_of("decord__corrupted.mp4")
    (_, facts), (_, told) = seen(clip), seen(clip, PASSED)
    assert told.damage
    assert told.errors == facts.errors


def test_a_card_s_decoder_passes_over_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = follow(monkeypatch)
    assert all(alike(clip, PASSED) for clip in CODED)
    assert fed == ["h264"] * len(CODED)


def test_it_is_part_of_the_key_where_it_is_chosen() -> None:
    assert PASSED.video_parameters == DecodeOptions().video_parameters | {"candidates": REFERENCE}
    assert PASSED.audio_parameters == DecodeOptions().audio_parameters
