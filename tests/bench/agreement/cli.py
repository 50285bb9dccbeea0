"""The commands that measure how right meldflow's features are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import Json, example
from tests.bench.cli import bench_commands, numbers, shown


@bench_commands.command(
    epilog=example(
        "python -m tests.bench fidelity", "python -m tests.bench fidelity my-clips --clips 12"
    )
)
def fidelity(
    directory: Annotated[
        Path | None, typer.Argument(help="Folder of clips; without it, some are made.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips that the networks get.")] = 4,
    weights: Annotated[
        str, typer.Option(help="Of the networks: pretrained, random or a path.")
    ] = "random",
    as_json: Json = False,
) -> None:
    """How far the networks agree with torch in fp32, by every backend and precision here."""
    from tests.bench.agreement.fidelity import fidelity as measure

    shown("fidelity", as_json, partial(measure, directory, clips=clips, weights=weights))


@bench_commands.command(
    epilog=example(
        "python -m tests.bench seam", "python -m tests.bench seam speech.wav --seconds 40 --json"
    )
)
def seam(
    places: Annotated[
        list[Path] | None,
        typer.Argument(help="Recordings of speech, which are joined; by default, real clips."),
    ] = None,
    seconds: Annotated[
        str, typer.Option(help="How much of it, one length after another.", metavar="N,N,…")
    ] = "20,30,60",
    overlap: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Of the windows, seconds; may be given several times."),
    ] = None,
    weights: Annotated[str, typer.Option(help="pretrained, random or a path.")] = "random",
    as_json: Json = False,
) -> None:
    """What wav2vec 2.0's windows change, against one pass over all of the sound."""
    from tests.bench.agreement.seam import seam as measure

    shown(
        "seam",
        as_json,
        partial(
            measure,
            places or (),
            seconds=numbers("--seconds", seconds),
            overlaps=overlap or (),
            weights=weights,
        ),
    )


@bench_commands.command(
    epilog=example(
        "python -m tests.bench pitch", "python -m tests.bench pitch my-recordings --json"
    )
)
def pitch(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Recordings of speech, or folders of them. NAME.f0ref beside NAME.wav holds the "
            "true pitch: Hz, a line per 15 ms, 0 where unvoiced.",
            metavar="PLACES",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """How right pitch is: ours, pYIN and Praat on voices of known pitch and on recordings."""
    from tests.bench.pitch.measure import pitch as measure

    shown("pitch", as_json, partial(measure, places or ()))


@bench_commands.command(
    epilog=example(
        "python -m tests.bench candidates", "python -m tests.bench candidates my-clips --json"
    )
)
def candidates(
    places: Annotated[
        list[Path] | None,
        typer.Argument(help="Clips, or folders of them; by default, real clips.", metavar="PLACES"),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Of ResNet-50: pretrained, random or a path.")
    ] = "random",
    as_json: Json = False,
) -> None:
    """What choosing among fewer frames saves and changes (`--candidates reference`)."""
    from tests.bench.agreement.candidates import candidates as measure

    shown("candidates", as_json, partial(measure, places or (), weights=weights))
