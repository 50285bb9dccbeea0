"""``video/resnet50``: pooled ResNet-50 features of the chosen frames.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; weights
ResNet50_Weights.IMAGENET1K_V2 of torchvision.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.backends import ready, room
from meldflow.models.running.computing import Computing
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Modality, Video
from meldflow.models.weights.find import seed
from meldflow.models.weights.load import fill, seeded
from meldflow.models.weights.sources import PublishedModel

_SIZE = 2048
_FRAMES_ON_CPU = 8
"""Frames per forward pass."""
_BYTES_PER_FRAME = 20_000_000
"""Of activations, at the widest point."""
_RESIDUAL_SCALE = 0.25
"""Scale of each residual branch with random weights. At 1 the variance doubles with each of
the 16 blocks and features leave float16's range; at 0 all blocks do nothing."""


@dataclass(frozen=True, kw_only=True)
class ResNet50(Extractor):
    """Features of up to ten frames per clip; fewer frames leave masked rows at the end."""

    published: ClassVar[PublishedModel | None] = PublishedModel(
        model="torchvision/resnet50-IMAGENET1K_V2",
        files=("resnet50-11ad3fa6.pth", "model.safetensors"),
        url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        digest="11ad3fa6",
    )

    short_side: int = 256
    """Shorter side of the frames before the crop, pixels: 256, as in torchvision's preset for the
    weights IMAGENET1K_V1; for IMAGENET1K_V2, the published ones here, it has 232. Where it differs
    from what other extractors want, clips are decoded once more."""
    crop: int = 224
    """Side of the square cut from the middle, pixels."""
    decoding: DecodeOptions = field(default_factory=DecodeOptions)
    """How the clip is decoded and its frames are chosen and scaled."""
    computing: Computing = field(default_factory=Computing)
    """What the network is run by, and in which numbers."""

    def __post_init__(self) -> None:
        """Refuses a crop larger than the frames (``ValueError``)."""
        if not 32 <= self.crop <= self.short_side:
            raise ValueError(f"crop {self.crop} must be from 32 to short_side {self.short_side}")
        # Frames are scaled once, from the clip's own size.
        object.__setattr__(self, "decoding", replace(self.decoding, short_side=self.short_side))

    @property
    def spec(self) -> FeatureSpec:
        """Features (10, 2048) and what is known of each frame; masked rows are NaN or -1."""
        n = self.decoding.frames

        def per_frame(
            name: str, dtype: str, long_name: str, *rest: tuple[str, int], units: str = ""
        ) -> ArraySpec:
            return ArraySpec(
                name=name,
                dims=("keyframe", *(dim for dim, _ in rest)),
                shape=(n, *(size for _, size in rest)),
                dtype=dtype,
                may_be_nan=dtype.startswith("float"),
                units=units,
                long_name=long_name,
            )

        return FeatureSpec(
            name="video/resnet50",
            modality=Modality.VIDEO,
            version=1,
            arrays=(
                per_frame("features", "float16", "pooled ResNet-50 features", ("resnet50", _SIZE)),
                per_frame("frame_index", "int32", "position among the decoded frames, or -1"),
                per_frame("timestamp", "float32", "time from the clip's start", units="s"),
                per_frame("entropy", "float32", "entropy of the luma histogram", units="bit"),
                ArraySpec(
                    name="n_frames", dims=(), shape=(), dtype="int32", long_name="decoded frames"
                ),
            ),
            weights=self.weights,
            parameters={
                "crop": self.crop,
                **self.computing.parameters,
                **self.decoding.video_parameters,
            },
        )

    def network(self) -> Any:
        """Torchvision's plain ``resnet50``, in eval mode and fp32 on the CPU."""
        from torchvision.models import resnet50

        number = seed(self.weights)
        model = fill(resnet50(), self.weights) if number is None else seeded(number, _random)
        return model.eval()

    def load(self, device: str) -> Any:
        """The network without its classifier."""
        from meldflow.models.extractors.images.pooled import Pooled

        shape = (self.crop, self.crop, 3)
        example = [np.zeros((2, *shape), np.uint8)]
        return ready(Pooled(self.network()), self.computing, device, example, [(-1, *shape)])

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """One row per chosen frame of every clip."""
        videos = [one.video for one in media if not isinstance(one.video, Missing)]
        if not videos:
            return []
        crops = np.concatenate([centre(video.frames, self.crop) for video in videos])
        rows = self._forward(crops)
        ends = np.cumsum([len(video.index) for video in videos])
        parts = np.split(rows, ends[:-1])
        return [self._masked(video, part) for video, part in zip(videos, parts, strict=True)]

    def _forward(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of RGB crops (n, side, side, 3), shape (n, 2048)."""
        size = room(self.loaded.device, on_cpu=_FRAMES_ON_CPU, bytes_each=_BYTES_PER_FRAME)
        parts = ([crops[begin : begin + size]] for begin in range(0, len(crops), size))
        return np.concatenate(self.loaded.run(parts))

    def _masked(self, video: Video, rows: NDArray[np.float32]) -> Features:
        n = self.decoding.frames
        return {
            "features": _filled(rows, n, np.nan),
            "frame_index": _filled(video.index, n, -1),
            "timestamp": _filled(video.timestamp, n, np.nan),
            "entropy": _filled(video.entropy, n, np.nan),
            "n_frames": np.array(video.n_frames, np.int32),
        }


def centre(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The middle square of RGB frames, shape (n, side, side, 3), as torchvision crops it."""
    height, width = frames.shape[1:3]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return frames[:, top : top + side, left : left + side]


def _filled(rows: NDArray[Any], n: int, value: float) -> NDArray[Any]:
    full = np.full((n, *rows.shape[1:]), value, rows.dtype)
    full[: len(rows)] = rows
    return full


def _random() -> Any:
    import torch
    from torchvision.models import resnet50
    from torchvision.models.resnet import Bottleneck

    model = resnet50()
    for module in model.modules():
        if isinstance(module, Bottleneck):
            torch.nn.init.constant_(module.bn3.weight, _RESIDUAL_SCALE)
    return model
