"""An extractor that does to its process what a text tells it to; workers import it by name."""

from __future__ import annotations

import builtins
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec, Weights
from meldflow.models.schema.media import Media, Missing, Modality


@dataclass(frozen=True, kw_only=True)
class Evil(Extractor):
    """Counts letters; ``segfault`` and ``sleep`` in a text are done, not counted.

    ``wait 0.5`` takes so long, ``until FILE`` until the file is there, and ``trip FILE`` raises
    what a network would for as long as it is; ``log FILE`` leaves a mark in it. It decodes, or says
    so: what decodes comes in batches.
    """

    weights: Weights = field(default_factory=lambda: Weights(kind="none", revision="none"))
    decoding: DecodeOptions | None = field(
        default_factory=DecodeOptions
    )  # so texts come in batches
    resource: str = "model"
    broken: str = ""
    """What ``load`` raises: the name of a built-in exception."""
    until: str = ""
    """A file that ``load`` waits for."""

    @property
    def spec(self) -> FeatureSpec:
        array = ArraySpec(name="count", dims=(), shape=(), dtype="int32")
        return FeatureSpec(
            name="text/evil",
            modality=Modality.TEXT,
            version=1,
            arrays=(array,),
            weights=self.weights,
            resource=self.resource,
        )

    def load(self, device: str) -> Any:
        if self.broken:
            raise getattr(builtins, self.broken)("these weights are of another network")
        _await(self.until)
        return device

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        texts = [str(one.text) for one in media]
        if any("segfault" in text for text in texts):
            os.kill(os.getpid(), signal.SIGSEGV)
        if any("sleep" in text for text in texts):
            time.sleep(60)
        for text in texts:
            word, _, rest = text.partition(" ")
            if word == "wait":
                time.sleep(float(rest))
            if word == "until":
                _await(rest)
            if word == "trip" and Path(rest).exists():
                raise ConnectionError("the network is away")
            if word == "log":
                with Path(rest).open("a") as log:
                    log.write("x")
        return [{"count": np.array(len(text))} for text in texts]


def _await(file: str) -> None:
    while file and not Path(file).exists():
        time.sleep(0.05)
