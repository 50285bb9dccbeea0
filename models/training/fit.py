"""One fit of a training: the inputs of a network, the network, and what comes of it.

None needs another, so they may be done anywhere, in any order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from meldflow.models.files import write_atomically
from meldflow.models.judging.protocols import Ledger, Protocol, divide
from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.training.networks import Config, module_of, name_of
from meldflow.models.training.worth import Fit, Prepared, judge_svm, judge_whole

if TYPE_CHECKING:
    from meldflow.models.networks.checkpoint import Checkpoints
    from meldflow.models.networks.common import Fitted


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
        return judge_svm(prepared, settings, step)
    clock = time.perf_counter()
    network = _network(prepared, settings, unit, step, resume)
    seconds = round(time.perf_counter() - clock, 3)
    scalers, prepared.inputs = prepared.inputs.scalers, None
    if unit.kind == "whole":
        return judge_whole(prepared, network, seconds, scalers, settings, step)
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
        seconds=round(time.perf_counter() - clock, 3),
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
