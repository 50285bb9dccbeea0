"""The report's first words: what the result is, in one plain sentence."""

from __future__ import annotations

from models.judging.records import Scores, TrainResult
from models.schema import EMOTIONS

_SPOKEN = {"svm": "SVM"}


def _spoken(result: TrainResult, name: str) -> str:
    """A classifier within a sentence."""
    return f"{result.network} network" if name == "network" else _SPOKEN.get(name, name)


def headline(result: TrainResult) -> str:
    """One sentence: the model chosen on dev, its weighted F1, and the majority's."""
    test, floor = result.judged[result.winner].test, result.judged["majority"].test
    return (
        f"On {test.rows:,} test utterances the {_spoken(result, result.winner)} reaches "
        f"weighted F1 {test.weighted_f1:.2f}; always answering {_commonest(result)} gives "
        f"{floor.weighted_f1:.2f}."
    )


def explanation(result: TrainResult) -> str:
    """Two sentences: how certain that is, and why this model is the one named."""
    other = "network" if result.winner == "svm" else "svm"
    certainty = _certainty(result.judged[result.winner].test)
    return (
        f"{certainty} The {_spoken(result, result.winner)} is named "
        f"because it did at least as well on dev; the {_spoken(result, other)} reaches "
        f"{result.judged[other].test.weighted_f1:.2f} on test."
    )


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
    return predicted[0] if predicted else EMOTIONS[0]
