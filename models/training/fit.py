"""One fit of a training: the inputs of a network, the network, and what comes of it.

None needs another, so they may be done anywhere, in any order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.files import write_atomically
from meldflow.models.judging.protocols import Division, Ledger, Protocol, divide
from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Layer
from meldflow.models.running.hardware import Hardware, describe_hardware
from meldflow.models.training.networks import Config, module_of, name_of
from meldflow.models.training.result import Attention, SeedResult

if TYPE_CHECKING:
    from meldflow.models.judging.svm import Svm
    from meldflow.models.networks.checkpoint import Checkpoints
    from meldflow.models.networks.common import Fitted

Scores: TypeAlias = Callable[[NDArray[np.intp]], NDArray[np.floating]]
"""What a classifier says of rows: shape (len(rows), k); a class never seen cannot win."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One fit of a training."""

    modalities: tuple[str, ...]
    seed: int
    kind: str = "whole"
    """``whole``: network and SVM, judged; ``network``: its own head alone; ``svm``: an SVM on the
    features themselves, which has no seed."""

    @property
    def name(self) -> str:
        """What it is called where it is shown; no other unit of the training is called so."""
        some = "+".join(self.modalities)
        names = {"whole": "all", "network": some, "svm": f"SVM alone: {some}"}
        return f"{names[self.kind]}, seed {self.seed}" if self.kind != "svm" else names[self.kind]


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A table as a network sees it."""

    table: FeatureTable
    """Without its features."""
    division: Division
    ledger: Ledger
    """What was fitted so far."""
    inputs: Any
    """The ``Inputs`` of the network's folder, what it sees of every row. None once the network is
    fitted: what comes after it needs the memory."""
    scalers: Mapping[str, Any]
    """Those of the inputs, by name."""
    durations: dict[str, float]
    """Stage → seconds, so far."""

    def judge(
        self, name: str, scores: Scores, temperature: float, part: NDArray[np.intp] | None = None
    ) -> Judgement:
        """The judgement of a classifier by its scores, on dev and on ``part``.

        ``part`` is by default what the protocol judges on; ``temperature`` is what the scores are
        divided by before they become probabilities.
        """
        from meldflow.models.judging.metrics import class_of, judge, only_seen

        division = self.division
        rows = self.ledger.enter("judge", name, division.judge if part is None else part)
        labels, dev = division.labels, division.choose
        seen = np.unique(labels[division.fit])
        known = only_seen(scores(rows), seen)
        return judge(
            dev=(labels[dev], class_of(only_seen(scores(dev), seen))) if len(dev) else None,
            test=(labels[rows], class_of(known)),
            classes=division.classes,
            scores=known,
            temperature=temperature,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was fitted with one seed, judged, and the model; nothing of single rows' features."""

    result: SeedResult
    table: FeatureTable
    """What it was fitted on, without its features."""
    arrays: Mapping[str, Mapping[str, NDArray[Any]]]
    """File stem (``network``, ``scalers``, ``svm``) → array name → values."""
    described: Mapping[str, Any]
    """What a saved model needs beside its arrays and the record, JSON values."""
    layers: tuple[Layer, ...]
    hardware: Hardware
    ledger: Ledger


def fit_unit(
    table: FeatureTable,
    unit: Unit,
    config: Config,
    rules: Protocol,
    *,
    step: Callable[[], None] = lambda: None,
    resume: Path | None = None,
) -> Fit | Judgement:
    """What one unit gives: a model where it is whole, else how it was judged.

    Args:
        table: what is known of the unit's modalities; where ``once``, its features are used up.
        unit: which one.
        config: every setting, for whatever seed.
        rules: the protocol.
        step: called after each epoch of a network, and each machine of an SVM.
        resume: folder for the state of context fusion's training while it runs; one that this very
            fit left there is gone on from.

    Raises:
        UsageError: the table lacks what the protocol needs.
    """
    settings = replace(config, seed=unit.seed)
    prepared = prepare(table, settings, rules)
    if unit.kind == "svm":
        from meldflow.models.judging.svm import fit_svm

        flat, prepared.inputs = prepared.inputs.flat(), None
        svm = fit_svm(
            flat, prepared.division, settings.grid, prepared.ledger, "features", on_machine=step
        )
        return prepared.judge("svm", lambda rows: svm.scores(flat[rows]), svm.temperature)
    clock = time.perf_counter()
    network = _network(prepared, settings, unit, step, resume)
    prepared.durations["network"] = round(time.perf_counter() - clock, 3)
    prepared.inputs = None
    if unit.kind == "whole":
        return _whole(prepared, network, settings, step)
    return prepared.judge("network", network.said.logits.__getitem__, network.temperature)


def prepare(table: FeatureTable, config: Config, rules: Protocol) -> Prepared:
    """The inputs of the network that ``config`` is for; scalers see the fit rows only."""
    clock, bare = time.perf_counter(), table.bare()
    division, ledger = divide(bare, rules), Ledger(protocol=rules, split=table.split)
    inputs = module_of(name_of(config)).prepare(table, division.fit, ledger, config)
    return Prepared(
        table=bare,
        division=division,
        ledger=ledger,
        inputs=inputs,
        scalers=inputs.scalers,
        durations={"inputs": round(time.perf_counter() - clock, 3)},
    )


def _network(
    prepared: Prepared, config: Config, unit: Unit, step: Callable[[], None], resume: Path | None
) -> Fitted:
    """The network with the seed of ``config``."""
    from meldflow.models.networks.training import fit

    division, ledger, checkpoints = prepared.division, prepared.ledger, None
    untrained = module_of(name_of(config)).untrained(prepared.inputs, config, len(division.classes))
    if resume is not None and config.RESUMES:
        name = "all" if unit.kind == "whole" else "+".join(unit.modalities)
        file = resume / f"{name}-seed-{config.seed}.pt"
        checkpoints = _checkpoints(file, prepared.table, config, ledger)
    return fit(untrained, division, config, ledger, lambda _: step(), checkpoints)


def _checkpoints(file: Path, table: FeatureTable, config: Config, ledger: Ledger) -> Checkpoints:
    """The checkpoint in ``file``, of this snapshot, these arrays and these settings."""
    from meldflow.models.networks.checkpoint import Checkpoints

    of = [table.snapshot, table.store, table.target.name, table.arrays, ledger.protocol.name]
    return Checkpoints(
        identity=json.dumps([*of, asdict(config)]),
        read=lambda: file.read_bytes() if file.is_file() else None,
        write=lambda content: write_atomically(file, content),
    )


def _whole(prepared: Prepared, network: Fitted, config: Config, step: Callable[[], None]) -> Fit:
    """The SVM behind a fitted network, and both of them judged."""
    from meldflow.models.judging.svm import fit_svm
    from meldflow.models.networks.scaling import arrays_of

    division, ledger, table = prepared.division, prepared.ledger, prepared.table
    began = time.perf_counter()
    svm = fit_svm(network.said.fused, division, config.grid, ledger, on_machine=step)
    fitted = time.perf_counter()
    judged, beside = _judge(network, svm, prepared)
    prepared.durations["svm"] = round(fitted - began, 3)
    prepared.durations["judging"] = round(time.perf_counter() - fitted, 3)
    result = SeedResult(
        seed=config.seed,
        judged=judged,
        beside=beside,
        history=network.history,
        best_epoch=network.best_epoch,
        svm_chosen=svm.chosen,
        svm_grid=svm.grid,
        attention=_attention(network, division),
        durations=prepared.durations,
    )
    return Fit(
        result=result,
        table=table,
        arrays={
            "network": network.state,
            "scalers": arrays_of(prepared.scalers),
            "svm": svm.arrays(),
        },
        described={
            **network.described,
            "arrays": {name: list(paths) for name, paths in table.arrays.items()},
            "columns": {path: list(names) for path, names in table.columns.items()},
            "extractors": {name: dict(one) for name, one in table.parameters.items()},
            "checkpoints": dict(table.checkpoints),
            "temperature": network.temperature,
            "svm": {
                "c": svm.chosen.c,
                "gamma": svm.chosen.gamma,
                "temperature": svm.temperature,
            },
        },
        layers=network.layers,
        hardware=describe_hardware(network.threads),
        ledger=ledger,
    )


def _judge(
    network: Fitted, svm: Svm, prepared: Prepared
) -> tuple[dict[str, Judgement], dict[str, dict[str, Judgement]]]:
    """Each classifier's judgement on the protocol's rows, once, and on those beside."""
    from meldflow.models.judging.metrics import judge, majority

    division, ledger = prepared.division, prepared.ledger
    labels, dev = division.labels, division.choose
    common = majority(labels[ledger.enter("fit", "majority", division.fit)])

    def on(part: NDArray[np.intp]) -> dict[str, Judgement]:
        by_scores: dict[str, tuple[Scores, float]] = {
            "network": (network.said.logits.__getitem__, network.temperature),
            "svm": (lambda rows: svm.scores(network.said.fused[rows]), svm.temperature),
        }
        found = {name: prepared.judge(name, *one, part) for name, one in by_scores.items()}
        rows = ledger.enter("judge", "majority", part)
        found["majority"] = judge(
            dev=(labels[dev], np.full_like(dev, common)) if len(dev) else None,
            test=(labels[rows], np.full_like(rows, common)),
            classes=division.classes,
        )
        return found

    return on(division.judge), {part: on(rows) for part, rows in division.beside.items()}


def _attention(network: Fitted, division: Division) -> Attention:
    """What the network looked at, on the mean, in the judged rows of each class."""
    rows, labels = division.judge, division.labels
    by_class = {
        label: tuple(network.said.attention[own].mean(axis=0, dtype=np.float64).round(4).tolist())
        for i, label in enumerate(division.classes)
        if len(own := rows[labels[rows] == i])
    }
    return Attention(modalities=network.attended, by_class=by_class)
