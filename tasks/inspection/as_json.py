"""What is known of a clip, as JSON values."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from meldflow.models.schema.media import Audio, Missing, Modality, Video
from meldflow.tasks.inspection.inspect import Inspection, Outcome
from meldflow.tasks.inspection.rows import cautions


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
            Modality.AUDIO: _given(media.audio, found),
            Modality.VIDEO: _given(media.video, found),
            Modality.TEXT: _given(media.text, found),
        },
        "chosen_frames": _chosen(media.video),
        "features": {name: _outcome(one) for name, one in found.outcomes.items()},
        "warnings": cautions(found),
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


def _given(one: Audio | Video | str | Missing, found: Inspection) -> dict[str, Any]:
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
