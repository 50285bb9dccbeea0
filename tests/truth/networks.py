"""The networks on a clip, by transformers and torchvision, one at a time, with the same weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.images.libraries import untrained
from meldflow.models.extractors.registry import build
from meldflow.models.schema.media import Audio, Media, Missing, Video
from meldflow.models.weights.find import seed
from meldflow.models.weights.load import seeded
from meldflow.models.weights.sources import package_folder
from tests.models.inputs import media
from tests.truth.examine import Finding

SECONDS = 10
"""Of a clip's sound, at most so much is given to wav2vec 2.0: in one piece by both."""
ALIKE = 0.9999
"""Least cosine of a row with the one by the other."""


def compared(path: Path) -> Iterator[Finding]:
    """Every network that the clip has something for."""
    decoded = decode(path)
    if isinstance(decoded.audio, Audio) and decoded.audio.samples.size >= 400:
        samples = decoded.audio.samples[: SECONDS * 16_000]
        ours = _record("audio/wav2vec2", media(Audio(samples=samples)))
        yield _alike(path, "wav2vec 2.0", ours["frames"], _wav2vec2(samples))
    if isinstance(decoded.video, Video):
        ours = _record("video/resnet50", media(video=decoded.video))
        theirs = _resnet50(decoded.video.frames)
        yield _alike(path, "ResNet-50", ours["features"][: len(theirs)], theirs)
    text = path.stem.replace("_", " ")
    ours = _record("text/minilm", media(text=text))
    yield _alike(path, "MiniLM on its name", ours["embedding"][None], _minilm(text))


@functools.cache
def _ready(name: str) -> Extractor:
    weights = "pretrained" if name == "text/minilm" else "random"
    (extractor,) = build([name], {}, weights)
    return extractor.setup()


def _record(name: str, one: Media) -> Any:
    (record,) = _ready(name).extract([one])
    assert not isinstance(record, Missing), record
    return record


def _alike(path: Path, what: str, ours: Any, theirs: NDArray[np.float32]) -> Finding:
    """The least cosine of two rows, shape (n_rows, width) each."""
    ours = np.asarray(ours, np.float64)
    if ours.shape != theirs.shape:
        return Finding(
            clip=path.name, what=what, ours=str(ours.shape), theirs=str(theirs.shape), agree=False
        )
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    least = float(((ours * theirs).sum(axis=1) / lengths).min())
    return Finding(
        clip=path.name,
        what=f"{what}: least cosine of {len(ours)} rows",
        ours=f"{least:.6f}",
        theirs="1",
        agree=least >= ALIKE,
    )


def _number(name: str) -> int:
    """What its random weights are drawn by."""
    found = seed(build([name], {}, "random")[0].weights)
    assert found is not None
    return found


@functools.cache
def their_wav2vec2() -> Any:
    """The same network as transformers builds it, with none of our changes."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return seeded(_number("audio/wav2vec2"), lambda: Wav2Vec2Model(Wav2Vec2Config())).eval()


def _wav2vec2(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    from transformers import Wav2Vec2FeatureExtractor

    prepare = Wav2Vec2FeatureExtractor(do_normalize=True)
    values = prepare(samples, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        return np.asarray(their_wav2vec2()(values).last_hidden_state[0])


@functools.cache
def their_resnet50() -> Any:
    """The same network as torchvision builds it, with none of our changes."""
    model = seeded(_number("video/resnet50"), lambda: untrained("resnet50"))
    model.fc = torch.nn.Identity()
    return model.eval()


def _resnet50(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    from PIL import Image
    from torchvision.models import ResNet50_Weights
    from torchvision.transforms import CenterCrop, Compose, Normalize, ToTensor

    preset = ResNet50_Weights.IMAGENET1K_V2.transforms()
    steps = Compose([CenterCrop(224), ToTensor(), Normalize(preset.mean, preset.std)])
    with torch.inference_mode():
        rows = [their_resnet50()(steps(Image.fromarray(one))[None])[0] for one in frames]
    return torch.stack(rows).numpy()


@functools.cache
def _their_minilm() -> Any:
    from sentence_transformers import SentenceTransformer

    extractor = _ready("text/minilm")
    assert extractor.published is not None
    return SentenceTransformer(str(package_folder(extractor.published)), device="cpu")


def _minilm(text: str) -> NDArray[np.float32]:
    return np.asarray(_their_minilm().encode([text], show_progress_bar=False))
