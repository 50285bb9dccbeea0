"""The annotation files of the demo, in the form of MELD's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from meldflow.tasks.demo.script import Line

COLUMNS = (
    *("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"),
    *("Season", "Episode", "StartTime", "EndTime"),
)


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
