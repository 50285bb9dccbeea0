"""Families of encoders: any network of a kind, as an extractor with a name of its own.

An instance is a checkpoint, parameters and a name. What its features will be like is read from
the files beside the weights before anything is loaded, and those files are part of its key: the
same weights under another configuration give other numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, FeatureSpec
from meldflow.models.schema.media import Modality
from meldflow.models.weights.find import find, seed
from meldflow.models.weights.load import pretrained, quiet, seeded
from meldflow.models.weights.sources import PACKAGED, PublishedModel, package_folder

CONFIG, INPUTS = "config.json", "preprocessor_config.json"

_SIZES = (
    ("hidden_size", "d_model", "dim"),
    ("num_hidden_layers", "encoder_layers", "n_layers"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is known of an extractor's network before it is loaded."""

    name: str
    """The extractor's own, e.g. ``audio/wavlm``."""
    width: int
    """Length of a hidden state."""
    depth: int
    """Layers; hidden state 0 is what the first of them is given, the k-th comes from the k-th."""
    version: int = 1
    """Raised by the author when the same parameters give other values."""
    architecture: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What ``config.json`` would say, where none lies beside the weights."""
    beside: tuple[str, ...] = ()
    """Files beside the weights that decide the values."""
    key: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What it adds to the parameters: its family, and a digest of the files beside the weights."""


@dataclass(frozen=True, kw_only=True)
class Encoder(Extractor):
    """What every family shares."""

    kind: ClassVar[str] = ""
    """The name of the family; empty for what is an extractor of its own."""
    beside: ClassVar[tuple[str, ...]] = (CONFIG, INPUTS)
    may_lack: ClassVar[tuple[str, ...]] = ()
    """Parameters that a checkpoint need not have, since nothing here uses them."""

    checkpoint: Checkpoint
    """Which network it is."""

    def __post_init__(self) -> None:
        """Refuses layers that are not there (``ValueError``)."""
        layers, depth = tuple(sorted(set(getattr(self, "layers", ())))), self.checkpoint.depth
        if not set(layers) <= set(range(depth + 1)):
            raise ValueError(f"layers must be some of 0 to {depth}, got {layers}")
        object.__setattr__(self, "layers", layers)

    @classmethod
    def source(cls, model: str, architecture: Mapping[str, Any] | None = None) -> PublishedModel:
        """Where a checkpoint of the family is looked for: a name on the hub, or a folder."""
        if (brought := PACKAGED.get(model)) and package_folder(brought):
            return brought
        return PublishedModel(
            model=model,
            files=("model.safetensors", "pytorch_model.bin"),
            beside=cls.beside,
            hub=not is_folder(model),
            architecture=architecture or {},
        )

    @classmethod
    def suggested(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters that the checkpoint decides where nobody else does.

        Args:
            settings: the files beside it, by name.
        """
        return {}

    @classmethod
    def of(
        cls, name: str, source: PublishedModel, wanted: str, parameters: Mapping[str, Any]
    ) -> Self:
        """The extractor ``name``, with its weights found but nothing loaded.

        Raises:
            UsageError: see ``find``, or the files beside the weights do not suffice.
            ValueError: a parameter cannot be had with this network.
        """
        own = is_folder(source.model)
        weights = find(source, source.model if own and wanted == "pretrained" else wanted)
        if own and weights.kind == "random":
            weights = replace(weights, location=str(Path(source.model, CONFIG)))
        beside = source.beside if weights.location else ()
        settings, digest = _read(Path(weights.location).parent, beside)
        settings = settings or {CONFIG: dict(source.architecture)}
        if not settings[CONFIG]:
            raise UsageError(
                f"{name}: random weights of {source.model} need its {CONFIG}; give a folder that "
                "holds it as the checkpoint"
            )
        width, depth = cls.sizes(settings[CONFIG], source.model)
        checkpoint = Checkpoint(
            name=name,
            width=width,
            depth=depth,
            architecture={} if beside else source.architecture,
            beside=beside,
            key={"kind": cls.kind, "config": digest or _digest([json.dumps(settings).encode()])},
        )
        chosen = {**cls.suggested(settings), **parameters}
        return cls(weights=weights, checkpoint=checkpoint, **chosen)

    @classmethod
    def sizes(cls, config: Mapping[str, Any], model: str) -> tuple[int, int]:
        """Width and depth of a network, which architectures call differently."""
        try:
            width, depth = (next(config[x] for x in some if x in config) for some in _SIZES)
            return int(width), int(depth)
        except (StopIteration, RuntimeError) as error:
            raise UsageError(f"{model}: what its {CONFIG} describes is no {cls.kind}") from error

    @property
    def folder(self) -> Path:
        """Where its checkpoint lies."""
        return Path(self.weights.location).parent

    def settings(self) -> dict[str, Any]:
        """The files beside the weights, by name, which are still those that were found.

        Raises:
            UsageError: they are not.
        """
        if self.checkpoint.architecture:
            return {CONFIG: dict(self.checkpoint.architecture)}
        settings, digest = _read(self.folder, self.checkpoint.beside)
        if digest != self.checkpoint.key.get("config", digest):
            raise UsageError(f"{self.folder} holds other files than were found")
        return settings

    def transformer(self, kind: Any = None) -> Any:
        """The plain network of transformers, whole, in eval mode and fp32 on the CPU.

        Args:
            kind: its class; by default what its configuration names.
        """
        from transformers import AutoConfig, AutoModel

        quiet()
        kind, number = kind or AutoModel, seed(self.weights)
        if number is None:
            return pretrained(kind, self.weights, self.may_lack).eval()
        if self.checkpoint.architecture:
            config = AutoConfig.for_model(**self.checkpoint.architecture)
        else:
            config = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        if kind is AutoModel:
            return seeded(number, lambda: kind.from_config(config)).eval()
        part = getattr(config, "vision_config", config)  # of a network that reads, too
        return seeded(number, lambda: kind._from_config(part)).eval()

    @property
    def short(self) -> str:
        """Its name without the modality, which names a dimension of its arrays."""
        return self.checkpoint.name.partition("/")[2]

    def described(self, *arrays: ArraySpec, **decided: Any) -> FeatureSpec:
        """Its spec, with its parameters and whatever else ``decided`` the values."""
        own = {
            one.name: list(value) if isinstance(value, tuple) else value
            for one in fields(self)
            if one.init and one.name not in SHARED
            for value in [getattr(self, one.name)]
        }
        computed = {} if self.computing is None else self.computing.parameters
        return FeatureSpec(
            name=self.checkpoint.name,
            modality=Modality(self.checkpoint.name.partition("/")[0]),
            version=self.checkpoint.version,
            arrays=arrays,
            weights=self.weights,
            parameters={**own, **self.checkpoint.key, **computed, **decided},
        )


SHARED = frozenset(one.name for one in fields(Encoder))
"""What every extractor has, and other options set."""


def is_folder(model: str) -> bool:
    """Whether a checkpoint is a folder of one's own, and no name on the hub."""
    return model.startswith(("/", ".", "~"))


def _read(folder: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """JSON files in a folder, by name, and what tells their bytes from others."""
    try:
        files = {name: (folder / name).read_bytes() for name in names}
        return {name: json.loads(file) for name, file in files.items()}, _digest([*files.values()])
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: {', '.join(names)} cannot be read: {error}") from error


def _digest(parts: list[bytes]) -> str:
    each = [hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(b"".join(each)).hexdigest()[:12] if parts else ""
