"""The words of an utterance: invented lines of its emotion, or ones that give nothing away."""

from __future__ import annotations

import re

import numpy as np

SLOTS: dict[str, tuple[str, ...]] = {
    "thing": ("the car", "my phone", "the new lamp", "the piano", "your coat", "the suitcase"),
    "place": ("the office", "the station", "the museum", "the airport", "the library"),
    "person": ("my sister", "the neighbour", "my boss", "your cousin", "the plumber"),
    "time": ("on Monday", "this morning", "after lunch", "tomorrow", "at six", "last night"),
    "food": ("soup", "fish", "cheese", "salad", "cake", "pasta"),
    "event": ("the party", "the wedding", "the concert", "the exam", "the trip"),
}
"""What may stand in a template's braces."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "neutral": (
        "I'm going to {place} {time}.",
        "{person} left {thing} at {place}.",
        "I think {person} lives near {place}.",
        'The sign said "closed until noon", so I went to {place}.',
        "I have {event} {time}, then I'm free.",
        "We usually have {food} {time}.",
    ),
    "joy": (
        "I got the job! I start {time}!",
        "This is the best {food} I've ever had!",
        "I'm so happy that you came to {event}!",
        "I love it, thank you so much for {thing}!",
        "It's a beautiful day and I have {food}!",
        "I can't wait for {event}, it'll be great!",
    ),
    "surprise": (
        "Wait, what? You sold {thing}?",
        "Oh my God, is that {person}?",
        "You're kidding. You're moving to {place}?",
        "I had no idea {person} was coming!",
        "Whoa! Since when do you eat {food}?",
        "Really? They gave you {thing}?",
    ),
    "anger": (
        "I told you not to touch {thing}!",
        "How dare you talk to {person} like that!",
        "I'm sick of waiting for you at {place}!",
        "You broke {thing} and you never told me?",
        "Who ate my {food}? It had my name on it!",
        "Get out of {place}, right now, you idiot!",
    ),
    "sadness": (
        "I miss {person} so much.",
        "She left me {time}, and she isn't coming back.",
        "I'm sorry, I cried all through {event}.",
        "I lost {thing}, it was my father's.",
        "We had to say goodbye at {place}.",
        "It breaks my heart to sell {thing}.",
    ),
    "disgust": (
        "Ew, there's a hair in my {food}!",
        "That smells like something died in {place}.",
        "This {food} is rotten, I'm going to be sick.",
        "{person} picked his nose, that's gross.",
        "You put {food} on it? That's revolting.",
        "Ugh, {place} stinks of old {food}.",
    ),
    "fear": (
        "Did you hear that? Somebody took {thing}.",
        "Please don't leave me alone in {place}.",
        "I'm scared, he said he would kill me {time}.",
        "What if something happens to {person}?",
        "There's a man following us from {place}.",
        "My hands are shaking, what if I fail {event}?",
    ),
}
"""Lines that fit one emotion."""

FILLERS = (
    *("Oh.", "Yeah, okay.", "What?", "I know.", "Hey!", "Well...", "Oh, come on.", "Oh my God."),
    *("So, that's it?", "Are you serious?", "You saw {person}.", "I heard about {event}."),
)
"""Lines that fit any emotion: the words alone do not tell."""

AMBIGUOUS, BORROWED, DASHED = 0.18, 0.12, 0.04
"""Shares: of fillers, of emotional lines with neutral words, of lines that begin with a dash."""


def write_line(emotion: str, rng: np.random.Generator) -> str:
    """Words for an utterance of ``emotion``, with MELD's typographic apostrophes (U+2019)."""
    draw = rng.random()
    borrowed = draw < AMBIGUOUS + BORROWED
    source = FILLERS if draw < AMBIGUOUS else TEMPLATES["neutral" if borrowed else emotion]
    chosen = {slot: values[rng.integers(len(values))] for slot, values in SLOTS.items()}
    text = source[rng.integers(len(source))].format(**chosen)
    dash = "- " if rng.random() < DASHED else ""
    return (dash + text[0].upper() + text[1:]).replace("'", "\u2019")


def count_syllables(text: str) -> int:
    """Groups of vowels in the words, silent final "e" left out; at least one per word."""
    words = re.findall(r"[a-z\u2019]+", text.lower())
    return max(
        1, sum(max(1, len(re.findall(r"[aeiouy]+", word.removesuffix("e")))) for word in words)
    )
