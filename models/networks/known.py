"""The networks that can be trained, by name; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.reference.config import ReferenceConfig

Config: TypeAlias = ReferenceConfig | FusionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A kind of network: a folder with its ``inputs`` and its ``training``."""

    config: type[Config]
    package: str
    resumes: bool
    """Whether its state is kept after each epoch: of the reference network, which is trained in
    minutes, that is 90 MB per seed."""

    def prepare(self, *given: Any) -> Any:
        """Its inputs, from a table, the rows to fit on, the ledger and its settings."""
        return import_module(f"{self.package}.inputs").prepare(*given)

    @property
    def training(self) -> Any:
        """Its module with ``fit_network`` and ``build``; imports torch."""
        return import_module(f"{self.package}.training")


ARCHITECTURES: Mapping[str, Architecture] = {
    "reference": Architecture(
        config=ReferenceConfig, package="meldflow.models.networks.reference", resumes=False
    ),
    "fusion": Architecture(
        config=FusionConfig, package="meldflow.models.networks.fusion", resumes=True
    ),
}


def name_of(config: Config) -> str:
    """The network that ``config`` is for."""
    return next(name for name, one in ARCHITECTURES.items() if type(config) is one.config)
