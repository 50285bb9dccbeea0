"""What is known of a clip, as text, the same on the screen and on the page, and as JSON values."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np
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
from meldflow.tasks.inspection.inspect import Inspection, Outcome, Shape
from meldflow.tasks.pages.text import DASH, counted, exact_seconds, readable

Rows: TypeAlias = list[tuple[str, ...]]

CHOSEN_HEAD = ("frame", "seconds", "entropy, bits")
FEATURE_HEAD = ("extractor", "array", "shape", "dtype")

NOTABLE = 0.1
"""Seconds from which a difference in time is worth a word."""


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


def cautions(found: Inspection) -> Iterator[str]:
    """What to know before trusting the clip, each in a sentence: damage, and times that part."""
    delay, sound, video = found.delay, found.audio_facts, found.media.video
    for what, facts in (("audio", found.audio_facts), ("video", found.video_facts)):
        if facts.damage:
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


def why(missing: Missing) -> str:
    """The reason, and what is known beyond it."""
    return f"{missing.reason}: {readable(missing.message)}" if missing.message else missing.reason


def facts(found: Inspection) -> Mapping[str, Mapping[str, str]]:
    """Title → names and values; none of a stream that the clip has not."""
    media = found.media
    given = {"audio": media.audio, "video": media.video, "text": media.text}
    return {
        "File": {
            "Size": decimal(found.size_bytes),
            "Container": found.container or DASH,
            "Length": exact_seconds(found.seconds),
            "Streams": streams(found) or DASH,
        },
        "What came out": {name: _given(one, found) for name, one in given.items()},
        "Audio stream": _audio(found.audio_facts) if found.audio_facts.codec else {},
        "Video stream": _video(found.video_facts) if found.video_facts.codec else {},
    }


def streams(found: Inspection) -> str:
    """``0 audio, 1 video (used)``."""
    return ", ".join(
        f"{number} {kind}{' (used)' if number in found.used else ''}"
        for number, kind in enumerate(found.streams)
    )


def _audio(facts: AudioFacts) -> dict[str, str]:
    return {
        "Codec": facts.codec,
        "Layout": f"{facts.layout}, {counted(facts.channels, 'channel')}",
        "Rate": f"{facts.rate:,} Hz",
        **_times(facts),
        "Damage": _damage(facts),
    }


def _video(facts: VideoFacts) -> dict[str, str]:
    turned = f", turned by {facts.rotation}°" if facts.rotation else ""
    mirrored = ", mirrored" if facts.mirrored else ""
    declared, decoded = facts.frames_declared, facts.frames_decoded
    return {
        "Codec": facts.codec,
        "Size": f"{facts.width} × {facts.height} pixels{turned}{mirrored}",
        "Pixels": (facts.pixel_format or DASH) + (", interlaced" if facts.interlaced else ""),
        "Rate": DASH if math.isnan(facts.rate) else f"{facts.rate:.5g} frames/s",
        **_times(facts),
        "Frames declared": f"{declared:,}" if declared > 0 else DASH,
        "Frames decoded": f"{decoded:,}" if decoded >= 0 else DASH,
        "Damage": _damage(facts),
    }


def _times(facts: StreamFacts) -> dict[str, str]:
    times = (facts.start, facts.declared_seconds, facts.seconds)
    names = ("Starts at", "Declared", "Decoded")
    return dict(zip(names, map(exact_seconds, times), strict=True))


def _damage(facts: StreamFacts) -> str:
    if math.isnan(facts.seconds):
        return DASH
    return readable(facts.damage or "none found")


def _given(one: Audio | Video | str | Missing, found: Inspection) -> str:
    """What came out of a modality, or why nothing did."""
    match one:
        case Missing():
            return why(one)
        case Audio():
            rate, size = found.options.sample_rate, one.samples.size
            samples = f"{size / rate:.3f} s of mono sound, {size:,} samples at {rate:,} Hz"
            level = "" if found.loudness is None else f"loudness {found.loudness:.1f} LUFS"
            return "; ".join(filter(None, (samples, level, _pitch(found))))
        case Video():
            height, width = one.frames.shape[1:3]
            kept = f"{len(one.index)} of {one.n_frames} frames chosen"
            return f"{kept}, {width} × {height} pixels"
        case _:
            return counted(len(one), "character")


def _pitch(found: Inspection) -> str:
    median, voiced = found.pitch
    if voiced is None:
        return ""
    return f"median f0 {median:.0f} Hz, {voiced:.0%} voiced" if median else "no pitch found"


def chosen_rows(video: Video) -> Rows:
    """The chosen frames, in time order, under ``CHOSEN_HEAD``."""
    columns = zip(video.index, video.timestamp, video.entropy, strict=True)
    return [(f"{index}", f"{time:.3f}", f"{bits:.3f}") for index, time, bits in columns]


def feature_rows(found: Inspection) -> Rows:
    """The arrays of every extractor, or its reason, under ``FEATURE_HEAD``."""
    rows: Rows = []
    for name, outcome in found.outcomes.items():
        if isinstance(outcome, Missing):
            rows.append((name, why(outcome), "", ""))
        else:
            rows += [(name, one.array, _shape(one), one.dtype) for one in outcome]
    return rows


def _shape(one: Shape) -> str:
    """An array's shape as NumPy writes it, with ``?`` for a length that is not known."""
    return str(tuple("?" if size is None else size for size in one.shape)).replace("'", "")


def to_json(found: Inspection) -> dict[str, Any]:
    """Everything but the samples and pixels themselves; null is what is not known."""
    heard, seen, media = found.audio_facts, found.video_facts, found.media
    whole = {
        "clip": found.path,
        "size_bytes": found.size_bytes,
        "container": found.container or None,
        "seconds": found.seconds,
        "streams": {
            "all": [
                {"index": number, "kind": kind, "used": number in found.used}
                for number, kind in enumerate(found.streams)
            ],
            # Null where the clip has no such stream.
            Modality.AUDIO: asdict(heard) if heard.codec else None,
            Modality.VIDEO: asdict(seen) if seen.codec else None,
        },
        "frames_declared": seen.frames_declared if seen.frames_declared > 0 else None,
        "frames_decoded": seen.frames_decoded if seen.frames_decoded >= 0 else None,
        "audio_seconds": heard.seconds,
        "modalities": {
            Modality.AUDIO: _given_json(media.audio, found),
            Modality.VIDEO: _given_json(media.video, found),
            Modality.TEXT: _given_json(media.text, found),
        },
        "chosen_frames": _chosen(media.video),
        "features": {name: _outcome(one) for name, one in found.outcomes.items()},
        "warnings": [*cautions(found)],
    }
    return {key: _known(value) for key, value in whole.items()}


def _known(value: Any) -> Any:
    """The value, with NaN, which JSON has not, as null.

    By hand: pydantic's encoder refuses the names of files that are no text.
    """
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _given_json(one: Audio | Video | str | Missing, found: Inspection) -> dict[str, Any]:
    match one:
        case Missing():
            return asdict(one)
        case Audio():
            median, voiced = found.pitch
            return {
                "ok": True,
                "samples": one.samples.size,
                "rate": found.options.sample_rate,
                "peak": float(np.abs(one.samples).max()),
                "loudness": found.loudness,
                "f0_median": median,
                "voiced": voiced,
            }
        case Video():
            _, height, width, _ = one.frames.shape
            return {"ok": True, "frames": len(one.index), "width": width, "height": height}
        case _:
            return {"ok": True, "characters": len(one)}


def _chosen(video: Video | Missing) -> list[dict[str, Any]]:
    if isinstance(video, Missing):
        return []
    columns = (one.tolist() for one in (video.index, video.timestamp, video.entropy))
    names = ("index", "timestamp", "entropy")
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _outcome(one: Outcome) -> dict[str, Any]:
    if isinstance(one, Missing):
        return asdict(one)
    return {
        array.array: {"shape": array.shape, "dtype": array.dtype, "dims": array.dims}
        for array in one
    }
