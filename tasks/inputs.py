"""What an extraction starts from, as its options say: extractors and utterances."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models import registry
from models.extractor import Extractor
from models.schema import Clip
from tasks.intake import Intake, check_folder, check_source, take_in, take_in_folder
from tasks.options import ExtractOptions


def wanted_extractors(options: ExtractOptions) -> tuple[Extractor, ...]:
    """The extractors, with their weights found but nothing loaded.

    Raises:
        UsageError: see ``models.registry.build``.
    """
    return registry.build(
        options.only,
        options.weights_of,
        options.weights,
        decoding={"strict": options.strict, "max_seconds": options.max_seconds},
    )


def wanted_utterances(options: ExtractOptions, known: Mapping[str, Clip]) -> Intake:
    """The utterances of the data set or of the folder of clips.

    Args:
        options: which of them, and where.
        known: path → clip as catalogued before, so that it is not read again.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    if options.dataset is None:
        return take_in_folder(_clips(options), known=known)
    return take_in(options.dataset, known=known, fixes=options.fixes)


def check_inputs(options: ExtractOptions) -> None:
    """Finds what is wrong with the inputs, without reading a clip or loading a network.

    Raises:
        UsageError: see the functions above.
    """
    if options.dataset is None:
        check_folder(_clips(options))
    else:
        check_source(options.dataset)
    wanted_extractors(options)


def _clips(options: ExtractOptions) -> Path:
    if options.clips is None:
        raise AssertionError("the options name a dataset or clips")
    return options.clips
