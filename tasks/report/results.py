"""The record of a training run as JSON, and back: a page can be made from either."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from meldflow.models.judging.protocols import PROTOCOLS
from meldflow.models.training.result import TrainResult

RECORD = "results.json"
"""Name of the file beside a page."""

_ADAPTER = TypeAdapter(TrainResult)


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
