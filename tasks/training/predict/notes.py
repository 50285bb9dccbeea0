"""What a reader has to know before trusting a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meldflow.models.extractors.contract import Extractor
from meldflow.models.judging.protocols import PROTOCOLS
from meldflow.models.judging.table import extractor_of
from meldflow.models.schema.media import Missing, Modality
from meldflow.tasks.pages.templates import template
from meldflow.tasks.training.predict.extractors import read_by
from meldflow.tasks.training.predict.records import Given, listed, why


def notes(
    described: Mapping[str, Any],
    extractors: Sequence[Extractor],
    given: Given,
    missing: Mapping[str, Missing],
) -> tuple[str, ...]:
    """Every note that applies.

    Args:
        described: what the saved model says of itself.
        extractors: those that it uses.
        given: what it was asked.
        missing: extractor → why it gave nothing.
    """
    wanted = {extractor_of(path) for paths in described["arrays"].values() for path in paths}
    told = template("training/predict/notes.txt.j2").render(
        described=described,
        given=given,
        missing=missing,
        protocol=PROTOCOLS.get(str(described.get("protocol", ""))),
        random=sorted(name for name, kind in described["weights"].items() if kind == "random"),
        untrained=sorted(wanted - {one.spec.name for one in extractors}),
        looks=read_by(extractors, Modality.AUDIO, Modality.VIDEO),
        reads=read_by(extractors, Modality.TEXT),
        listed=listed,
        why=why,
    )
    return tuple(" ".join(note.split()) for note in told.split("\n\n") if note.strip())
