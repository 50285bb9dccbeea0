"""``video/image``: pooled features of the chosen frames; ``video/resnet50`` is one.

Any image encoder of torchvision, of timm, or of transformers (CLIP, DINOv2, ViT).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.encoder import CONFIG, INPUTS, Checkpoint, Encoder, is_folder
from meldflow.models.extractors.images.libraries import (
    TORCHVISION,
    network,
    prepared,
    published,
)
from meldflow.models.running.backends import ready, room
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Video
from meldflow.models.weights.sources import PublishedModel

_FRAMES_ON_CPU = 8
"""Frames per forward pass."""
_BYTES_PER_FRAME = 20_000_000
"""Of activations, at the widest point."""
_RESNET50 = Checkpoint(
    name="video/resnet50",
    width=2048,
    depth=0,
    architecture={
        TORCHVISION: "resnet50",
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
    },
)


@dataclass(frozen=True, kw_only=True)
class Images(Encoder):
    """What an image encoder says of each chosen frame; fewer frames leave masked rows."""

    kind: ClassVar[str] = "video/image"
    # A head that only some checkpoints have, and nothing here uses.
    may_lack: ClassVar[tuple[str, ...]] = ("pooler.dense.weight", "pooler.dense.bias")

    short_side: Annotated[int, Ge(32)] = 224
    """Shorter side of the frames before the crop, pixels; by default as the checkpoint says. Where
    it differs from what other extractors want, clips are decoded once more."""
    crop: Annotated[int, Ge(32)] = 224
    """Side of the square cut from the middle, pixels; by default as the checkpoint says."""
    layers: tuple[Annotated[int, Ge(0)], ...] = ()
    """Hidden states whose first tokens are averaged, of transformers; the network's own summary by
    default."""
    decoding: DecodeOptions = field(default_factory=DecodeOptions)
    """How the clip is decoded and its frames are chosen and scaled."""
    computing: Computing = field(default_factory=Computing)
    """What the network is run by, and in which numbers."""

    def __post_init__(self) -> None:
        """Refuses a crop larger than the frames, and layers not there (``ValueError``)."""
        super().__post_init__()
        if self.layers and not self.checkpoint.depth:
            raise ValueError(f"{self.checkpoint.name} has no layers to choose from")
        if not 32 <= self.crop <= self.short_side:
            raise ValueError(f"crop {self.crop} must be from 32 to short_side {self.short_side}")
        # Frames are scaled once, from the clip's own size.
        object.__setattr__(self, "decoding", replace(self.decoding, short_side=self.short_side))

    @classmethod
    def source(cls, model: str, architecture: Mapping[str, Any] | None = None) -> PublishedModel:
        """Where a checkpoint is looked for; torchvision's are ``torchvision/NAME-WEIGHTS``."""
        if model.startswith(f"{TORCHVISION}/"):
            return published(model)
        found = super().source(model, architecture)
        of_timm = model.startswith("timm/") or (
            is_folder(model) and not Path(model).expanduser().joinpath(INPUTS).exists()
        )
        return replace(found, beside=(CONFIG,)) if of_timm and found.beside else found

    @classmethod
    def sizes(cls, config: Mapping[str, Any], model: str) -> tuple[int, int]:
        """Width of a picture's features, and the number of layers to choose from."""
        if "model_type" not in config:
            return int(config["num_features"]), 0
        return super().sizes({**config, **config.get("vision_config", {})}, model)

    @classmethod
    def suggested(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The size of pictures that the network was trained on."""
        try:
            wanted = prepared(settings)
        except KeyError as error:
            raise UsageError(f"nothing beside the checkpoint says {error} of pictures") from error
        return {"short_side": wanted.short_side, "crop": wanted.crop}

    @property
    def spec(self) -> FeatureSpec:
        """Features (10, width) and what is known of each frame; masked rows are NaN or -1."""
        n, width = self.decoding.frames, (self.short, self.checkpoint.width)

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

        return self.described(
            per_frame("features", "float16", f"pooled features of {self.short}", width),
            per_frame("frame_index", "int32", "position among the decoded frames, or -1"),
            per_frame("timestamp", "float32", "time from the clip's start", units="s"),
            per_frame("entropy", "float32", "entropy of the luma histogram", units="bit"),
            ArraySpec(
                name="n_frames", dims=(), shape=(), dtype="int32", long_name="decoded frames"
            ),
            **self.decoding.video_parameters,
        )

    def load(self, device: str) -> Any:
        """The network without its classifier."""
        from meldflow.models.extractors.images.pooled import Pooled

        how, shape = prepared(self.settings()), (self.crop, self.crop, 3)
        module = Pooled(network(self, self.layers, self.crop), how.mean, how.std)
        example = [np.zeros((2, *shape), np.uint8)]
        return ready(module.eval(), self.computing, device, example, [(-1, *shape)])

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
        """Features of RGB crops (n, side, side, 3), shape (n, width)."""
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


@dataclass(frozen=True, kw_only=True)
class ResNet50(Images):
    """Features of up to ten frames per clip; fewer frames leave masked rows at the end.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; weights
    ResNet50_Weights.IMAGENET1K_V2 of torchvision.
    """

    kind: ClassVar[str] = ""
    published: ClassVar[PublishedModel | None] = PublishedModel(
        model="torchvision/resnet50-IMAGENET1K_V2",
        files=("resnet50-11ad3fa6.pth", "model.safetensors"),
        url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        digest="11ad3fa6",
    )

    checkpoint: Checkpoint = _RESNET50
    short_side: int = 256
    """Shorter side of the frames before the crop, pixels: 256, as in torchvision's preset for the
    weights IMAGENET1K_V1; for IMAGENET1K_V2, the published ones here, it has 232. Where it differs
    from what other extractors want, clips are decoded once more."""
    crop: int = 224
    """Side of the square cut from the middle, pixels."""
    layers: tuple[Annotated[int, Ge(0)], ...] = field(default=(), init=False)


def centre(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The middle square of RGB frames, shape (n, side, side, 3), as torchvision crops it."""
    height, width = frames.shape[1:3]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return frames[:, top : top + side, left : left + side]


def _filled(rows: NDArray[Any], n: int, value: float) -> NDArray[Any]:
    full = np.full((n, *rows.shape[1:]), value, rows.dtype)
    full[: len(rows)] = rows
    return full
