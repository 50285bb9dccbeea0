"""Weights of Whisper in CTranslate2's format, as transformers calls them; nothing of it is run.

A file is a header (version, name and revision of the specification, number of variables), then
each variable: name, shape, kind of number, bytes. What transformers has as several matrices of one
input is one here, the rows of the queries first.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError

_VERSION = 6
_KINDS = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "embeddings": ("embed_tokens",),
    "position_encodings": ("embed_positions",),
    "layer_norm": ("layer_norm",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
"""What is in an encoder or decoder, or in a layer of it."""
_NAME = re.compile(r"(encoder|decoder)/(?:layer_(\d+)/)?(.+)/(weight|bias|gamma|beta|encodings)")
_ENDS = {"gamma": "weight", "beta": "bias", "encodings": "weight"}


def whisper_state(file: Path) -> dict[str, NDArray[np.float32]]:
    """The parameters of a ``WhisperModel``, fp32.

    Raises:
        UsageError: the file is of another format or model, or damaged.
    """
    try:
        with file.open("rb") as stream:
            version, spec = _number(stream, "<I"), _text(stream)
            if (version, spec) != (_VERSION, "WhisperSpec"):
                raise UsageError(f"{file} holds {spec!r} in version {version}, not Whisper in 6")
            return dict(_parameters(stream))
    except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise UsageError(f"{file} is damaged, or its weights are compressed: {error}") from error


def _parameters(stream: BinaryIO) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, values in _variables(stream):
        if (found := _NAME.fullmatch(name)) is None:
            continue  # a setting
        side, layer, what, end = found.groups()
        several = _NAMES[what]
        for own, part in zip(several, np.split(values, len(several)), strict=True):
            if not own.endswith("k_proj") or end != "bias":  # which are zero, and no parameter
                within = f"{side}.layers.{layer}" if layer else side
                yield f"{within}.{own}.{_ENDS.get(end, end)}", part.astype(np.float32)


def _variables(stream: BinaryIO) -> Iterator[tuple[str, NDArray[Any]]]:
    _number(stream, "<I")  # the specification's revision
    for _ in range(_number(stream, "<I")):
        name, rank = _text(stream), _number(stream, "<B")
        shape = [_number(stream, "<I") for _ in range(rank)]
        kind, size = np.dtype(_KINDS[_number(stream, "<B")]), _number(stream, "<I")
        yield name, np.frombuffer(stream.read(size), kind).reshape(shape)


def _number(stream: BinaryIO, kind: str) -> int:
    (value,) = struct.unpack(kind, stream.read(struct.calcsize(kind)))
    return int(value)


def _text(stream: BinaryIO) -> str:
    return stream.read(_number(stream, "<H")).rstrip(b"\0").decode()
