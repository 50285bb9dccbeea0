"""The floor of extraction: operations counted, clips decoded, kernels timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.models.schema.errors import RunError
from tests import media
from tests.bench.extraction import floor


def test_resnet50_has_the_operations_that_are_published() -> None:
    published = 2 * 4.09e9  # multiply-accumulates, two operations each
    assert floor.resnet50_flop(1) == pytest.approx(published, rel=1e-3)
    assert floor.resnet50_flop(10) == 10 * floor.resnet50_flop(1)
    assert floor.resnet50_flop(0) == 0


def test_wav2vec2_is_counted_on_the_length_of_the_sound() -> None:
    nothing, one, three = floor.wav2vec2_flop([399, 16_000, 48_000])
    assert nothing == 0
    assert 10e9 < one < 20e9
    assert three > 2.9 * one


def test_words_are_counted_and_long_texts_cut() -> None:
    short, long, longer = floor.minilm_flop(["Hi.", "so " * 300, "so " * 900])
    assert 0 < short < long == longer


def test_decoding_alone_sees_every_frame_and_all_sound(tmp_path: Path) -> None:
    film = media.Film(frames=media.noise(25))
    sound = media.Track(samples=media.tone(440, 1.0)[None])
    heard = floor.decode_alone(str(media.write(tmp_path / "clip.mp4", [film, sound])))
    assert heard.frames == 25
    assert heard.sound_seconds == pytest.approx(1.0, abs=0.05)
    assert heard.cpu_seconds > 0


def test_what_cannot_be_decoded_ends_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no clip")
    with pytest.raises(RunError, match=r"clip\.mp4 cannot be decoded"):
        floor.decode_alone(str(tmp_path / "clip.mp4"))
