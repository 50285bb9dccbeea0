"""The parts of the demo: script, words, voices, mix, faces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.demo import voice
from meldflow.tasks.demo.cast import CAST, LEADS
from meldflow.tasks.demo.clip import CONFUSABLE, draw_cues
from meldflow.tasks.demo.expression import EXPRESSIONS, blend
from meldflow.tasks.demo.lines import FILLERS, TEMPLATES
from meldflow.tasks.demo.mix import mix
from meldflow.tasks.demo.scene import HEIGHT, WIDTH, Take, film
from meldflow.tasks.demo.script import (
    AT_LEAST,
    LONGEST,
    PROPORTIONS,
    SHORTEST,
    Line,
    Purpose,
    generator,
    share_dialogues,
    write_script,
)
from meldflow.tasks.demo.words import count_syllables, write_line


@pytest.fixture(scope="module")
def script() -> dict[str, list[Line]]:
    return write_script(300, 1)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("dialogues", "shares"),
    [(3, (1, 1, 1)), (4, (2, 1, 1)), (10, (7, 1, 2)), (40, (28, 4, 8)), (100, (70, 10, 20))],
)
def test_shares_of_the_splits(dialogues: int, shares: tuple[int, int, int]) -> None:
    assert tuple(share_dialogues(dialogues).values()) == shares


def test_emotions_have_melds_proportions(script: dict[str, list[Line]]) -> None:
    moods = [line.emotion for line in script["train"]]
    for emotion, share in PROPORTIONS.items():
        assert moods.count(emotion) / len(moods) == pytest.approx(share, abs=0.04)


def test_moods_have_inertia(script: dict[str, list[Line]]) -> None:
    pairs = [(a, b) for a, b in pairwise(script["train"]) if a.dialogue == b.dialogue]
    kept = sum(a.emotion == b.emotion for a, b in pairs) / len(pairs)
    by_chance = sum(share**2 for share in PROPORTIONS.values())
    assert kept > by_chance + 0.12


@pytest.mark.parametrize("dialogues", [3, 4, 5, 10, 40])
@pytest.mark.parametrize("seed", range(5))
def test_rare_emotions_are_guaranteed(dialogues: int, seed: int) -> None:
    for split, lines in write_script(dialogues, seed).items():
        moods = [line.emotion for line in lines]
        if len(lines) >= len(EMOTIONS) * AT_LEAST[split]:
            assert min(moods.count(emotion) for emotion in EMOTIONS) >= AT_LEAST[split]
        assert moods.count("neutral") >= 1


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


def test_clips_have_the_asked_lengths(script: dict[str, list[Line]]) -> None:
    seconds = np.array([line.seconds for lines in script.values() for line in lines])
    assert SHORTEST - 0.03 <= seconds.min() <= seconds.max() <= LONGEST + 0.03
    assert 1.6 < seconds.mean() < 2.4
    assert 0.01 < np.mean(seconds < 1) < 0.15


def test_script_shows_the_quirks_of_annotations(script: dict[str, list[Line]]) -> None:
    lines = script["train"]
    assert {line.long_hours for line in lines} == {True, False}
    assert {line.surround for line in lines} == {True, False}
    assert {str(line.rate) for line in lines} == {"24000/1001", "25"}
    texts = [line.text for line in lines]
    for quirk in (",", '"', "\u2019"):
        assert any(quirk in text for text in texts)
    assert any(text.startswith("- ") for text in texts)
    assert {"Nurse #1", "Waitress/Ann", "Ben\u2019s Date"} <= {line.speaker for line in lines}
    assert all(line.speaker in CAST for line in lines)


def test_a_larger_demo_tells_the_same_stories() -> None:
    small, large = write_script(50, 2)["train"], write_script(100, 2)["train"]
    same = sum(line == other for line, other in zip(small, large, strict=False))
    assert same > 0.9 * len(small)


def test_random_streams_differ_by_purpose_and_place() -> None:
    places = [(Purpose.WORDS, "train", 1, 0), (Purpose.CLIP, "train", 1, 0)]
    places += [(Purpose.CLIP, "dev", 1, 0), (Purpose.CLIP, "train", 0, 1)]
    drawn = {generator(0, *place).random() for place in places}
    assert len(drawn) == len(places)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_has_words_face_and_voice(emotion: str) -> None:
    assert len(TEMPLATES[emotion]) >= 12
    assert emotion in EXPRESSIONS
    assert emotion in voice.STYLES
    assert emotion not in CONFUSABLE[emotion]
    lines = {write_line(emotion, rng(seed)) for seed in range(200)}
    assert len(lines) > 60
    assert not any("{" in line or "'" in line for line in lines)


def test_a_share_of_the_lines_is_ambiguous() -> None:
    plain = {filler.replace("'", "\u2019") for filler in FILLERS if "{" not in filler}
    lines = [write_line("anger", rng(seed)) for seed in range(1500)]
    assert 0.06 < np.mean([line in plain for line in lines]) < 0.2


@pytest.mark.parametrize(
    ("text", "count"), [("Oh.", 1), ("...", 1), ("Come here, please.", 3), ("a banana", 4)]
)
def test_count_syllables(text: str, count: int) -> None:
    assert count_syllables(text) == count


@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize(("count", "seconds"), [(1, 0.4), (7, 2.0), (30, 4.0)])
def test_voices_are_finite_and_as_long_as_asked(emotion: str, count: int, seconds: float) -> None:
    spoken = voice.speak(LEADS[0], voice.blend(emotion, 1.0), count, seconds, rng(0))
    assert spoken.samples.shape == spoken.envelope.shape == (round(seconds * voice.RATE),)
    assert np.isfinite(spoken.samples).all()
    assert 0 <= spoken.envelope.min() <= spoken.envelope.max() <= 1


def test_angry_voices_are_louder_than_sad_ones() -> None:
    level = {
        emotion: np.mean(
            [
                voice.speak(LEADS[1], voice.blend(emotion, 1), 6, 1.5, rng(seed)).samples.std()
                for seed in range(5)
            ]
        )
        for emotion in ("anger", "sadness")
    }
    assert level["anger"] > 2 * level["sadness"]


@pytest.mark.parametrize("surround", [False, True])
def test_the_voice_is_where_television_puts_it(surround: bool) -> None:
    spoken = voice.speak(LEADS[0], voice.blend("joy", 1), 8, 2.0, rng(1)).samples
    sound = mix(spoken, rng(2), surround=surround)
    assert sound.shape == (len(spoken), 6 if surround else 2)
    assert sound.dtype == np.float32
    alike = [abs(np.corrcoef(spoken, channel)[0, 1]) for channel in sound.T if channel.any()]
    assert alike[2 if surround else 0] > 0.9
    if surround:
        assert max(alike[0], alike[1]) < 0.3


@pytest.mark.parametrize("name", CAST)
@pytest.mark.parametrize("behind", [False, True])
def test_everybody_can_be_filmed(name: str, behind: bool) -> None:
    talk = np.abs(np.sin(np.arange(5)))
    take = Take(speaker=CAST[name], moods={"joy": 1.0}, behind=behind, talk=talk, rate=25)
    pictures = list(film(take, rng(0), rng(1)))
    assert [picture.shape for picture in pictures] == [(HEIGHT, WIDTH, 3)] * 5
    assert all(picture.dtype == np.uint8 for picture in pictures)
    assert all((a != b).any() for a, b in pairwise(pictures))


def test_faces_differ_between_emotions_more_than_by_grain() -> None:
    def middle(emotion: str, seed: int) -> np.ndarray:
        take = Take(
            speaker=LEADS[1], moods={emotion: 1.0}, behind=False, talk=np.full(9, 0.3), rate=25
        )
        return np.stack(list(film(take, rng(0), rng(seed))))[4].astype(float)

    pictures = [middle(emotion, 3) for emotion in EMOTIONS]
    gaps = [np.abs(a - b).mean() for a, b in pairwise(pictures)]
    assert min(gaps) > 4


def test_neutral_blend_is_the_neutral_row() -> None:
    calm = blend({"anger": 0.0}, np.zeros(len(EXPRESSIONS["neutral"].__dataclass_fields__)))
    assert calm == EXPRESSIONS["neutral"]


def test_one_modality_at_most_tells_nothing() -> None:
    cues = [draw_cues("anger", rng(seed)) for seed in range(2000)]
    mute = [max(cue.face.values()) == 0 for cue in cues]
    flat = [cue.voice == 0 for cue in cues]
    assert not any(a and b for a, b in zip(mute, flat, strict=True))
    assert 0.1 <= np.mean(mute) + np.mean(flat) <= 0.16
    assert all(mute[place] for place, cue in enumerate(cues) if cue.behind)
