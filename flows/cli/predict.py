"""The command that uses a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from meldflow.flows.cli.app import Json, err, example
from meldflow.flows.cli.parameters import weights_of
from meldflow.models.schema.errors import UsageError

predict_commands = typer.Typer()


@predict_commands.command(
    epilog=example(
        'meldflow predict clip.mp4 --text "Oh my God!" --model report',
        'meldflow predict clip.mp4 --text "Oh my God!" --speaker Joey --json',
        'meldflow predict --text "I am so sorry." --model text-report',
        "meldflow predict clip.mp4 --weights audio/wav2vec2=/models/wav2vec2",
    )
)
def predict(
    clip: Annotated[
        Path | None,
        typer.Argument(
            help="The clip; a model that knows text alone needs none.",
            metavar="[CLIP]",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The words of the utterance.", show_default=False)
    ] = None,
    model: Annotated[
        Path,
        typer.Option(help="Report folder of a training run, or the model in it.", metavar="DIR"),
    ] = Path("report"),
    speaker: Annotated[
        str,
        typer.Option(help="Who says it; context fusion knows the frequent speakers by name."),
    ] = "",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="`pretrained`, `random` or a checkpoint's path, for all extractors or as "
            "NAME=WEIGHTS for one; by default the kind that the model was trained with.",
            metavar="[NAME=]WEIGHTS",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Classify one clip with a trained model: a probability for each class."""
    from meldflow.tasks.training.predict import Given, check_given

    for_all, named = weights_of(weights or ())
    if text is not None and not text.strip():
        raise UsageError("--text: holds no words; leave it out if nobody knows them")
    given = Given(clip=clip, text=text or "", speaker=speaker)
    check_given(given)
    with err.status("loading the model") as status:
        from meldflow.flows.cli.screen.predict import show_prediction
        from meldflow.tasks.training.predict import load_predictor

        predictor = load_predictor(model, for_all, named)
        found = predictor.predict(given, lambda words: status.update(escape(words)))
    show_prediction(found, as_json=as_json)
