"""Checkpoint folders of small random networks, as their libraries save them."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

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


WHISPER = {
    "d_model": 24,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 60,
    "pad_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "decoder_start_token_id": 1,
}


def whisper(folder: Path, name: str = "whisper") -> Path:
    """Whisper and what prepares its input."""
    from transformers import WhisperFeatureExtractor

    network(folder, name, WHISPER)
    WhisperFeatureExtractor().save_pretrained(folder)
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


FUSED: dict[str, str] = {
    "self_attention/linear_0": "self_attn.q_proj self_attn.k_proj self_attn.v_proj",
    "self_attention/linear_1": "self_attn.out_proj",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_1": "encoder_attn.k_proj encoder_attn.v_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
"""CTranslate2's name within a layer → transformers'."""
SIDES = {
    "embeddings": "embed_tokens",
    "position_encodings": "embed_positions",
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "layer_norm",
}


def write_ctranslate2(file: Path, model: Any) -> None:
    """A ``WhisperModel`` as CTranslate2 keeps it, in half precision."""
    state = {name: one.numpy() for name, one in model.state_dict().items()}
    written: dict[str, Any] = {"encoder/num_heads": np.array(2, np.int16)}
    for side, layers in (("encoder", 3), ("decoder", 2)):
        places = [(f"{side}/", f"{side}.", SIDES)]
        places += [(f"{side}/layer_{n}/", f"{side}.layers.{n}.", FUSED) for n in range(layers)]
        for theirs, ours, names in places:
            for name, several in names.items():
                for end in ("weight", "bias"):
                    parts = [
                        state.get(f"{ours}{one}.{end}", np.zeros(24))
                        for one in several.split()
                        if f"{ours}{several.split()[-1]}.{end}" in state
                    ]
                    if parts:
                        norm = {"weight": "gamma", "bias": "beta"} if "norm" in name else {}
                        norm |= {"weight": "encodings"} if name == "position_encodings" else {}
                        whole = np.concatenate(parts).astype(np.float16)
                        written[f"{theirs}{name}/{norm.get(end, end)}"] = whole
    kinds = {"float16": 4, "int16": 2}
    out = struct.pack("<I", 6) + _text("WhisperSpec") + struct.pack("<II", 3, len(written))
    for name, values in sorted(written.items()):
        out += _text(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        out += struct.pack("<BI", kinds[str(values.dtype)], values.nbytes) + values.tobytes()
    file.write_bytes(out)


def _text(words: str) -> bytes:
    return struct.pack("<H", len(words) + 1) + words.encode() + b"\0"
