"""What is decoded together, and what the extractors have to do of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.media import Modality
from meldflow.storage.planning.plan import PartitionPlan
from meldflow.tasks.extraction.payloads import Portion, Source

Portions = tuple[Portion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBatch:
    """Utterances that are loaded together, and what the extractors have to do of them."""

    sources: tuple[Source, ...]
    portions: Portions
    decoding: DecodeOptions | None

    def of(self, role: str) -> Portions:
        """The portions of the extractors that run on ``role``."""
        return tuple(one for one in self.portions if one.extractor.spec.resource == role)

    @property
    def modalities(self) -> set[Modality]:
        """What has to be decoded."""
        return {one.extractor.spec.modality for one in self.portions}


def batches(
    part: PartitionPlan,
    extractors: Sequence[Extractor],
    source: Callable[[int], Source],
    size: int,
) -> Iterator[ClipBatch]:
    """The batches of a partition, such that every clip is decoded once by the same options.

    Clips come in batches of ``size``, so that their frames stay few in memory; texts are small
    and go through the encoder in one batch.
    """
    sharing: dict[DecodeOptions | None, list[Extractor]] = {}
    for extractor in extractors:
        if extractor.spec.name in part.rows:
            sharing.setdefault(extractor.decoding, []).append(extractor)
    for options, those in sharing.items():
        wanted = {one: set(part.rows[one.spec.name].tolist()) for one in those}
        rows = sorted(set().union(*wanted.values()))
        step = len(rows) if options is None else size
        for first in range(0, len(rows), step):
            sources = tuple(map(source, rows[first : first + step]))
            own = {
                one: tuple(s for s in sources if s.row in stale) for one, stale in wanted.items()
            }
            portions = tuple(Portion(extractor=one, sources=s) for one, s in own.items() if s)
            yield ClipBatch(sources=sources, portions=portions, decoding=options)
