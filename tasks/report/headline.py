"""The report's first words: what the result is, in one plain sentence."""

from __future__ import annotations

from meldflow.models.judging.records import JUDGED, Scores
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.text import spread
from meldflow.tasks.report.pieces.naming import judged_part, over_seeds, rules, spoken

_METRIC = "weighted_f1"


def headline(result: TrainResult) -> str:
    """One sentence: the chosen model's weighted F1 over the seeds, and the majority's.

    By a wrong protocol it says first that this is no result, and what the same models reach
    on test.
    """
    model = spoken(result, result.winner)
    own = _figure(result, result.winner)
    if rules(result).wrong:
        return (
            f"No result: by a protocol that judges on rows the network was fitted on, the {model} "
            f"reaches weighted F1 {own}{_seeds(result)}{_on_test(result)}."
        )
    floor = _figure(result, "majority")
    return (
        f"On {len(result.test_ids):,} {judged_part(result)} utterances the {model} reaches "
        f"weighted F1 {own}{_seeds(result)}; always answering {_commonest(result)} gives {floor}."
    )


def _seeds(result: TrainResult) -> str:
    n = len(result.seeds)
    return f" (mean and standard deviation of {n} seeds)" if n > 1 else ""


def _on_test(result: TrainResult) -> str:
    """What the very same models reach on rows that they have not seen."""
    if result.over_seeds(result.winner, _METRIC, "test") is None:
        return ""
    return f"; on test the very same models reach {_figure(result, result.winner, 'test')}"


def _figure(result: TrainResult, model: str, part: str = JUDGED) -> str:
    """Weighted F1 in two decimals; a deviation, which is small, needs three."""
    return spread(over_seeds(result, model, _METRIC, part), 3 if len(result.seeds) > 1 else 2)


def explanation(result: TrainResult) -> str:
    """A few sentences: which seed is shown, how certain that is, why this model is named."""
    certainty = (
        "This tells nothing about utterances that the models have not seen: do not quote it."
        if rules(result).wrong
        else _certainty(result.judged[result.winner].test)
    )
    return f"{_shown(result)}{certainty} {_why(result)}"


def _shown(result: TrainResult) -> str:
    """Which seed the figures are of, where there are several."""
    n, seed = len(result.seeds), result.shown.seed
    if n == 1:
        return ""
    if not rules(result).choose:
        return f"The figures below are of seed {seed}, the first of {n}. "
    return f"The figures below are of seed {seed}, the best of {n} on dev. "


def _why(result: TrainResult) -> str:
    """Why the named model is named, and what the other one reaches."""
    other = "network" if result.winner == "svm" else "svm"
    part, score = judged_part(result), result.judged[other].test.weighted_f1
    reaches = f"the {spoken(result, other)} reaches {score:.2f} on {part}."
    model = spoken(result, result.winner)
    if not rules(result).choose:
        return f"The {model} is named because it is what the protocol judges; {reaches}"
    return f"The {model} is named because it did at least as well on dev; {reaches}"


def _certainty(test: Scores) -> str:
    """How far the figure can be trusted; no mistake at all is judged by the rule of three.

    Source: Hanley & Lippman-Hand 1983: 0 of n observed allows a rate of up to 3/n (95 %).
    """
    if test.accuracy == 1:
        return (
            f"Not one is wrong; that still allows an error rate of up to "
            f"{100 * min(3 / test.rows, 1):.2g} % (95 % confidence)."
        )
    return (
        f"Its 95 % interval, from resampling these utterances, is {test.weighted_f1_low:.2f} "
        f"to {test.weighted_f1_high:.2f}."
    )


def _commonest(result: TrainResult) -> str:
    predicted = result.judged["majority"].predicted
    return predicted[0] if predicted else result.classes[0]
