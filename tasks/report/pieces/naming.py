"""What the pieces of the report share: what they are made from, and what things are called."""

from collections.abc import Mapping
from typing import NamedTuple

from meldflow.models.judging.protocols import Protocol, protocol_named
from meldflow.models.judging.records import JUDGED, Judgement
from meldflow.models.training.ablations import METRICS
from meldflow.models.training.result import Spread, TrainResult

MODEL_NAMES = {"network": "Network", "svm": "SVM", "majority": "Majority baseline"}
"""Model → the name that people read; a model without one is shown as it is."""


def model_name(model: str) -> str:
    """The name of ``model`` for people."""
    return MODEL_NAMES.get(model, model)


def spoken(result: TrainResult, model: str) -> str:
    """A classifier that was trained, within a sentence."""
    return f"{result.network} network" if model == "network" else model_name(model)


def rules(result: TrainResult) -> Protocol:
    """The protocol that the result was reached by."""
    return protocol_named(result.protocol)


def classifiers(result: TrainResult) -> dict[str, Judgement]:
    """The judged models that have scores of their own (all but the majority)."""
    return {name: one for name, one in result.judged.items() if one.roc}


def attended(result: TrainResult) -> tuple[tuple[str, ...], Mapping[str, tuple[float, ...]]]:
    """What the shown network looked at, and the mean weights by class.

    A column of nothing but zeros that is no modality (context fusion's "none there") is left
    out. Empty where there was one modality to look at: it has all the weight, then.
    """
    names, by_class = result.shown.attention.modalities, result.shown.attention.by_class
    if len(set(names) & set(result.modalities)) < 2 or not by_class:
        return (), {}
    columns = list(zip(*by_class.values(), strict=True))
    used = [i for i, one in enumerate(names) if one in result.modalities or any(columns[i])]
    return (
        tuple(names[i] for i in used),
        {label: tuple(one[i] for i in used) for label, one in by_class.items()},
    )


def over_seeds(result: TrainResult, model: str, metric: str, part: str = JUDGED) -> Spread | None:
    """``TrainResult.over_seeds``, but the majority has no seed, so it has no deviation either."""
    found = result.over_seeds(model, metric, part)
    return found if found is None or model != "majority" else Spread(mean=found.mean, sd=None)


class Choice(NamedTuple):
    """A choice of what to go on, with what it gives."""

    name: str
    model: str
    """``network``, ``svm`` or ``majority``."""
    whole: bool
    """Whether it goes on everything that there is."""
    dev: Mapping[str, Spread]
    """Metric → what it reaches on dev; likewise where it is judged."""
    test: Mapping[str, Spread]
    seeds: int


def choices(result: TrainResult) -> tuple[Choice, ...]:
    """The whole, everything with less to go on, and what goes on nothing."""
    everything = " + ".join(result.modalities)

    def own(model: str, name: str) -> Choice:
        dev, test = (
            {metric: one for metric in METRICS if (one := over_seeds(result, model, metric, part))}
            for part in ("dev", JUDGED)
        )
        return Choice(name, model, model != "majority", dev, test, len(result.seeds))

    return (
        own("svm", f"SVM behind it, {everything}"),
        own("network", f"Network, {everything}"),
        *(
            Choice(
                choice_name(one.name, result),
                "svm" if one.name.startswith("SVM") else "network",
                False,
                *(one.dev, one.test, one.seeds),
            )
            for one in result.ablations
        ),
        own("majority", model_name("majority")),
    )


def choice_name(name: str, result: TrainResult) -> str:
    """What a model or an ablation is called in a table, e.g. ``Network, text + audio``."""
    if name in result.judged:
        return model_name(name)
    return name.replace("+", " + ") if ":" in name else f"Network, {name.replace('+', ' + ')}"
