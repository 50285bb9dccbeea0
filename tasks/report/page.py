"""Writes a training run's report: one HTML page that needs no network, figures, numbers.

The record beside a page, JSON, holds all that it is made from, so reports by different protocols
in one folder know of each other: whichever is written last makes the others' pages anew.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from meldflow.models.files import write_atomically
from meldflow.models.judging.protocols import PROTOCOLS
from meldflow.models.schema.utterances import SPLITS, TARGETS
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel, render, render_document
from meldflow.tasks.pages.templates import template
from meldflow.tasks.pages.text import spread
from meldflow.tasks.report.pieces import FIGURES, classes, compared, naming, scores

RESULT = "official"
"""The protocol whose report is what a reader finds first."""
GRAVE = ("wrong_protocol", "random_weights", "not_better_than_majority")
"""Kinds of caution that put the whole result in doubt."""
PAGE = "index.html"
ENDINGS = ("png", "svg")
PIECES = (classes, compared, naming, scores)
"""What the template takes its tables and words from."""
PREDICTIONS = "predictions.csv"
RECORD = "results.json"

_ADAPTER = TypeAdapter(TrainResult)


def folder_of(directory: Path, protocol: str) -> Path:
    """Where in a report's folder a protocol's report lies.

    That of the official protocol lies in the folder itself; that of another one below it, under
    the protocol's name, so that it never takes the place of the result.
    """
    return directory if protocol == RESULT else directory / protocol


def write_report(result: TrainResult, directory: Path) -> Path:
    """The report of ``result`` in its protocol's folder below ``directory``, made if needed.

    Writes ``<figure>.png`` and ``<figure>.svg`` for every figure, ``predictions.csv``,
    ``results.json`` and ``index.html``, each whole or not at all, the page last. Reports by
    other protocols on the same snapshot and target get a new page, which shows this one too.

    Returns:
        The path of ``index.html``.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = folder_of(directory, result.protocol)
    _write_figures({name: build(result) for name, build in FIGURES.items()}, folder)
    write_atomically(folder / PREDICTIONS, _predictions(result).encode())
    write_atomically(folder / RECORD, record_of(result))
    others = list(_others(result, directory))
    for other in others:
        # This report is what was asked for; that one had better, but need not, tell of it.
        with suppress(OSError):
            _write_page(other, [result, *others], directory)
    return _write_page(result, others, directory)


def _write_figures(figures: dict[str, tuple[Panel, ...]], folder: Path) -> None:
    for name, panels in figures.items():
        for ending in ENDINGS:
            file = folder / f"{name}.{ending}"
            if panels:
                write_atomically(file, render(panels, ending=ending))
            else:
                # An earlier run may have had more to show.
                file.unlink(missing_ok=True)


def _others(result: TrainResult, directory: Path) -> Iterator[TrainResult]:
    """The records by other protocols that say something about the same utterances."""
    for protocol in PROTOCOLS:
        other = load_result(folder_of(directory, protocol) / RECORD)
        if other is not None and other.protocol == protocol != result.protocol:
            same = (other.data.snapshot, other.target) == (result.data.snapshot, result.target)
            if same:
                yield other


def _write_page(result: TrainResult, others: list[TrainResult], directory: Path) -> Path:
    folder = folder_of(directory, result.protocol)
    pages = {folder_of(directory, one.protocol) / PAGE: one for one in others if one is not result}
    beside = {Path(os.path.relpath(page, folder)).as_posix(): one for page, one in pages.items()}
    return write_atomically(folder / PAGE, render_page(result, beside).encode())


def render_page(result: TrainResult, others: Mapping[str, TrainResult] | None = None) -> str:
    """The page as a string: styles and pictures inside, nothing fetched.

    ``others``: address of another protocol's page, relative to this one → its result.
    """
    figures = {name: build(result) for name, build in FIGURES.items()}
    pictures = (f"{name}.{ending}" for name in figures if figures[name] for ending in ENDINGS)
    return render_document(
        "report/report.html.j2",
        figures,
        result=result,
        others=others or {},
        headline=headline,
        explanation=explanation,
        files=(*pictures, RECORD, PREDICTIONS),
        settings=asdict(result.config),
        GRAVE=GRAVE,
        SPLITS=SPLITS,
        TARGETS=TARGETS,
        **{one.__name__.rpartition(".")[2]: one for one in PIECES},
    )


def _predictions(result: TrainResult) -> str:
    """CSV: the annotated class of each judged utterance and what every model said."""
    predicted = {name: judged.predicted for name, judged in result.judged.items()}
    columns = {"utterance": result.test_ids, result.target: result.test_truth, **predicted}
    return pd.DataFrame(columns).to_csv(index=False)


def headline(result: TrainResult) -> str:
    """One sentence: the chosen model's weighted F1 over the seeds, and the majority's.

    By a wrong protocol it says first that this is no result, and what the same models reach
    on test.
    """
    return _told("headline.txt.j2", result)


def explanation(result: TrainResult) -> str:
    """A few sentences: which seed is shown, how certain that is, why this model is named."""
    return _told("explanation.txt.j2", result)


def _told(name: str, result: TrainResult) -> str:
    """A template of plain text, in one line."""
    text = template(f"report/{name}").render(result=result, naming=naming, spread=spread)
    return " ".join(text.split())


def record_of(result: TrainResult) -> bytes:
    """The whole record as JSON; what is not a number becomes the text ``NaN``, which JSON has."""
    return to_json(result, indent=2, inf_nan_mode="strings")


def load_result(file: Path) -> TrainResult | None:
    """The record in ``file``; None where there is none, or none that this version can show."""
    try:
        result = _ADAPTER.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return result if _whole(result) else None


def _whole(result: TrainResult) -> bool:
    """Whether a page can be made of it, which the types alone do not say."""
    needed, k = {"network", "svm", "majority"}, len(result.classes)
    parts = [part for seed in result.seeds for part in (seed.judged, *seed.beside.values())]
    return bool(
        result.protocol in PROTOCOLS
        and result.winner in needed
        and result.seeds
        and len(result.test_ids) == len(result.test_truth)
        and all(seed.history for seed in result.seeds)
        and all(needed <= part.keys() for part in parts)
        # Of the classes that the record names, each of them.
        and all(
            len(one.per_class) == k
            and len(one.roc) in (0, k)
            and [len(row) for row in one.confusion] == [k] * k
            for part in parts
            for one in part.values()
        )
    )
