"""The steps of the flow `train`, as Prefect sees them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.judging.records import Scores, TrainResult
from models.reference.config import Epoch
from models.schema import MeldflowError, UsageError
from models.table import FeatureTable
from storage import Snapshot, history
from tasks.options import TrainOptions
from tasks.progress import progress
from tasks.report.page import write_report
from tasks.table import load_table
from tasks.train import (
    FusionConfig,
    TrainConfig,
    save_model,
    train_and_judge,
)

METRICS = ("accuracy", "weighted_f1", "macro_f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over the seeds."""

    mean: float
    sd: float | None
    """Standard deviation (n - 1); None for one seed."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of one value per seed."""
        each = list(values)
        return cls(mean=fmean(each), sd=stdev(each) if len(each) > 1 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training run found, in the figures that a terminal shows."""

    report: str
    """Path of the page to open."""
    snapshot: str
    protocol: str
    network: str
    modalities: tuple[str, ...]
    seeds: tuple[int, ...]
    model: str
    """The classifier that dev chose over all seeds: ``network`` or ``svm``."""
    test_utterances: int
    weighted_f1: dict[str, float]
    """Classifier → weighted F1 on test, mean over the seeds."""
    accuracy: dict[str, float]
    """Classifier → accuracy on test, mean over the seeds."""
    dev: dict[str, Spread]
    """Metric → what the chosen classifier reaches on dev, each seed's model by itself."""
    test: dict[str, Spread]
    """The same on test."""
    majority: dict[str, float]
    """Metric → what always giving the commonest emotion reaches on test."""
    warnings: tuple[str, ...]
    seconds: float

    @classmethod
    def of(cls, results: Sequence[TrainResult], page: Path, *more: str) -> TrainReport:
        """The figures of ``results``, one per seed, whose report is at ``page``.

        ``more`` are warnings too.
        """
        first, model = results[0], chosen_classifier(results)
        names = tuple(first.judged)

        def over_seeds(name: str, split: str, metric: str) -> Spread:
            scores: list[Scores] = [getattr(one.judged[name], split) for one in results]
            return Spread.of(getattr(one, metric) for one in scores)

        warnings = dict.fromkeys(str(one) for result in results for one in result.warnings)
        return cls(
            report=str(page),
            snapshot=first.data.snapshot,
            protocol=first.protocol,
            network=first.network,
            modalities=first.modalities,
            seeds=tuple(result.config.seed for result in results),
            model=model,
            test_utterances=len(first.test_ids),
            weighted_f1={name: over_seeds(name, "test", "weighted_f1").mean for name in names},
            accuracy={name: over_seeds(name, "test", "accuracy").mean for name in names},
            dev={metric: over_seeds(model, "dev", metric) for metric in METRICS},
            test={metric: over_seeds(model, "test", metric) for metric in METRICS},
            majority={metric: over_seeds("majority", "test", metric).mean for metric in METRICS},
            warnings=(*warnings, *filter(None, more)),
            seconds=round(sum(result.durations["total"] for result in results), 3),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def chosen_classifier(results: Sequence[TrainResult]) -> str:
    """``svm`` or ``network``: what has the better weighted F1 on dev, mean over the seeds."""
    return max(
        ("svm", "network"),
        key=lambda name: fmean(one.judged[name].dev.weighted_f1 for one in results),
    )


def best_on_dev(results: Sequence[TrainResult]) -> TrainResult:
    """The run whose model is kept and reported in full: dev chooses, test is not asked."""
    name = chosen_classifier(results)
    return max(results, key=lambda one: one.judged[name].dev.weighted_f1)


def fit(table: FeatureTable, options: TrainOptions) -> list[TrainResult]:
    """The network and the SVM, fitted and judged under the options' protocol, for each seed.

    Raises:
        UsageError: the table's rows do not suffice.
    """
    results = []
    for seed in range(options.seed, options.seed + options.seeds):
        resume = options.report / "checkpoints" / f"seed-{seed}.safetensors"
        with progress(f"training, seed {seed}", options.epochs, "epochs at most") as advance:

            def on_epoch(_: Epoch, advance: Callable[[int], None] = advance) -> None:
                advance(1)

            results.append(
                train_and_judge(
                    table,
                    _config(options, seed),
                    protocol=options.protocol,
                    on_epoch=on_epoch,
                    resume=resume,
                )
            )
    return results


def _config(options: TrainOptions, seed: int) -> TrainConfig | FusionConfig:
    if options.network == "reference":
        return TrainConfig(seed=seed, epochs=options.epochs)
    return FusionConfig(
        seed=seed, epochs=options.epochs, device=options.device, precision=options.precision
    )


def check_report(directory: Path) -> None:
    """Makes the report's folder before anything is trained.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(
            f"report {directory}: cannot be written ({error.strerror}); name another folder"
        ) from error


def report(results: Sequence[TrainResult], directory: Path) -> Path:
    """Writes the model and the report of the run that is best on dev; gives the page to open.

    The checkpoints of the training have served then.
    """
    result = best_on_dev(results)
    save_model(result, directory)
    page = write_report(result, directory)
    shutil.rmtree(directory / "checkpoints", ignore_errors=True)
    return page


def keep(snapshot: Snapshot) -> str:
    """Tags the snapshot that a model was trained on, so that maintenance keeps it.

    Gives what went wrong, or nothing: a store that cannot be written now costs no training.
    """
    name = f"trained-{snapshot.id}"
    try:
        history.tag(snapshot.url, name, snapshot.id)
    except MeldflowError as error:
        return f"the snapshot was not tagged, so `meldflow maintain` may forget it: {error}"
    return ""


table_task = task(name="read features", cache_policy=NO_CACHE)(load_table)
fit_task = task(name="fit and judge", cache_policy=NO_CACHE)(fit)
report_task = task(name="write report", cache_policy=NO_CACHE)(report)
