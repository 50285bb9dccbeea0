"""One fit of a training: the inputs of a network, the network, and what comes of it.

None needs another, so they may be done anywhere, in any order.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from meldflow.models.files import write_atomically
from meldflow.models.judging.protocols import Ledger, Protocol, divide
from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.training.networks import Config, module_of, name_of
from meldflow.models.training.worth import (
    Fit,
    Prepared,
    Watch,
    judge_scores,
    judge_svm,
    judge_whole,
    unwatched,
)

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
    watch: Watch = unwatched,
    resume: Path | None = None,
) -> Fit | Judgement:
    """What one unit gives: a model where it is whole, else how it was judged.

    Args:
        table: what is known of the unit's modalities; where ``once``, its features are used up.
        unit: which one.
        config: every setting, for whatever seed.
        rules: the protocol.
        watch: shows how far it has come.
        resume: folder for the state of context fusion's training while it runs.

    Raises:
        UsageError: the table lacks what the protocol needs.
    """
    settings = replace(config, seed=unit.seed)
    prepared = prepare(table, settings, rules)
    if unit.kind == "svm":
        return judge_svm(prepared, settings, watch)
    clock = time.perf_counter()
    network = fit_network(prepared, settings, unit, watch=watch, resume=resume)
    seconds = round(time.perf_counter() - clock, 3)
    scalers, prepared.inputs = prepared.inputs.scalers, None
    if unit.kind == "whole":
        return judge_whole(prepared, network, seconds, scalers, settings, watch)
    scores, part = network.logits.__getitem__, prepared.division.judge
    ledger, warmth = prepared.ledger, network.temperature
    return judge_scores(scores, part, prepared.division, ledger, "network", warmth)


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


def fit_network(
    prepared: Prepared,
    config: Config,
    unit: Unit,
    *,
    watch: Watch = unwatched,
    resume: Path | None = None,
) -> Fitted:
    """The network with one seed.

    Args:
        prepared: its inputs.
        config: every setting.
        unit: what it is called by where its progress is shown.
        watch: shows it.
        resume: folder for the state of context fusion's training while it runs.
    """
    from meldflow.models.networks.training import fit

    division, ledger, checkpoints = prepared.division, prepared.ledger, None
    name = "" if unit.kind == "whole" else "+".join(unit.modalities)
    untrained = module_of(name_of(config)).untrained(prepared.inputs, config, len(division.classes))
    what = f"training{name and f' on {name}'}, seed {config.seed}"
    with watch(what, config.epochs, "epochs at most") as advance:
        if resume is not None and config.RESUMES:
            file = resume / f"{name or 'all'}-seed-{config.seed}.pt"
            checkpoints = _checkpoints(file, prepared.table, config, ledger)
        return fit(untrained, division, config, ledger, lambda _: advance(1), checkpoints)


def _checkpoints(file: Path, table: FeatureTable, config: Config, ledger: Ledger) -> Checkpoints:
    """The checkpoint in ``file``, of this snapshot, these arrays and these settings."""
    from meldflow.models.networks.checkpoint import Checkpoints

    of = [table.snapshot, table.store, table.target.name, table.arrays, ledger.protocol.name]
    return Checkpoints(
        identity=json.dumps([*of, asdict(config)]),
        read=lambda: file.read_bytes() if file.is_file() else None,
        write=lambda content: write_atomically(file, content),
    )
