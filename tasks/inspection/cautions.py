"""What to know before trusting a clip: damage, and sound and pictures that part in time."""

from __future__ import annotations

from collections.abc import Iterator

from meldflow.models.schema.media import Video
from meldflow.tasks.inspection.record import Inspection
from meldflow.tasks.inspection.words import readable, seconds

NOTABLE = 0.1
"""Seconds from which a difference in time is worth a word."""


def cautions(found: Inspection) -> tuple[str, ...]:
    """What to know before trusting the clip, each in a sentence."""
    return (*_damages(found), *_delays(found), *_vacancies(found))


def _damages(found: Inspection) -> Iterator[str]:
    for what, facts in (("audio", found.audio_facts), ("video", found.video_facts)):
        if facts.damaged:
            yield f"The {what} stream is damaged: {readable(facts.damage)}."


def _delays(found: Inspection) -> Iterator[str]:
    gaps = found.audio_facts.gaps
    if found.delay >= NOTABLE:
        yield f"The sound starts {seconds(found.delay)} late: silence stands before it."
    if found.delay <= -NOTABLE:
        yield f"The pictures start {seconds(-found.delay)} later than the sound."
    if gaps >= NOTABLE:
        yield f"The sound has gaps of {seconds(gaps)} in all: silence stands in them."


def _vacancies(found: Inspection) -> Iterator[str]:
    video = found.media.video
    if isinstance(video, Video) and len(video.index) < found.options.frames:
        there = "1 frame" if video.n_frames == 1 else f"{video.n_frames} frames"
        rest = found.options.frames - len(video.index)
        yield f"The clip has {there}: {rest} of {found.options.frames} rows of features are masked."
