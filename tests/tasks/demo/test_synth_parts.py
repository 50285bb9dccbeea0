"""The parts of the demo: script, words, voices, faces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.extractors.librosa.pitch import autocorrelation
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.demo.clip import RATE, Signal, draw_cues, mix, speak
from meldflow.tasks.demo.face import HEIGHT, WIDTH, film
from meldflow.tasks.demo.material import (
    CAST,
    FILLERS,
    LEADS,
    LOOKS,
    STYLES,
    blend,
    count_syllables,
    write_line,
)
from meldflow.tasks.demo.script import (
    LONGEST,
    PROPORTIONS,
    SHORTEST,
    Line,
    generator,
    write_script,
)


@pytest.fixture(scope="module")
def script() -> dict[str, list[Line]]:
    return write_script(300, 1)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def voice(
    emotion: str, seed: int, *, count: int = 8, seconds: float = 2.0
) -> tuple[Signal, Signal]:
    return speak(LEADS[1], blend(STYLES, {emotion: 1.0}), count, seconds, rng(seed))


def heard(sound: Signal) -> NDArray[np.float64]:
    return autocorrelation(sound.astype(np.float32), RATE, 60, 600)


@pytest.mark.parametrize(
    ("dialogues", "shares"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (10, (7, 1, 2)), (40, (28, 4, 8))]
)
def test_shares_of_the_splits(dialogues: int, shares: tuple[int, int, int]) -> None:
    script = write_script(dialogues, 0)
    assert tuple(len({one.dialogue for one in lines}) for lines in script.values()) == shares


def test_emotions_have_melds_proportions_and_inertia(script: dict[str, list[Line]]) -> None:
    moods = [line.emotion for line in script["train"]]
    for emotion, share in PROPORTIONS.items():
        assert moods.count(emotion) / len(moods) == pytest.approx(share, abs=0.04)
    pairs = [(a, b) for a, b in pairwise(script["train"]) if a.dialogue == b.dialogue]
    kept = sum(a.emotion == b.emotion for a, b in pairs) / len(pairs)
    assert kept > sum(share**2 for share in PROPORTIONS.values()) + 0.12


@pytest.mark.parametrize("dialogues", [3, 5, 40])
@pytest.mark.parametrize("seed", range(5))
def test_rare_emotions_are_guaranteed(dialogues: int, seed: int) -> None:
    for split, lines in write_script(dialogues, seed).items():
        moods = [line.emotion for line in lines]
        minimum = 2 if split == "train" else 1
        if len(lines) >= len(EMOTIONS) * minimum:
            assert min(moods.count(emotion) for emotion in EMOTIONS) >= minimum


def test_dialogues_have_melds_shape(script: dict[str, list[Line]]) -> None:
    for lines in script.values():
        by_dialogue: dict[int, list[Line]] = {}
        for line in lines:
            by_dialogue.setdefault(line.dialogue, []).append(line)
        assert list(by_dialogue) == list(range(len(by_dialogue)))
        for members in by_dialogue.values():
            assert [line.utterance for line in members] == list(range(len(members)))
            assert 3 <= len(members) <= 14
            assert len({line.speaker for line in members}) <= 4
            assert len({(line.season, line.episode, line.rate) for line in members}) == 1
            for before, after in pairwise(members):
                assert after.start >= before.start + before.seconds - 0.001


def test_script_has_the_lengths_and_the_quirks_of_annotations(
    script: dict[str, list[Line]],
) -> None:
    seconds = np.array([line.seconds for lines in script.values() for line in lines])
    assert SHORTEST - 0.03 <= seconds.min() <= seconds.max() <= LONGEST + 0.03
    assert 1.6 < seconds.mean() < 2.6
    lines = script["train"]
    assert {line.long_hours for line in lines} == {line.surround for line in lines} == {True, False}
    assert {str(line.rate) for line in lines} == {"24000/1001", "25"}
    for quirk in (",", '"', "\u2019", "- "):
        assert any(quirk in line.text for line in lines)
    assert {line.speaker for line in lines} == set(CAST)


def test_a_larger_demo_tells_the_same_stories() -> None:
    small, large = write_script(50, 2)["train"], write_script(100, 2)["train"]
    same = sum(line == other for line, other in zip(small, large, strict=False))
    assert same > 0.9 * len(small)


def test_random_streams_differ_by_purpose_and_place() -> None:
    places = [("words", "train", 1, 0), ("clip", "train", 1, 0)]
    places += [("clip", "dev", 1, 0), ("clip", "train", 0, 1)]
    assert len({generator(0, *place).random() for place in places}) == len(places)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_has_words_that_mostly_are_its_own(emotion: str) -> None:
    lines = [write_line(emotion, rng(seed)) for seed in range(1000)]
    assert len(set(lines)) > 60
    assert not any("{" in line or "'" in line for line in lines)
    plain = {filler for filler in FILLERS if "{" not in filler}
    assert 0.06 < np.mean([line in plain for line in lines]) < 0.2


@pytest.mark.parametrize(
    ("text", "count"), [("Oh.", 1), ("...", 1), ("Come here, please.", 3), ("a banana", 4)]
)
def test_count_syllables(text: str, count: int) -> None:
    assert count_syllables(text) == count


@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize(("count", "seconds"), [(1, 0.4), (30, 4.0)])
def test_voices_are_finite_and_as_long_as_asked(emotion: str, count: int, seconds: float) -> None:
    samples, envelope = voice(emotion, 0, count=count, seconds=seconds)
    assert samples.shape == envelope.shape == (round(seconds * RATE),)
    assert np.isfinite(samples).all()
    assert 0 <= envelope.min() <= envelope.max() <= 1


def test_emotions_are_heard_in_level_and_pitch() -> None:
    spoken = {emotion: [voice(emotion, seed)[0] for seed in range(5)] for emotion in EMOTIONS}
    level = {name: np.mean([one.std() for one in of]) for name, of in spoken.items()}
    pitch = {
        name: np.nanmedian(np.concatenate(list(map(heard, of)))) for name, of in spoken.items()
    }
    assert level["anger"] > 2 * level["neutral"] > 3 * level["sadness"]
    assert pitch["surprise"] > 1.2 * pitch["neutral"] > 1.2 * pitch["disgust"]


@pytest.mark.parametrize("surround", [False, True])
def test_the_voice_is_where_television_puts_it(surround: bool) -> None:
    spoken, _ = voice("joy", 1)
    sound = mix(spoken, rng(2), surround=surround)
    assert sound.shape == (len(spoken), 6 if surround else 2)
    assert sound.dtype == np.float32
    alike = [abs(np.corrcoef(spoken, channel)[0, 1]) for channel in sound.T if channel.any()]
    assert alike[2 if surround else 0] > 0.9
    if surround:
        assert max(alike[0], alike[1]) < 0.3


@pytest.mark.parametrize("name", CAST)
def test_everybody_can_be_filmed(name: str) -> None:
    talk = np.abs(np.sin(np.arange(5)))
    pictures = list(film(CAST[name], {"joy": 1.0}, talk, 25, (rng(0), rng(1))))
    assert [picture.shape for picture in pictures] == [(HEIGHT, WIDTH, 3)] * 5
    assert all(picture.dtype == np.uint8 for picture in pictures)
    assert all((a != b).any() for a, b in pairwise(pictures))


def test_faces_differ_between_emotions_more_than_by_grain() -> None:
    def middle(emotion: str) -> NDArray[np.float64]:
        pictures = film(LEADS[1], {emotion: 1.0}, np.full(9, 0.3), 25, (rng(0), rng(3)))
        return np.asarray(list(pictures)[4], dtype=np.float64)

    gaps = [np.abs(a - b).mean() for a, b in pairwise(map(middle, EMOTIONS))]
    assert min(gaps) > 4


def test_a_blend_lies_between_neutral_and_the_emotion() -> None:
    assert blend(LOOKS, {"anger": 0.0}) == LOOKS["neutral"]
    assert blend(LOOKS, {"anger": 1.0}) == pytest.approx(LOOKS["anger"])
    assert blend(STYLES, {"joy": 0.5}).pitch == STYLES["joy"].pitch / 2


def test_one_modality_at_most_tells_nothing() -> None:
    cues = [draw_cues("anger", rng(seed)) for seed in range(2000)]
    mute = [max(face.values()) == 0 for face, _ in cues]
    flat = [max(voice.values()) == 0 for _, voice in cues]
    assert not any(a and b for a, b in zip(mute, flat, strict=True))
    assert 0.1 <= np.mean(mute) + np.mean(flat) <= 0.16
