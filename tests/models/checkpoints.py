"""Checkpoint folders of small random networks, as their libraries save them."""

from __future__ import annotations

import json
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


EYES = SMALL | {"image_size": 48, "patch_size": 16}

IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("clip", {"vision_config": EYES, "text_config": SMALL | {"vocab_size": 99}}),
    "dinov2": ("dinov2", EYES),
    "vit": ("vit", EYES),
}


def images(folder: Path, name: str) -> Path:
    """An image encoder and what prepares its input."""
    kind, changes = IMAGES[name]
    network(folder, kind, changes)
    prepared = {
        "size": {"shortest_edge": 56},
        "crop_size": {"height": 48, "width": 48},
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


LETTERS = {"vocab_size": 300, "max_position_embeddings": 80, "pad_token_id": 1}

TEXT: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", SMALL | LETTERS),
    "roberta": ("roberta", SMALL | LETTERS),
    "mpnet": ("mpnet", SMALL | LETTERS),
    "distilbert": (
        "distilbert",
        LETTERS | {"dim": 24, "n_layers": 3, "n_heads": 2, "hidden_dim": 32},
    ),
}


def text(folder: Path, name: str) -> Path:
    """A text encoder, and a tokenizer that knows bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    kind, changes = TEXT[name]
    network(folder, kind, changes)
    special = ["<s>", "<pad>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
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
