"""Extractors whose features are known, and which do to their worker what a text asks for.

They read nothing but the text, so that no clips are needed, and take as long as it says. Words of
a text that mean something:

======================== ===========================================================
``SIGKILL`` ``SIGSEGV``… the process that encodes it gets this signal
``LOST``                 its GPU can no longer be used; without one, it is killed
``HANG``                 it is never done
``GREEDY``               even alone it needs more memory than there is
``ROOMY``                more than two at once need more memory than there is
``BROKEN``               it ends as ``unreadable``
``25ms``                 how long it takes
======================== ===========================================================
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec, Record, Weights
from meldflow.models.schema.media import Media, Missing, Modality, Reason

CLIP_SECONDS = 3.0
"""Time limit per utterance of the runs that hang."""

MEBIBYTES = 1430
"""Memory of a worker."""

FATAL = ("SIGKILL", "SIGSEGV", "SIGABRT")
AT_ONCE = 2
NO_WEIGHTS = Weights(kind="none", revision="none")


class OutOfMemoryError(RuntimeError):
    """Called like the error of a GPU that has no memory left."""


@dataclass(frozen=True, kw_only=True)
class Fragile(Extractor):
    """What both extractors share."""

    # Not None, so that batches are as large as the options say; nothing is decoded for a text.
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)
    name: ClassVar[str]
    arrays: ClassVar[tuple[ArraySpec, ...]]
    role: ClassVar[str]

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(
            name=self.name,
            modality=Modality.TEXT,
            version=1,
            arrays=self.arrays,
            weights=self.weights,
            resource=self.role,
        )

    def load(self, device: str) -> Any:
        return device

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        texts = [one.text for one in media if not isinstance(one.text, Missing)]
        if self.role == "model":
            _suffer(texts, self.loaded)
        return [self.outcome(text) for text in texts]

    def outcome(self, text: str) -> Record:
        """What a run has to make of a text in the end, whatever happens on its way."""
        if "BROKEN" in text:
            return Missing(reason=Reason.UNREADABLE, message="broken on purpose")
        if self.role == "model":
            for name in FATAL:
                if name in text:
                    message = f"the process that encoded it died ({name})"
                    return Missing(reason=Reason.CRASHED, message=message)
            if "GREEDY" in text:
                message = f"the process that encoded it died (it needed more than {MEBIBYTES} MiB)"
                return Missing(reason=Reason.CRASHED, message=message)
            if "HANG" in text:
                message = f"not encoded within {2 * CLIP_SECONDS:g} s"
                return Missing(reason=Reason.TIMEOUT, message=message)
        seed = hashlib.sha256(f"{self.name} {text}".encode()).digest()
        rng = np.random.default_rng(list(seed))
        n_frames = seed[0] % 20
        return {
            array.name: rng.normal(
                size=(n_frames, *array.shape) if array.rate else array.shape
            ).astype(array.dtype)
            for array in self.arrays
        }


@dataclass(frozen=True, kw_only=True)
class Letters(Fragile):
    """On `model`: one vector per utterance; suffers what a text asks for."""

    name = "text/letters"
    arrays = (ArraySpec(name="vector", dims=("channel",), shape=(8,), dtype="float32"),)
    role = "model"


@dataclass(frozen=True, kw_only=True)
class Frames(Fragile):
    """On `cpu`: frames, of another number for every utterance."""

    name = "text/frames"
    arrays = (
        ArraySpec(name="frames", dims=("frame", "channel"), shape=(5,), dtype="float16", rate=1.0),
        ArraySpec(name="mean", dims=("channel",), shape=(5,), dtype="float32"),
    )
    role = "cpu"


EXTRACTORS = (Letters(weights=NO_WEIGHTS), Frames(weights=NO_WEIGHTS))


def announce(folder: Path) -> Path:
    """A folder that makes them known to every process that has it on its path."""
    about = folder / "meldflow_fragile-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: meldflow-fragile\nVersion: 1\n")
    lines = [f"{one.name} = {__name__}:{type(one).__name__}" for one in EXTRACTORS]
    (about / "entry_points.txt").write_text("\n".join(["[meldflow.extractors]", *lines, ""]))
    return folder


def _lose(device: str) -> None:
    """Makes a kernel fail, after which every call to CUDA of this process does."""
    if device == "cpu":
        os.kill(os.getpid(), signal.SIGKILL)
    import torch

    torch.zeros(1, device=device)[torch.tensor([7], device=device)].cpu()


def _suffer(texts: Sequence[str], device: str) -> None:
    whole = " ".join(texts)
    time.sleep(sum(map(int, re.findall(r"(\d+)ms", whole))) / 1000)
    for name in FATAL:
        if name in whole:
            os.kill(os.getpid(), signal.Signals[name])
    if "LOST" in whole:
        _lose(device)
    if "HANG" in whole:
        time.sleep(3600)
    if "GREEDY" in whole:
        raise MemoryError
    if "ROOMY" in whole and len(texts) > AT_ONCE:
        raise OutOfMemoryError("CUDA out of memory, or so it says")
