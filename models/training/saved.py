"""A trained model kept, read back and used: safetensors and JSON only, nothing is unpickled."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from meldflow.models.files import write_atomically
from meldflow.models.judging.calibration import log_probabilities
from meldflow.models.judging.svm import SavedSvm
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Output
from meldflow.models.schema.errors import UsageError
from meldflow.models.training.networks import module_of
from meldflow.models.training.run import Trained

DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)
"""What reading or using a model raises whose files hold something else than they should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A model as ``save_model`` wrote it."""

    network: Callable[[FeatureTable], Output[NDArray[np.float32]]]
    """What it says of every row of a table."""
    svm: SavedSvm
    described: Mapping[str, Any]
    """What ``config.json`` says."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What it tells apart."""
        return tuple(self.described["classes"])

    @property
    def winner(self) -> str:
        """``network`` or ``svm``: what dev preferred."""
        return str(self.described["winner"])

    def probabilities(self, table: FeatureTable) -> dict[str, NDArray[np.float64]]:
        """Probability of each class, shape (n, k), by ``network`` and by ``svm``.

        Context fusion looks at what was said around an utterance: the table should hold whole
        dialogues. A class that training never saw has probability 0 by the SVM.
        """
        output = self.network(table)
        said: dict[str, NDArray[np.floating[Any]]] = {
            "network": output.logits,
            "svm": self.svm.scores(output.fused),
        }
        warmth = {"network": self.described["temperature"], "svm": self.svm.temperature}
        return {name: np.exp(log_probabilities(said[name], warmth[name])) for name in said}

    def predict(self, table: FeatureTable) -> dict[str, NDArray[Any]]:
        """The likeliest class of each row, shape (n,), by ``network`` and by ``svm``."""
        classes = np.array(self.classes)
        likely = self.probabilities(table).items()
        return {name: classes[one.argmax(axis=1)] for name, one in likely}


def save_model(trained: Trained, directory: Path) -> Path:
    """``model/`` below ``directory``.

    Returns:
        The folder written. Every file appears whole or not at all; ``config.json`` last.
    """
    folder, result = directory / "model", trained.result
    for stem, arrays in trained.arrays.items():
        solid = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        write_atomically(folder / f"{stem}.safetensors", save(solid))
    described = {
        "architecture": result.network,
        "protocol": result.protocol,
        "target": result.target,
        "classes": list(result.classes),
        "winner": result.winner,
        **trained.described,
        "config": asdict(result.config) | {"seed": result.shown.seed},
        "parameters": result.parameters,
        "best_epoch": result.shown.best_epoch,
        "snapshot": result.data.snapshot,
        "store": result.data.store,
        "keys": dict(result.data.keys),
        "weights": dict(result.data.weights),
        "versions": dict(result.versions),
    }
    write_atomically(folder / "config.json", json.dumps(described, indent=2).encode())
    return folder


def load_model(folder: Path) -> SavedModel:
    """The model in ``folder``: the ``model/`` of a training run, or the run's report.

    Raises:
        UsageError: the folder holds no such model, or a damaged one.
    """
    folder = folder if (folder / "config.json").is_file() else folder / "model"
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"no model in {folder.parent}: neither config.json nor model/config.json is there; "
            "name the report folder of a training run, or the folder model in it"
        )
    try:
        described = json.loads((folder / "config.json").read_text("utf-8"))
        state, scalers, svm = (
            load_file(folder / f"{name}.safetensors") for name in ("network", "scalers", "svm")
        )
        return SavedModel(
            network=_network(described, state, scalers),
            svm=SavedSvm(
                arrays=svm,
                gamma=described["svm"]["gamma"],
                temperature=described["svm"]["temperature"],
                classes=len(described["classes"]),
            ),
            described=described,
        )
    except (OSError, SafetensorError, *DAMAGE) as error:
        raise damaged(folder, error) from error


def _network(
    described: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    scalers: Mapping[str, NDArray[Any]],
) -> Callable[[FeatureTable], Output[NDArray[np.float32]]]:
    """The network with its inputs before it; raises ``DAMAGE`` where something does not fit."""
    import torch

    network, view = module_of(described["architecture"]).build(described, scalers)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return lambda table: view(table).ask(network, np.arange(len(table)), len(table))


def damaged(folder: Path, error: BaseException) -> UsageError:
    """What to say of a model whose files do not hold what they should, in one line."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, KeyError):
        reason = f"{reason} is not there"
    return UsageError(f"the model in {folder} cannot be read: {reason}")
