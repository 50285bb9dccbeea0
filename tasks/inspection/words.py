"""What is known of a clip, in words: the same ones on the screen and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

from rich.filesize import decimal

from meldflow.models.schema.media import (
    Audio,
    AudioFacts,
    Missing,
    Modality,
    StreamFacts,
    Video,
    VideoFacts,
)
from meldflow.tasks.inspection.record import Inspection, Outcome, Shape
from meldflow.tasks.pages.blocks import DASH

Rows: TypeAlias = tuple[tuple[str, str], ...]


def readable(name: str) -> str:
    """``name`` with what no screen can show, such as the end of a line, as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def title(found: Inspection) -> str:
    """What can be used of the clip, in a sentence."""
    given = {"sound": found.media.audio, "pictures": found.media.video}
    lost = {what: one.reason for what, one in given.items() if isinstance(one, Missing)}
    good = " and ".join(what for what in given if what not in lost)
    if not lost:
        return f"{good.capitalize()} can be used"
    reasons = ", ".join(dict.fromkeys(one.replace("_", " ") for one in lost.values()))
    if not good:
        return f"Neither sound nor pictures can be used: {reasons}"
    return f"{good.capitalize()} can be used; {''.join(lost)} cannot: {reasons}"


def why(missing: Missing) -> str:
    """The reason, and what is known beyond it."""
    return f"{missing.reason}: {readable(missing.message)}" if missing.message else missing.reason


def container_rows(found: Inspection) -> Rows:
    """The file and its container."""
    return (
        ("Size", decimal(found.size_bytes)),
        ("Container", found.container or DASH),
        ("Length", seconds(found.seconds)),
        ("Streams", _streams(found) or DASH),
    )


def _streams(found: Inspection) -> str:
    """``0 audio, 1 video (used)``."""
    return ", ".join(
        f"{number} {kind}{' (used)' if number in found.used else ''}"
        for number, kind in enumerate(found.streams)
    )


def audio_rows(facts: AudioFacts) -> Rows:
    """The audio stream; none where the clip has no such stream."""
    if not facts.codec:
        return ()
    return (
        ("Codec", facts.codec),
        ("Layout", f"{facts.layout}, {_counted(facts.channels, 'channel')}"),
        ("Rate", f"{facts.rate:,} Hz"),
        ("Starts at", seconds(facts.start)),
        ("Declared", seconds(facts.declared_seconds)),
        ("Decoded", seconds(facts.seconds)),
        ("Damage", _damage(facts)),
    )


def video_rows(facts: VideoFacts) -> Rows:
    """The video stream; none where the clip has no such stream."""
    if not facts.codec:
        return ()
    turned = f", turned by {facts.rotation}°" if facts.rotation else ""
    mirrored = ", mirrored" if facts.mirrored else ""
    return (
        ("Codec", facts.codec),
        ("Size", f"{facts.width} × {facts.height} pixels{turned}{mirrored}"),
        ("Pixels", (facts.pixel_format or DASH) + (", interlaced" if facts.interlaced else "")),
        ("Rate", DASH if math.isnan(facts.rate) else f"{facts.rate:.5g} frames/s"),
        ("Starts at", seconds(facts.start)),
        ("Declared", seconds(facts.declared_seconds)),
        ("Decoded", seconds(facts.seconds)),
        ("Frames declared", _count(facts.frames_declared, least=1)),
        ("Frames decoded", _count(facts.frames_decoded, least=0)),
        ("Damage", _damage(facts)),
    )


def modality_rows(found: Inspection) -> Rows:
    """What came out of each modality, or why nothing did."""
    given = {
        Modality.AUDIO: found.media.audio,
        Modality.VIDEO: found.media.video,
        Modality.TEXT: found.media.text,
    }
    return tuple((name.value, _given(one, found)) for name, one in given.items())


def _given(one: Audio | Video | str | Missing, found: Inspection) -> str:
    match one:
        case Missing():
            return why(one)
        case Audio():
            rate = found.options.sample_rate
            length = seconds(one.samples.size / rate)
            samples = f"{length} of mono sound, {one.samples.size:,} samples at {rate:,} Hz"
            return f"{samples}; {_pitch(found)}" if "f0" in found.descriptors else samples
        case Video():
            height, width = one.frames.shape[1:3]
            kept = f"{len(one.index)} of {one.n_frames} frames chosen"
            return f"{kept}, {width} × {height} pixels"
        case _:
            return _counted(len(one), "character")


def _pitch(found: Inspection) -> str:
    median, voiced = found.pitch
    return "no pitch found" if median is None else f"median f0 {median:.0f} Hz, {voiced:.0%} voiced"


def shape(one: Shape) -> str:
    """An array's shape as NumPy writes it, with ``?`` for a length that is not known."""
    sizes = ["?" if size is None else f"{size}" for size in one.shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def _damage(facts: StreamFacts) -> str:
    if math.isnan(facts.seconds):
        return DASH
    return readable(facts.damage) if facts.damaged else "none found"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _count(number: int, *, least: int) -> str:
    return f"{number:,}" if number >= least else DASH


def seconds(value: float) -> str:
    """A time with milliseconds, or a dash for what is not known."""
    return DASH if math.isnan(value) else f"{value:.3f} s"


CHOSEN_HEAD = ("frame", "seconds", "entropy, bits")
FEATURE_HEAD = ("extractor", "array", "shape", "dtype")


def chosen_rows(video: Video) -> tuple[tuple[str, ...], ...]:
    """The chosen frames, in time order, under ``CHOSEN_HEAD``."""
    columns = (video.index, video.timestamp, video.entropy)
    return tuple(
        (f"{index}", f"{time:.3f}", f"{bits:.3f}")
        for index, time, bits in zip(*(one.tolist() for one in columns), strict=True)
    )


def feature_rows(found: Inspection) -> tuple[tuple[str, ...], ...]:
    """The arrays of every extractor, or its reason, under ``FEATURE_HEAD``."""
    return tuple(
        row for name, outcome in found.outcomes.items() for row in _outcome_rows(name, outcome)
    )


def _outcome_rows(name: str, outcome: Outcome) -> Iterator[tuple[str, ...]]:
    if isinstance(outcome, Missing):
        yield name, why(outcome), "", ""
        return
    for one in outcome:
        yield name, one.array, shape(one), one.dtype
