from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.images.extractor import ResNet50, centre
from meldflow.models.extractors.registry import build
from meldflow.models.running.computing import BACKENDS, Computing
from meldflow.models.schema.features import Features
from meldflow.models.schema.media import Missing
from tests.models.clips.decoding import in_float
from tests.models.inputs import TALKING, film, media, real

Ready = Callable[[str], Extractor]


@pytest.fixture(scope="module", params=BACKENDS)
def extractor(ready: Ready, request: pytest.FixtureRequest) -> Extractor:
    found = ready("video/resnet50")
    if request.param == "torch":
        return found
    return replace(found, computing=Computing(backend=request.param)).setup()


@pytest.fixture(scope="module")
def theirs() -> Any:
    from tests.truth.networks import their_resnet50

    return their_resnet50()


def record(extractor: Extractor, n_frames: int, height: int, width: int) -> Features:
    (found,) = extractor.extract([media(video=film(n_frames, height, width))])
    assert not isinstance(found, Missing)
    return found


def test_fewer_frames_are_masked_not_repeated(extractor: Extractor) -> None:
    found = record(extractor, 3, 256, 300)
    assert np.isfinite(found["features"][:3].astype(float)).all()
    for name in ("features", "timestamp", "entropy"):
        assert np.isnan(found[name][3:].astype(float)).all()
    assert found["frame_index"].tolist() == [0, 1, 2] + [-1] * 7
    assert found["n_frames"] == 10


@pytest.mark.parametrize("shape", [(256, 455), (256, 341), (454, 256), (256, 257)])
def test_features_equal_torchvision_s_own_preset(
    extractor: Extractor, theirs: Any, shape: tuple[int, int]
) -> None:
    import torch
    from torchvision.models import ResNet50_Weights
    from torchvision.transforms import CenterCrop, Normalize, ToTensor

    video = film(2, *shape, seed=9)
    preset = ResNet50_Weights.IMAGENET1K_V2.transforms()
    steps = [CenterCrop(224), ToTensor(), Normalize(preset.mean, preset.std)]
    rows = []
    for pixels in video.frames:
        image = Image.fromarray(pixels)
        for step in steps:
            image = step(image)
        with torch.inference_mode():
            rows.append(theirs(image[None])[0].numpy())  # type: ignore[index]
    (found,) = extractor.encode([media(video=video)])
    assert not isinstance(found, Missing)
    np.testing.assert_allclose(found["features"][:2], rows, atol=1e-4)


@pytest.mark.parametrize(("weights", "side"), [("IMAGENET1K_V1", 256), ("IMAGENET1K_V2", 232)])
@pytest.mark.parametrize("name", TALKING)
def test_real_clips_equal_torchvision_frame_by_frame(
    extractor: Extractor,
    theirs: Any,
    clip: Callable[[str], Path],
    name: str,
    weights: str,
    side: int,
) -> None:
    """From the file to the features without a line of ours, but for which frames they are."""
    import torch
    from torchvision.models import ResNet50_Weights

    assert isinstance(extractor, ResNet50)
    preset = ResNet50_Weights[weights].transforms()
    wanted = replace(extractor, short_side=side)
    (found,) = wanted.encode([real(clip(name), wanted.decoding)])
    assert not isinstance(found, Missing)
    pictures = frames_at(clip(name), found["frame_index"].tolist())
    assert len(pictures) == 10
    for row, picture in zip(found["features"], pictures, strict=True):
        with torch.inference_mode():
            expected = theirs(preset(picture)[None])[0].numpy()
        cosine = row @ expected / np.linalg.norm(row) / np.linalg.norm(expected)
        assert cosine > 0.9999


def frames_at(path: Path, wanted: list[int]) -> list[Image.Image]:
    """The frames of a clip at these positions, in their full size."""
    with av.open(str(path)) as container:
        frames = [frame for i, frame in enumerate(container.decode(video=0)) if i in wanted]
    exact = (in_float(one, (one.height, one.width)) for one in frames)
    return [Image.fromarray(np.rint(one).astype(np.uint8)) for one in exact]


def test_the_size_to_which_frames_are_scaled_is_part_of_the_key() -> None:
    (default,) = build(["video/resnet50"], {}, "random")
    (other,) = build(
        ["video/resnet50"], {}, "random", {"video/resnet50": {"short_side": 232}}, {"strict": True}
    )
    assert default.spec.parameters["short_side"] == 256
    assert other.spec.parameters["short_side"] == 232
    assert other.decoding == DecodeOptions(short_side=232, strict=True)
    assert other.spec.key != default.spec.key


def test_centre_is_torchvision_s() -> None:
    from torchvision.transforms import CenterCrop

    for shape in ((256, 455), (257, 300), (299, 256)):
        frames = film(1, *shape).frames
        expected = np.asarray(CenterCrop(224)(Image.fromarray(frames[0])))
        np.testing.assert_array_equal(centre(frames, 224)[0], expected)


def test_random_features_vary_and_fit_in_float16(extractor: Extractor) -> None:
    found = record(extractor, 4, 256, 300)["features"][:4].astype(float)
    assert 1e-3 < found.std() < 100
    assert np.abs(found[0] - found[1]).max() > 1e-3
