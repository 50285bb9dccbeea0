"""The command that measures what a GPU does."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import Json, example
from meldflow.models.clips.options import DECODERS
from meldflow.tasks.cluster.local import visible_gpus
from tests.bench.cli import Clips, Directory, bench_commands, shown


@bench_commands.command(
    epilog=example(
        "python -m tests.bench gpu", "python -m tests.bench gpu my-clips --precision bf16 --json"
    )
)
def gpu(
    directory: Directory = None,
    clips: Clips = 24,
    utterances: Annotated[
        int, typer.Option(min=2, help="Of an extraction on the GPU, which take turns with clips.")
    ] = 1024,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Precision to extract in; by default fp32 and bf16, one after another."),
    ] = None,
    decoder: Annotated[
        list[str] | None,
        typer.Option(help="What decodes the pictures; by default cpu, and nvdec on a GPU."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Store of these clips by a CPU in fp32; else they are extracted so."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What a GPU does for an extraction: equality with the CPU, clips per second, utilisation.

    Without a GPU, a worker on the CPU stands for it, which is slow: give it few utterances.
    """
    from tests.bench.card.gpu import gpu as measure

    shown(
        "gpu",
        as_json,
        partial(
            measure,
            directory,
            clips=clips,
            utterances=utterances,
            precisions=precision or ("fp32", "bf16"),
            decoders=decoder or (DECODERS if visible_gpus() else DECODERS[:1]),
            reference=reference,
        ),
    )
