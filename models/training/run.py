"""A training run: a network and the SVM behind it, seed by seed, judged and compared.

A plan lists its fits, whoever does them, and concludes from all they gave.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from meldflow.models.judging.protocols import Division, Protocol, divide, protocol_named
from meldflow.models.judging.records import Comparison, Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.running.hardware import describe_versions
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import SPLITS
from meldflow.models.training.ablations import ablated, smaller
from meldflow.models.training.cautions import Situation, cautions, repeated_texts
from meldflow.models.training.fit import Fit, Unit
from meldflow.models.training.networks import CONFIGS, Config, name_of
from meldflow.models.training.result import Ablation, Data, Hard, SeedResult, TrainResult

HARDEST = 20
"""Utterances that a report shows of those that were hardest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training run gives: the record, and the model that it shows."""

    result: TrainResult
    arrays: Mapping[str, Mapping[str, NDArray[Any]]]
    """File stem (``network``, ``scalers``, ``svm``) → array name → values."""
    described: Mapping[str, Any]
    """What a saved model needs beside its arrays and the record, JSON values."""


def config_for(
    protocol: str, network: str = "", *, seed: int = 0, epochs: int | None = None, **more: Any
) -> Config:
    """The settings of a network under a protocol.

    Args:
        protocol: its name; it may have settings of its own.
        network: ``reference`` or ``fusion``; "" for the one that the protocol is about.
        seed: the first seed.
        epochs: upper bound; None for the network's own.
        more: other settings; those that the network does not have are left aside.

    Raises:
        UsageError: the protocol is unknown, or a value is out of its range.
    """
    rules = protocol_named(protocol)
    kind = CONFIGS[network or rules.network]
    known = set(kind.__dataclass_fields__)
    settings = {name: value for name, value in more.items() if name in known}
    bound = {} if epochs is None else {"epochs": epochs}
    try:
        return kind(**{**rules.settings, **settings, **bound, "seed": seed})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UsageError(f"training: {name} is {first['input']!r}: {first['msg']}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training fits, and when that began."""

    config: Config
    rules: Protocol
    units: tuple[Unit, ...]
    started: datetime
    clock: float
    """The same by ``time.perf_counter``, as if what was read before had been read since."""

    def conclude(self, found: Mapping[Unit, Fit | Judgement]) -> Trained:
        """What the training found out, from what each of its ``units`` gave."""
        each = [(unit, found[unit]) for unit in self.units]  # in whatever order they were done
        fits = [one for _, one in each if isinstance(one, Fit)]
        less = list(ablated({unit: one for unit, one in each if isinstance(one, Judgement)}))
        winner = _winner([fit.result for fit in fits])
        shown = max(fits, key=lambda fit: fit.result.on_dev(winner))
        result = _result(self, fits, shown, winner, less)
        return Trained(result=result, arrays=shown.arrays, described=shown.described)


def plan(
    table: FeatureTable, config: Config, *, protocol: str, seeds: int, ablations: bool
) -> Plan:
    """The fits of a training, each for ``fit_unit``.

    Args:
        table: a pinned snapshot; it may be bare.
        config: every setting; its type says which network, its seed is the first one.
        protocol: a name of ``meldflow.models.judging.protocols.PROTOCOLS``.
        seeds: how many seeds.
        ablations: whether the same is done with less to go on, for comparison.

    Raises:
        UsageError: the protocol is unknown, or the table lacks what it needs.
    """
    started, clock, rules = datetime.now(UTC), time.perf_counter(), protocol_named(protocol)
    divide(table, rules)  # what cannot be done is said before anything is
    numbers = range(config.seed, config.seed + seeds)
    whole = [Unit(modalities=tuple(table.arrays), seed=seed) for seed in numbers]
    return Plan(
        config=config,
        rules=rules,
        units=(*whole, *(smaller(table, numbers) if ablations else ())),
        started=started,
        clock=clock - table.seconds,
    )


def _result(
    planned: Plan,
    fits: Sequence[Fit],
    shown: Fit,
    winner: str,
    less: Sequence[tuple[Ablation, Judgement]],
) -> TrainResult:
    """The record: what holds for all seeds, and the details of the shown one."""
    table, config, rules = shown.table, planned.config, planned.rules
    division, ablations = divide(table, rules), len(planned.units) > len(fits)
    judged = shown.result.judged
    rivals = {**judged, **{record.name: best for record, best in less}}
    return TrainResult(
        protocol=rules.name,
        started=planned.started.isoformat(timespec="seconds"),
        command=_command(table, config, rules, len(fits), ablations=ablations),
        network=name_of(config),
        modalities=tuple(table.arrays),
        target=table.target.name,
        classes=division.classes,
        config=config,
        data=_data(table, division),
        hardware=shown.hardware,
        versions=describe_versions(),
        read_seconds=round(table.seconds, 3),
        layers=shown.layers,
        seeds=tuple(fit.result for fit in fits),
        winner=winner,
        ablations=tuple(record for record, _ in less),
        test_ids=tuple(np.array(table.ids())[division.judge].tolist()),
        test_truth=tuple(division.classes[i] for i in division.labels[division.judge]),
        comparisons=_comparisons(rivals, winner, division),
        hardest=_hardest(judged[winner], table, division),
        fitted=tuple(shown.ledger.uses["fit"]),
        chosen=tuple(shown.ledger.uses["choose"]),
        judgements=tuple(shown.ledger.uses["judge"]),
        warnings=cautions(
            Situation(table=table, protocol=rules, division=division, judged=judged, winner=winner)
        ),
        seconds=round(time.perf_counter() - planned.clock, 3),
    )


def _winner(seeds: Sequence[SeedResult]) -> str:
    """``network`` or ``svm``: what is better on dev, mean over the seeds; the SVM without dev.

    The published protocol, which has no dev, judges the SVM.
    """
    return max(("svm", "network"), key=lambda name: sum(one.on_dev(name) for one in seeds))


def _comparisons(
    judged: Mapping[str, Judgement], winner: str, division: Division
) -> tuple[Comparison, ...]:
    """The chosen classifier against every other, on the judged rows."""
    from meldflow.models.judging.metrics import compare

    truth, number = division.labels[division.judge], division.classes.index
    rivals = {
        name: np.array([number(label) for label in one.predicted], dtype=np.intp)
        for name, one in judged.items()
    }
    own = rivals.pop(winner)
    return tuple(
        compare((winner, name), truth, (own, other), division.classes)
        for name, other in rivals.items()
    )


def _hardest(judged: Judgement, table: FeatureTable, division: Division) -> tuple[Hard, ...]:
    """The judged utterances whose truth the classifier thought least likely."""
    rows, ids = division.judge, table.ids()
    order = np.argsort(judged.probability, kind="stable")[:HARDEST]
    return tuple(
        Hard(
            utterance=ids[row],
            speaker=str(table.speaker[row]),
            text=str(table.text[row]),
            truth=division.classes[division.labels[row]],
            predicted=judged.predicted[i],
            probability=judged.probability[i],
        )
        for i, row in zip(order.tolist(), rows[order].tolist(), strict=True)
        if judged.predicted[i] != division.classes[division.labels[row]]
    )


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
        labels={
            split: {label: int((table.label[own] == label).sum()) for label in division.classes}
            for split, own in rows.items()
        },
        present={
            path: {split: int(there[own].sum()) for split, own in rows.items()}
            for path, there in present.items()
        },
        missing={extractor: dict(reasons) for extractor, reasons in table.missing.items()},
        repeated_texts=repeated_texts(table, division),
    )


def _command(
    table: FeatureTable, config: Config, rules: Protocol, seeds: int, *, ablations: bool
) -> str:
    options = {
        "--snapshot": table.snapshot,
        "--protocol": rules.name,
        "--network": name_of(config),
        "--modalities": ",".join(table.arrays),
        "--target": table.target.name,
        "--seed": str(config.seed),
        "--seeds": str(seeds),
        "--epochs": str(config.epochs),
    }
    words = (word for pair in options.items() for word in pair)
    flags = {
        "--causal": isinstance(config, FusionConfig) and config.causal,
        "--no-ablations": not ablations,
    }
    last = (flag for flag, given in flags.items() if given)
    return shlex.join(("meldflow", "train", table.store, *words, *last))
