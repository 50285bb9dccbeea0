"""The script of the demo: who says what, when and in which mood, and its annotation files."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from meldflow.models.schema.utterances import EMOTIONS, SPLITS
from meldflow.tasks.demo.material import GUESTS, LEADS, STYLES, count_syllables, write_line

PROPORTIONS = {
    **{"neutral": 0.472, "surprise": 0.121, "fear": 0.027, "sadness": 0.068},
    **{"joy": 0.174, "disgust": 0.027, "anger": 0.111},
}
"""Shares of the emotions: those of MELD's training split."""
INERTIA = 0.3
"""Probability that an utterance keeps the mood of the one before it instead of drawing anew."""
SENTIMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sadness", "fear", "anger", "disgust"), ("negative",)),
    **{"neutral": ("neutral",), "joy": ("positive",), "surprise": ("positive", "negative")},
}
FILM, PAL = Fraction(24000, 1001), Fraction(25)
SHORTEST, LONGEST = 0.4, 4.0
"""Limits of a clip, seconds."""

COLUMNS = (
    *("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"),
    *("Season", "Episode", "StartTime", "EndTime"),
)
"""Of the annotation files, as MELD's own have them."""


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
    start: float  # position in the episode, seconds
    frames: int
    rate: Fraction  # frames per second
    surround: bool  # whether the sound is 5.1 (voice in the centre) instead of stereo
    long_hours: bool  # whether the annotation writes 00:16:16,059 and not 0:16:16,059

    @property
    def seconds(self) -> float:
        """Duration of the clip."""
        return float(self.frames / self.rate)


PURPOSES = ("moods", "words", "scene", "clip")
"""What random numbers are for; each purpose has a stream of its own."""


def generator(
    seed: int, purpose: str, split: str, dialogue: int, utterance: int = 0
) -> np.random.Generator:
    """Random numbers for one place of the data set, whoever draws it and in whatever order."""
    key = (PURPOSES.index(purpose), SPLITS.index(split), dialogue, utterance)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def write_script(dialogues: int, seed: int) -> dict[str, list[Line]]:
    """Every utterance, per split, in annotation order; about 70, 10 and 20 % of the dialogues.

    There are at least as many dialogues as splits.
    """
    dev, test = max(1, round(0.1 * dialogues)), max(1, round(0.2 * dialogues))
    script: dict[str, list[Line]] = {}
    for split, count in zip(SPLITS, (dialogues - dev - test, dev, test), strict=True):
        moods = [draw_moods(generator(seed, "moods", split, p)) for p in range(count)]
        _guarantee(moods, 2 if split == "train" else 1)
        script[split] = []
        for dialogue, mood in enumerate(moods):
            rng = generator(seed, "words", split, dialogue)
            script[split] += write_dialogue(split, dialogue, mood, rng)
    return script


def draw_moods(rng: np.random.Generator) -> list[str]:
    """The emotions of one dialogue: a Markov chain that has PROPORTIONS as its stationary law."""
    shares = np.array([PROPORTIONS[emotion] for emotion in EMOTIONS])
    length = int(np.clip(rng.poisson(8), 3, 14))
    moods: list[str] = []
    for drawn in rng.choice(EMOTIONS, size=length, p=shares / shares.sum()):
        keep = moods and rng.random() < INERTIA
        moods.append(moods[-1] if keep else str(drawn))
    return moods


def _guarantee(moods: list[list[str]], minimum: int) -> None:
    """Turn utterances of the commonest emotion, in place, into too rare ones, as far as they go.

    The last ones of that emotion, so that a larger data set keeps the beginnings of a smaller.
    """
    for emotion in sorted(EMOTIONS, key=lambda name: -PROPORTIONS[name]):
        while sum(mood.count(emotion) for mood in moods) < minimum:
            counts = Counter(itertools.chain.from_iterable(moods))
            commonest = max(EMOTIONS, key=lambda name: counts[name])
            if counts[commonest] <= minimum:
                return
            mood = next(mood for mood in reversed(moods) if commonest in mood)
            mood[len(mood) - 1 - mood[::-1].index(commonest)] = emotion


def write_dialogue(
    split: str, dialogue: int, moods: list[str], rng: np.random.Generator
) -> list[Line]:
    """The lines of one dialogue: its cast, words and times."""
    chosen = rng.choice(len(LEADS), size=int(rng.integers(2, 4)), replace=False)
    company = [LEADS[place].name for place in chosen]
    if rng.random() < 0.4:
        company.append(GUESTS[rng.integers(len(GUESTS))].name)
    season, episode = int(rng.integers(1, 10)), int(rng.integers(1, 25))
    clock, rate = round(float(rng.uniform(20, 1250)), 3), FILM if rng.random() < 0.75 else PAL
    long_hours, speaker = bool(rng.random() < 0.75), ""
    lines: list[Line] = []
    for utterance, mood in enumerate(moods):
        if not speaker or rng.random() > 0.15:
            others = [name for name in company if name != speaker]
            speaker = others[rng.integers(len(others))]
        text, sentiments = write_line(mood, rng), SENTIMENTS[mood]
        tempo = STYLES[mood].rate * float(rng.normal(1, 0.12))
        spoken = count_syllables(text) / max(tempo, 2.0) + 0.35
        seconds = float(np.clip(max(spoken, rng.uniform(0.7, 1.6)), SHORTEST, LONGEST))
        line = Line(
            split=split,
            dialogue=dialogue,
            utterance=utterance,
            text=text,
            speaker=speaker,
            emotion=mood,
            sentiment=sentiments[rng.integers(len(sentiments))],
            season=season,
            episode=episode,
            start=clock,
            frames=round(seconds * rate),
            rate=rate,
            surround=bool(rng.random() < 0.2),
            long_hours=long_hours,
        )
        lines.append(line)
        clock = round(clock + line.seconds + float(rng.exponential(0.3)), 3)
    return lines


def annotate(lines: Sequence[Line]) -> str:
    """The annotation file of a split: comma-separated, quoted where needed, CRLF."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for number, line in enumerate(lines, start=1):
        words = (line.text, line.speaker, line.emotion, line.sentiment)
        place = (line.dialogue, line.utterance, line.season, line.episode)
        moments = (line.start, line.start + line.seconds)
        clocks = (clock(moment, long_hours=line.long_hours) for moment in moments)
        writer.writerow((number, *words, *place, *clocks))
    return text.getvalue()


def clock(seconds: float, *, long_hours: bool) -> str:
    """A time of the annotation, ``00:16:16,059`` or ``0:16:16,059``: MELD mixes both."""
    total, millis = divmod(round(seconds * 1000), 1000)
    hours, rest = divmod(total, 3600)
    width = 2 if long_hours else 1
    return f"{hours:0{width}d}:{rest // 60:02d}:{rest % 60:02d},{millis:03d}"
