"""Reads a saved model back: safetensors and JSON only, nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from models.reference.inputs import arrange, raw_inputs
from models.reference.network import Batch, ReferenceNetwork
from models.schema import UsageError
from models.table import FeatureTable


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A model as ``tasks.train.save_model`` wrote it."""

    network: ReferenceNetwork
    scalers: dict[str, StandardScaler]
    svm: dict[str, NDArray[Any]]
    gamma: float
    projection_seed: int
    emotions: NDArray[Any]

    def predict(self, table: FeatureTable) -> tuple[NDArray[Any], NDArray[Any]]:
        """The emotion of every row by the network and by the SVM, each of shape (n,)."""
        inputs = arrange(raw_inputs(table), self.scalers, self.projection_seed)
        with torch.inference_mode():
            data = (torch.from_numpy(inputs[name]) for name in Batch._fields)
            output = self.network.eval()(Batch(*data))
        by_network = output.logits.argmax(dim=1).numpy()
        return self.emotions[by_network], self.emotions[self._vote(output.fused.numpy())]

    def _vote(self, fused: NDArray[np.float32]) -> NDArray[np.intp]:
        """LIBSVM's decision: one machine per pair of classes, most votes, the surer of equals."""
        svm = self.svm
        scaler = scaler_of(svm["scaler_mean"], svm["scaler_scale"])
        kernel = rbf_kernel(scaler.transform(fused), svm["support_vectors"], gamma=self.gamma)
        ends = np.cumsum(svm["n_support"])
        own = [slice(end - n, end) for end, n in zip(ends, svm["n_support"], strict=True)]
        classes = svm["classes"]
        if len(classes) == 2:  # the sign is the other way round for a single machine
            decision = kernel @ svm["dual_coef"][0] + svm["intercept"][0]
            return np.asarray(classes[(decision > 0).astype(int)])
        votes = np.zeros((2, len(fused), len(classes)))
        for machine, (a, b) in enumerate(combinations(range(len(classes)), 2)):
            decision = kernel[:, own[a]] @ svm["dual_coef"][b - 1, own[a]]
            decision += kernel[:, own[b]] @ svm["dual_coef"][a, own[b]] + svm["intercept"][machine]
            votes[:, :, a] += (decision > 0), decision
            votes[:, :, b] += (decision <= 0), -decision
        sure = votes[1] / (3 * (np.abs(votes[1]) + 1))  # below 1/3, so it only parts equals
        return np.asarray(classes[(votes[0] + sure).argmax(axis=1)])


def load_model(folder: Path) -> SavedModel:
    """The model in ``folder`` (the ``model/`` of a training run).

    Raises:
        UsageError: the folder holds no such model.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"no model in {folder}: config.json is not there")
    described = json.loads((folder / "config.json").read_text())
    if described["architecture"] != "reference":
        raise UsageError(f"the model in {folder} is {described['architecture']}, not reference")
    network = ReferenceNetwork()
    state = load_file(folder / "network.safetensors")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    arrays = load_file(folder / "scalers.safetensors")
    return SavedModel(
        network=network,
        scalers={
            name: scaler_of(arrays[f"{name}.mean"], arrays[f"{name}.scale"])
            for name in sorted({key.partition(".")[0] for key in arrays})
        },
        svm=load_file(folder / "svm.safetensors"),
        gamma=described["svm"]["gamma"],
        projection_seed=described["config"]["projection_seed"],
        emotions=np.array(described["emotions"]),
    )


def scaler_of(mean: NDArray[np.float64], scale: NDArray[np.float64]) -> StandardScaler:
    """A fitted scaler from what was saved of it."""
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, scaler.var_ = mean, scale, scale**2
    scaler.n_features_in_ = len(mean)
    return scaler
