"""The script of the demo: who says what, when and in which mood; no sound or picture yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction

import numpy as np

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import EMOTIONS, SPLITS
from meldflow.tasks.demo.cast import GUESTS, LEADS
from meldflow.tasks.demo.voice import STYLES
from meldflow.tasks.demo.words import count_syllables, write_line

PROPORTIONS: dict[str, float] = {
    "neutral": 0.472,
    "surprise": 0.121,
    "fear": 0.027,
    "sadness": 0.068,
    "joy": 0.174,
    "disgust": 0.027,
    "anger": 0.111,
}
"""Shares of the emotions: those of MELD's training split."""
INERTIA = 0.3
"""Probability that an utterance keeps the mood of the one before it instead of drawing anew."""
AT_LEAST: dict[str, int] = {"train": 2, "dev": 1, "test": 1}
"""Utterances that each emotion gets per split, as far as the rows suffice."""
SENTIMENTS: dict[str, tuple[str, ...]] = {
    "neutral": ("neutral",),
    "joy": ("positive",),
    "surprise": ("positive", "negative"),
    "sadness": ("negative",),
    "fear": ("negative",),
    "anger": ("negative",),
    "disgust": ("negative",),
}
FILM, PAL = Fraction(24000, 1001), Fraction(25)
SHORTEST, LONGEST = 0.4, 4.0
"""Limits of a clip, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One utterance to be annotated and filmed."""

    split: str
    dialogue: int
    utterance: int
    text: str
    speaker: str
    emotion: str
    sentiment: str
    season: int
    episode: int
    start: float
    """Position in the episode, seconds."""
    frames: int
    """Pictures in the clip."""
    rate: Fraction
    """Pictures per second."""
    surround: bool
    """Whether the sound is 5.1 (voice in the centre) instead of stereo."""
    long_hours: bool
    """Whether the annotation writes ``00:16:16,059`` and not ``0:16:16,059``."""

    @property
    def seconds(self) -> float:
        """Duration of the clip."""
        return float(self.frames / self.rate)


class Purpose(IntEnum):
    """What random numbers are for; each purpose has a stream of its own."""

    MOODS = 0
    WORDS = 1
    SCENE = 2
    CLIP = 3


def generator(
    seed: int, purpose: Purpose, split: str, dialogue: int, utterance: int = 0
) -> np.random.Generator:
    """Random numbers for one place of the data set, whoever draws it and in whatever order."""
    key = (int(purpose), SPLITS.index(split), dialogue, utterance)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def share_dialogues(dialogues: int) -> dict[str, int]:
    """Dialogues per split: about 70, 10 and 20 per cent, at least one each.

    Raises:
        UsageError: fewer dialogues than splits.
    """
    if dialogues < len(SPLITS):
        raise UsageError(
            f"a demo needs at least {len(SPLITS)} dialogues, one per split: got {dialogues}"
        )
    dev = max(1, round(0.1 * dialogues))
    test = max(1, round(0.2 * dialogues))
    return {"train": dialogues - dev - test, "dev": dev, "test": test}


def write_script(dialogues: int, seed: int) -> dict[str, list[Line]]:
    """Every utterance of the data set, per split, in annotation order.

    Raises:
        UsageError: too few dialogues, or a negative seed.
    """
    if seed < 0:
        raise UsageError(f"the seed must not be negative: got {seed}")
    script: dict[str, list[Line]] = {}
    for split, count in share_dialogues(dialogues).items():
        moods = [draw_moods(generator(seed, Purpose.MOODS, split, p)) for p in range(count)]
        _guarantee(moods, AT_LEAST[split])
        script[split] = []
        for dialogue, mood in enumerate(moods):
            rng = generator(seed, Purpose.WORDS, split, dialogue)
            script[split] += write_dialogue(split, dialogue, mood, rng)
    return script


def draw_moods(rng: np.random.Generator) -> list[str]:
    """The emotions of one dialogue: a Markov chain that has PROPORTIONS as its stationary law."""
    shares = np.array([PROPORTIONS[emotion] for emotion in EMOTIONS])
    length = int(np.clip(rng.poisson(8), 3, 14))
    moods: list[str] = []
    for drawn in rng.choice(EMOTIONS, size=length, p=shares / shares.sum()):
        keep = bool(moods) and rng.random() < INERTIA
        moods.append(moods[-1] if keep else str(drawn))
    return moods


def _guarantee(moods: list[list[str]], minimum: int) -> None:
    """Turn utterances of the commonest emotion, in place, into those that are too rare.

    The last ones of that emotion, so that a larger data set keeps the beginnings of a smaller.
    """
    counts = {emotion: sum(mood.count(emotion) for mood in moods) for emotion in EMOTIONS}
    for emotion in sorted(EMOTIONS, key=lambda name: -PROPORTIONS[name]):
        while counts[emotion] < minimum:
            commonest = max(counts, key=lambda name: counts[name])
            if counts[commonest] <= minimum:
                return
            mood = next(mood for mood in reversed(moods) if commonest in mood)
            mood[len(mood) - 1 - mood[::-1].index(commonest)] = emotion
            counts[commonest] -= 1
            counts[emotion] += 1


def write_dialogue(
    split: str, dialogue: int, moods: list[str], rng: np.random.Generator
) -> list[Line]:
    """The lines of one dialogue: its cast, words and times."""
    leads = [speaker.name for speaker in LEADS]
    company = list(rng.choice(leads, size=int(rng.integers(2, 4)), replace=False))
    if rng.random() < 0.4:
        company.append(GUESTS[rng.integers(len(GUESTS))].name)
    turns = _turns(len(moods), [str(name) for name in company], rng)
    common = Line(
        split=split,
        dialogue=dialogue,
        utterance=0,
        text="",
        speaker="",
        emotion="neutral",
        sentiment="neutral",
        season=int(rng.integers(1, 10)),
        episode=int(rng.integers(1, 25)),
        start=round(float(rng.uniform(20, 1250)), 3),
        frames=0,
        rate=FILM if rng.random() < 0.75 else PAL,
        surround=False,
        long_hours=bool(rng.random() < 0.75),
    )
    lines: list[Line] = []
    clock = common.start
    for utterance, (mood, speaker) in enumerate(zip(moods, turns, strict=True)):
        line = _write_utterance(replace(common, utterance=utterance, start=clock), mood, rng)
        lines.append(replace(line, speaker=speaker))
        clock = round(clock + line.seconds + float(rng.exponential(0.3)), 3)
    return lines


def _write_utterance(line: Line, mood: str, rng: np.random.Generator) -> Line:
    """The words of a line, and how long it takes to say them in that mood."""
    text = write_line(mood, rng)
    tempo = STYLES[mood].syllable_rate * float(rng.normal(1, 0.12))
    spoken = count_syllables(text) / max(tempo, 2.0) + 0.35
    seconds = float(np.clip(max(spoken, rng.uniform(0.7, 1.6)), SHORTEST, LONGEST))
    choices = SENTIMENTS[mood]
    return replace(
        line,
        text=text,
        emotion=mood,
        sentiment=choices[rng.integers(len(choices))],
        frames=round(seconds * line.rate),
        surround=bool(rng.random() < 0.2),
    )


def _turns(count: int, company: list[str], rng: np.random.Generator) -> list[str]:
    """Who speaks each of ``count`` utterances; mostly somebody else than before."""
    turns = [company[rng.integers(len(company))]]
    while len(turns) < count:
        others = [name for name in company if name != turns[-1]]
        again = rng.random() < 0.15
        turns.append(turns[-1] if again else others[rng.integers(len(others))])
    return turns
