"""Checkpoint folders of small random networks, as their libraries save them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meldflow.models.weights.load import quiet, seeded

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
EARS = {
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
POSITIONS = {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19}

SPEECH: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("wav2vec2", EARS),
    "wav2vec2-large": ("wav2vec2", EARS | LARGE),
    "hubert": ("hubert", EARS),
    "hubert-large": ("hubert", EARS | LARGE),
    "wavlm": ("wavlm", EARS),
    "wavlm-large": ("wavlm", EARS | LARGE),
    "data2vec": (
        "data2vec-audio",
        EARS | {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19},
    ),
}
"""Architecture → model type, and what differs from its default configuration."""


def speech(folder: Path, name: str, *, do_normalize: bool = True) -> Path:
    """A speech encoder and what prepares its input."""
    from transformers import Wav2Vec2FeatureExtractor

    kind, changes = SPEECH[name]
    network(folder, kind, SMALL | changes)
    Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


def network(folder: Path, kind: str, changes: dict[str, Any], model: Any = None) -> Any:
    """A network of transformers with random weights, saved."""
    from transformers import AutoConfig, AutoModel

    quiet()
    config = AutoConfig.for_model(kind, **changes)
    made = seeded(7, lambda: (model or AutoModel.from_config)(config)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_pretrained(folder)
    return made


Maker = Callable[..., Path]
