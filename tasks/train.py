"""Fits a network and the SVM on a feature table and judges both."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.fusion.config import FusionConfig
from models.judging.cautions import Situation, cautions, repeated_texts
from models.judging.protocols import Division, Ledger, divide, protocol_named
from models.judging.records import Data, Judgement, TrainResult
from models.reference.config import Epoch, TrainConfig
from models.schema import EMOTIONS, SPLITS
from models.table import FeatureTable
from tasks.files import write_atomically
from tasks.hardware import describe_hardware, describe_versions

if TYPE_CHECKING:
    from models.fusion.checkpoint import Checkpoints
    from models.judging.fitted import Fitted
    from models.judging.svm import Svm

__all__ = ["CONFIGS", "FusionConfig", "TrainConfig", "TrainResult", "save_model", "train_and_judge"]

Config: TypeAlias = TrainConfig | FusionConfig

CONFIGS: Mapping[str, type[Config]] = {"reference": TrainConfig, "fusion": FusionConfig}
"""Network → its settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """What was fitted, before anything is judged."""

    network: Fitted
    scalers: Mapping[str, NDArray[np.float64]]
    """``<input>.mean`` and ``<input>.scale`` of everything that was standardised."""
    svm: Svm
    durations: dict[str, float]
    """Stage → seconds."""


def train_and_judge(
    table: FeatureTable,
    config: Config,
    *,
    protocol: str = "official",
    on_epoch: Callable[[Epoch], None] | None = None,
    command: str = "",
    resume: Path | None = None,
) -> TrainResult:
    """Fit, choose and judge under ``protocol``.

    Args:
        table: a pinned snapshot in memory.
        config: every setting; its type says which network.
        protocol: a name of ``models.judging.protocols.PROTOCOLS``.
        on_epoch: called after each epoch of the network, for progress.
        command: how to repeat the run; "" composes it from ``table`` and ``config``.
        resume: file that holds the state of context fusion's training while it runs; one that
            this very run left there is gone on from.

    Raises:
        UsageError: the protocol is unknown, or the table lacks what it needs.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    rules = protocol_named(protocol)
    division = divide(table, rules)
    ledger = Ledger(protocol=rules, split=table.split)
    models = _fit(table, division, config, ledger, on_epoch, resume)
    judged = _judge(models, division, ledger)
    winner = max(("svm", "network"), key=lambda name: judged[name].dev.weighted_f1)
    situation = Situation(
        table=table, protocol=rules, division=division, judged=judged, winner=winner
    )
    ids = table.ids()
    return TrainResult(
        protocol=rules.name,
        protocol_description=rules.description,
        started=started.isoformat(timespec="seconds"),
        command=command or _command(table, config, rules.name),
        network=_name(config),
        modalities=tuple(table.arrays),
        config=config,
        data=_data(table, division),
        hardware=describe_hardware(models.network.threads),
        versions=describe_versions(),
        durations=models.durations | {"total": round(time.perf_counter() - clock, 3)},
        parameters=models.network.parameters,
        judged=judged,
        winner=winner,
        history=models.network.history,
        best_epoch=models.network.best_epoch,
        temperature=models.network.temperature,
        described=dict(models.network.described),
        svm_chosen=models.svm.chosen,
        svm_grid=models.svm.grid,
        fitted=tuple(ledger.fitted),
        chosen=tuple(ledger.chosen),
        judgements=tuple(ledger.judged),
        warnings=cautions(situation),
        test_ids=tuple(ids[row] for row in division.judge),
        test_truth=tuple(EMOTIONS[i] for i in division.labels[division.judge]),
        model={
            "network": models.network.state,
            "scalers": dict(models.scalers),
            "svm": models.svm.arrays(),
        },
    )


def save_model(result: TrainResult, directory: Path) -> Path:
    """``model/`` below ``directory``: weights as safetensors, everything else as JSON.

    Returns:
        The folder written. Every file appears whole or not at all; ``config.json`` last.
    """
    from safetensors.numpy import save

    folder = directory / "model"
    for stem, arrays in result.model.items():
        solid = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        write_atomically(folder / f"{stem}.safetensors", save(solid))
    described = {
        "architecture": result.network,
        "modalities": list(result.modalities),
        "temperature": result.temperature,
        **result.described,
        "parameters": result.parameters,
        "emotions": list(EMOTIONS),
        "config": asdict(result.config),
        "svm": asdict(result.svm_chosen),
        "snapshot": result.data.snapshot,
        "store": result.data.store,
        "keys": dict(result.data.keys),
        "weights": dict(result.data.weights),
        "versions": dict(result.versions),
        "best_epoch": result.best_epoch,
    }
    write_atomically(folder / "config.json", json.dumps(described, indent=2).encode())
    return folder


def _fit(
    table: FeatureTable,
    division: Division,
    config: Config,
    ledger: Ledger,
    on_epoch: Callable[[Epoch], None] | None,
    resume: Path | None,
) -> _Models:
    """Inputs, network and SVM, fitted in this order."""
    from models.judging.svm import fit_svm

    durations: dict[str, float] = {}

    def timed(stage: str, since: float) -> float:
        now = time.perf_counter()
        durations[stage] = round(now - since, 3)
        return now

    clock = time.perf_counter()
    if isinstance(config, FusionConfig):
        from models.fusion import inputs as fusion_inputs
        from models.fusion.training import fit_network as fit_fusion

        sequences = fusion_inputs.prepare(table, division.fit, ledger, config)
        clock = timed("inputs", clock)
        checkpoints = _checkpoints(resume, table, config, ledger)
        network = fit_fusion(sequences, division, config, ledger, on_epoch, checkpoints)
        scalers = sequences.arrays()
    else:
        from models.reference.inputs import prepare
        from models.reference.training import fit_network

        inputs = prepare(table, division.fit, ledger, config.projection_seed)
        clock = timed("inputs", clock)
        network = fit_network(inputs, division, config, ledger, on_epoch)
        scalers = inputs.arrays()
    clock = timed("network", clock)
    svm = fit_svm(network.fused, division, config, ledger)
    timed("svm", clock)
    return _Models(network=network, scalers=scalers, svm=svm, durations=durations)


def _checkpoints(
    file: Path | None, table: FeatureTable, config: FusionConfig, ledger: Ledger
) -> Checkpoints | None:
    """The checkpoint in ``file``, of this snapshot, these arrays and these settings."""
    from models.fusion.checkpoint import Checkpoints

    if file is None:
        return None
    return Checkpoints(
        identity=json.dumps(
            [table.snapshot, table.store, table.arrays, ledger.protocol.name, asdict(config)]
        ),
        read=lambda: file.read_bytes() if file.is_file() else None,
        write=lambda content: write_atomically(file, content),
    )


def _name(config: Config) -> str:
    """The network that ``config`` is for."""
    return next(name for name, kind in CONFIGS.items() if isinstance(config, kind))


def _judge(models: _Models, division: Division, ledger: Ledger) -> dict[str, Judgement]:
    """Each classifier's judgement, on the protocol's judging rows, once."""
    from models.judging.metrics import judge, majority, only_seen
    from models.judging.svm import emotion_of

    labels = division.labels
    seen = np.unique(labels[division.fit])

    def judged(name: str, scores: Callable[[NDArray[np.intp]], NDArray[np.float64]]) -> Judgement:
        dev, test = division.choose, ledger.judge(name, division.judge)
        on_dev, on_test = (only_seen(scores(rows), seen) for rows in (dev, test))
        return judge(
            dev=(labels[dev], emotion_of(on_dev)),
            test=(labels[test], emotion_of(on_test)),
            scores=on_test,
        )

    network, svm = models.network, models.svm
    common = majority(labels[ledger.fit("majority", division.fit)])
    dev, test = division.choose, ledger.judge("majority", division.judge)
    return {
        "network": judged("network", lambda rows: network.log_probabilities()[rows]),
        "svm": judged("svm", lambda rows: svm.scores(network.fused[rows])),
        "majority": judge(
            dev=(labels[dev], np.full_like(dev, common)),
            test=(labels[test], np.full_like(test, common)),
        ),
    }


def _data(table: FeatureTable, division: Division) -> Data:
    paths = [path for paths in table.arrays.values() for path in paths]
    present = {path: table.present(path) for path in paths}
    rows = {split: table.rows(split) for split in SPLITS}
    return Data(
        snapshot=table.snapshot,
        store=table.store,
        keys=dict(table.keys),
        weights=dict(table.weights),
        rows={split: len(own) for split, own in rows.items()},
        emotions={
            split: {emotion: int((table.emotion[own] == emotion).sum()) for emotion in EMOTIONS}
            for split, own in rows.items()
        },
        present={
            path: {split: int(there[own].sum()) for split, own in rows.items()}
            for path, there in present.items()
        },
        missing={extractor: dict(reasons) for extractor, reasons in table.missing.items()},
        repeated_texts=repeated_texts(table, division),
    )


def _command(table: FeatureTable, config: Config, protocol: str) -> str:
    options = {
        "--snapshot": table.snapshot,
        "--protocol": protocol,
        "--network": _name(config),
        "--modalities": ",".join(table.arrays),
        "--seed": str(config.seed),
        "--epochs": str(config.epochs),
    }
    words = (word for pair in options.items() for word in pair)
    return shlex.join(("meldflow", "train", table.store, *words))
