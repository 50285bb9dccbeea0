"""The networks that can be trained, by name; free of torch."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeAlias

from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.reference.config import ReferenceConfig

Config: TypeAlias = ReferenceConfig | FusionConfig

CONFIGS: Mapping[str, type[Config]] = {"reference": ReferenceConfig, "fusion": FusionConfig}
"""Name of a network → its settings, which lie in its folder."""


def name_of(config: Config) -> str:
    """The network that ``config`` is for."""
    return next(name for name, kind in CONFIGS.items() if type(config) is kind)


def module_of(name: str) -> Any:
    """A network's module; imports torch.

    ``prepare`` makes inputs of a table, and ``untrained`` a network for them. ``build`` takes what
    a saved model's JSON says and the arrays of its scalers, and gives the network with its initial
    weights and what makes a table ready for it; ``KeyError`` where something is not there.

    Raises:
        KeyError: no network has that name, which may come from a file.
    """
    return import_module(f"{CONFIGS[name].__module__.rpartition('.')[0]}.network")
