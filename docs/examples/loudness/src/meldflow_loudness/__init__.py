"""How loud an utterance is, as ITU-R BS.1770 measures it: an extractor for meldflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from meldflow import (
    ArraySpec,
    DecodeOptions,
    Extractor,
    FeatureSpec,
    Media,
    Missing,
    Modality,
    Reason,
)

RATE, BLOCK, STEP = 16000, 6400, 1600
"""Samples per second, in a block of 0.4 s, and between the starts of two blocks."""


@dataclass(frozen=True, kw_only=True)
class Loudness(Extractor):
    """``whole``, the gated loudness of the utterance; ``blocks``, that of each 0.4 s; in LKFS."""

    floor: float = -70.0
    """What a block without sound counts as, LKFS."""
    decoding: DecodeOptions = field(default_factory=DecodeOptions)
    """How the clip is decoded."""

    @property
    def spec(self) -> FeatureSpec:
        """Everything that a store has to know of it, before anything is loaded."""
        whole = ArraySpec(name="whole", dims=(), shape=(), dtype="float32")
        blocks = ArraySpec(name="blocks", dims=("block",), shape=(), dtype="float32", rate=10)
        return FeatureSpec(
            name="audio/loudness",
            modality=Modality.AUDIO,
            version=1,
            arrays=(whole, blocks),
            weights=self.weights,
            parameters={"floor": self.floor, **self.decoding.audio_parameters},
            resource="cpu",
        )

    def lengths(self, media: Media) -> dict[str, int]:
        """Blocks in the utterance; none where it is shorter than one."""
        return {"blocks": max(0, (media.audio.samples.size - BLOCK) // STEP + 1)}

    def load(self, device: str) -> Any:
        """The meter. Heavy libraries are imported here, so that the class itself stays cheap."""
        from torchaudio.functional import loudness

        return loudness

    def encode(self, media: Sequence[Media]) -> list[dict[str, Any] | Missing]:
        """One record per utterance, in order."""
        return [self._measured(one.audio.samples) for one in media]

    def _measured(self, samples: Any) -> dict[str, Any] | Missing:
        import torch

        if samples.size < BLOCK:
            return Missing(reason=Reason.TOO_SHORT, message=f"{samples.size / RATE:.3f} s of sound")
        sound = torch.tensor(samples)
        whole = self.loaded(sound[None], RATE)
        if not whole.isfinite():
            return Missing(reason=Reason.SILENT, message="no block is louder than -70 LKFS")
        blocks = self.loaded(sound.unfold(0, BLOCK, STEP)[:, None], RATE)
        return {
            "whole": whole.numpy(),
            "blocks": blocks.nan_to_num(self.floor).clamp(min=self.floor).numpy(),
        }
