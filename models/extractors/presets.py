"""Encoders that can be had by name alone: a line each, and the packages that bring weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS: Mapping[str, str] = {
    "audio/speech": "meldflow.models.extractors.speech.extractor:Speech",
    "audio/whisper": "meldflow.models.extractors.speech.whisper:Whisper",
    "video/image": "meldflow.models.extractors.images.extractor:Images",
    "text/encoder": "meldflow.models.extractors.text:Texts",
}
"""Family → ``module:Class``."""


@dataclass(frozen=True, slots=True)
class Preset:
    """An instance of a family, whoever declared it."""

    kind: str
    checkpoint: str
    """A name on the hub, or a folder."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those that differ from the family's defaults."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """What random weights are made of where the checkpoint is not there."""


_UNIT = {"unit_length": True}


def _base(model_type: str) -> dict[str, Any]:
    """The size that most published encoders have."""
    return {"model_type": model_type, "hidden_size": 768, "num_hidden_layers": 12}


PRESETS: Mapping[str, Preset] = {
    "audio/wavlm": Preset("audio/speech", "microsoft/wavlm-base-plus", {}, _base("wavlm")),
    "audio/wavlm-large": Preset("audio/speech", "microsoft/wavlm-large"),
    "audio/hubert": Preset("audio/speech", "facebook/hubert-base-ls960", {}, _base("hubert")),
    "audio/hubert-large": Preset("audio/speech", "facebook/hubert-large-ll60k"),
    "audio/data2vec": Preset(
        "audio/speech", "facebook/data2vec-audio-base", {}, _base("data2vec-audio")
    ),
    "audio/wav2vec2-robust": Preset("audio/speech", "facebook/wav2vec2-large-robust"),
    "audio/whisper-tiny": Preset("audio/whisper", "openai/whisper-tiny.en"),
    "audio/whisper-base": Preset("audio/whisper", "openai/whisper-base"),
    "audio/whisper-large": Preset("audio/whisper", "openai/whisper-large-v3"),
    "video/clip": Preset("video/image", "openai/clip-vit-base-patch32"),
    "video/clip-large": Preset("video/image", "openai/clip-vit-large-patch14"),
    "video/dinov2": Preset("video/image", "facebook/dinov2-base"),
    "video/vit": Preset("video/image", "google/vit-base-patch16-224"),
    "video/efficientnet-lite0": Preset("video/image", "timm/tf_efficientnet_lite0.in1k"),
    "video/efficientnet-v2": Preset("video/image", "torchvision/efficientnet_v2_s-IMAGENET1K_V1"),
    "text/roberta": Preset("text/encoder", "FacebookAI/roberta-base"),
    "text/bert": Preset("text/encoder", "google-bert/bert-base-uncased"),
    "text/mpnet": Preset("text/encoder", "sentence-transformers/all-mpnet-base-v2", _UNIT),
    "text/e5": Preset("text/encoder", "intfloat/e5-base-v2", _UNIT),
}
"""Name → what it is."""
