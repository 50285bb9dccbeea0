"""What a reader has to know before trusting a prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meldflow.models.extractors.contract import Extractor
from meldflow.models.judging.protocols import PROTOCOLS
from meldflow.models.judging.table import extractor_of
from meldflow.models.schema.media import Missing, Modality
from meldflow.tasks.training.predict.extractors import read_by
from meldflow.tasks.training.predict.records import Given, listed, why


def notes(
    described: Mapping[str, Any],
    extractors: Sequence[Extractor],
    given: Given,
    missing: Mapping[str, Missing],
) -> Iterator[str]:
    """Every note that applies.

    Args:
        described: what the saved model says of itself.
        extractors: those that it uses.
        given: what it was asked.
        missing: extractor → why it gave nothing.
    """
    random = [name for name, kind in described["weights"].items() if kind == "random"]
    if random:
        yield (
            f"Random weights: {listed(sorted(random))}. These features come from networks that "
            "have learned nothing."
        )
    yield from _about_protocol(str(described.get("protocol", "")))
    for name, one in missing.items():
        yield f"Without {name}: {why(one)}."
    wanted = {extractor_of(path) for paths in described["arrays"].values() for path in paths}
    if untrained := sorted(wanted - {one.spec.name for one in extractors}):
        yield f"The model was trained without {listed(untrained)}: its store had no such features."
    if given.clip is not None and not read_by(extractors, Modality.AUDIO, Modality.VIDEO):
        yield "The clip was not looked at: the model knows text alone."
    if given.text.strip() and not read_by(extractors, Modality.TEXT):
        yield "The text was not read: the model knows sound and pictures alone."
    yield from _about_context(described, given)


def _about_protocol(name: str) -> Iterator[str]:
    protocol = PROTOCOLS.get(name)
    if protocol is not None and protocol.wrong:
        yield f"The model was trained under {name}. {protocol.wrong}"


def _about_context(described: Mapping[str, Any], given: Given) -> Iterator[str]:
    if described["architecture"] != "fusion":
        if given.speaker:
            yield "The speaker makes no difference: this network does not know speakers."
        return
    yield (
        "The model was trained to see the dialogue around an utterance; here it was given this "
        "one alone."
    )
    known = described["speakers"]
    if given.speaker and given.speaker not in known:
        names = listed(known) if known else "nobody"
        yield f"The model does not know {given.speaker} by name; it knows {names}."
