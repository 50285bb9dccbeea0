"""What to know before trusting a clip: damage, and sound and pictures that part in time."""

from __future__ import annotations

from collections.abc import Iterator

from meldflow.models.schema.media import Video
from meldflow.tasks.inspection.inspect import Inspection
from meldflow.tasks.pages.text import counted, readable

NOTABLE = 0.1
"""Seconds from which a difference in time is worth a word."""


def cautions(found: Inspection) -> tuple[str, ...]:
    """What to know before trusting the clip, each in a sentence."""
    return tuple(_cautions(found))


def _cautions(found: Inspection) -> Iterator[str]:
    delay, sound, video = found.delay, found.audio_facts, found.media.video
    for what, facts in (("audio", found.audio_facts), ("video", found.video_facts)):
        if facts.damaged:
            yield f"The {what} stream is damaged: {readable(facts.damage)}."
    if delay >= NOTABLE:
        yield f"The sound starts {delay:.3f} s late: silence stands before it."
    if delay <= -NOTABLE:
        yield f"The pictures start {-delay:.3f} s later than the sound."
    if sound.gaps >= NOTABLE:
        yield f"The sound has gaps of {sound.gaps:.3f} s in all: silence stands in them."
    if sound.overlaps >= NOTABLE:
        yield f"Sound of {sound.overlaps:.3f} s in all is left out: there is no time for it."
    if sound.only_channel >= 0:
        yield f"The channels cancel each other: only number {sound.only_channel} is heard."
    if isinstance(video, Video) and len(video.index) < found.options.frames:
        there, all_rows = counted(video.n_frames, "frame"), found.options.frames
        rest = all_rows - len(video.index)
        yield f"The clip has {there}: {rest} of {all_rows} rows of features are masked."
