"""meldflow: multimodal features of the MELD clips, extracted on a cluster, versioned and judged.

What a person at a prompt wants is reached from here and loaded when it is first asked for, so
that ``import meldflow`` loads neither torch nor Prefect nor Dask.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meldflow import testing as testing
    from meldflow.models.clips.options import DecodeOptions as DecodeOptions
    from meldflow.models.extractors.contract import Extractor as Extractor
    from meldflow.models.schema.errors import MeldflowError as MeldflowError
    from meldflow.models.schema.errors import UsageError as UsageError
    from meldflow.models.schema.features import ArraySpec as ArraySpec
    from meldflow.models.schema.features import FeatureSpec as FeatureSpec
    from meldflow.models.schema.media import Media as Media
    from meldflow.models.schema.media import Missing as Missing
    from meldflow.models.schema.media import Modality as Modality
    from meldflow.models.schema.media import Reason as Reason
    from meldflow.models.streaming import PartitionStream as PartitionStream
    from meldflow.models.training.saved import load_model as load_model
    from meldflow.models.weights.find import NO_WEIGHTS as NO_WEIGHTS
    from meldflow.storage import open_store as open_store

    __version__: str

_HOMES = {
    "open_store": "storage",
    "Extractor": "models.extractors.contract",
    "DecodeOptions": "models.clips.options",
    "ArraySpec": "models.schema.features",
    "FeatureSpec": "models.schema.features",
    "Media": "models.schema.media",
    "Missing": "models.schema.media",
    "Modality": "models.schema.media",
    "Reason": "models.schema.media",
    "NO_WEIGHTS": "models.weights.find",
    "load_model": "models.training.saved",
    "PartitionStream": "models.streaming",
    "MeldflowError": "models.schema.errors",
    "UsageError": "models.schema.errors",
}
"""The module below ``meldflow`` that each name comes from."""


if not TYPE_CHECKING:  # for a type checker, a name that is not above is not there

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(importlib.import_module(f"meldflow.{_HOMES[name]}"), name)
        elif name == "testing":
            value = importlib.import_module("meldflow.testing")
        elif name == "__version__":
            value = importlib.import_module("importlib.metadata").version("meldflow")
        else:
            raise AttributeError(f"module 'meldflow' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "testing", "__version__"})
