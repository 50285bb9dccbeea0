"""The commands that train, with all that comes before it or not, and that use what was trained."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from meldflow.flows.cli.app import TRAINING, Answer, Declared, command
from meldflow.flows.cli.data import Dialogues, Seed
from meldflow.flows.cli.features import check_before_start
from meldflow.flows.cli.screen import results
from meldflow.flows.cli.screen.terminal import err
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import Cli, Extraction, Options, Training, TrainOptions, split_weights
from meldflow.tasks.options.declared import read_declared


@command(
    TRAINING,
    "meldflow train store --report report",
    "meldflow train store --modalities text --seeds 5 --json",
    "meldflow train store --protocol leaky-80-20",
)
def train(options: TrainOptions) -> Answer:
    """Train a network and an SVM on a snapshot, judge both, write the report."""
    from meldflow.storage import open_store
    from meldflow.tasks.training.steps import check_training

    open_store(options.store, options.snapshot)
    check_training(options)
    with results.prefect():
        from meldflow.flows.serving.server import outcome
        from meldflow.flows.train import train as flow

        trained = outcome(flow, options)
    return Answer(trained, results.show_training)


@command(TRAINING, "meldflow pipeline MELD.Raw --store store --report report")
def pipeline(extraction: Extraction, training: Training) -> Answer:
    """Audit, extract, then train on the snapshot that was published."""
    from meldflow.tasks.training.steps import check_training

    check_before_start(extraction)
    check_training(training)
    with results.prefect():
        from meldflow.flows.pipeline import pipeline as flow
        from meldflow.flows.serving.server import outcome

        extracted, trained = outcome(flow, extraction, training)
    return Answer({"extract": extracted, "train": trained}, results.show_pipeline)


@command(TRAINING, "meldflow demo", "meldflow demo --directory /tmp/demo --dialogues 12")
def demo(
    directory: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo"),
    dialogues: Dialogues = 20,
    seed: Seed = 0,
    declared: Declared = None,
) -> Answer:
    """Make a small data set, extract it, train on it, and leave a report to read.

    Wav2Vec2 and ResNet-50 get random weights here, since their real ones need a download;
    MiniLM has its real ones. Extractors that a file declares are extracted and read instead.
    """
    from meldflow.tasks.demo.dataset import synthesise

    chosen: dict[str, Any] = read_declared([*map(str, declared)]) if declared else {}
    summary = synthesise(directory / "data", dialogues=dialogues, seed=seed)
    extraction = Extraction(
        dataset=directory / "data",
        store=str(directory / "store"),
        partition=32,
        **(chosen or {"weights": "random", "weights_of": {"text/minilm": "pretrained"}}),
    )
    names = tuple(extraction.instances)
    training = Training(report=directory / "report", seed=seed, extractors=names)
    answer = pipeline(extraction, training)

    def show(found: Any) -> None:
        results.show_synth(summary)
        answer.show(found)

    return replace(answer, show=show)


class Utterance(Options):
    """What to classify, and by which model."""

    clip: Annotated[Path | None, Cli(argument=True, metavar="[CLIP]")] = None
    """The clip; a model that knows text alone needs none."""
    text: str | None = None
    """The words of the utterance."""
    model: Annotated[Path, Cli(metavar="DIR")] = Path("report")
    """Report folder of a training run, or the model in it."""
    speaker: str = ""
    """Who says it; context fusion knows the frequent speakers by name."""
    weights: Annotated[tuple[str, ...], Cli(metavar="[NAME=]WEIGHTS")] = ()
    """`pretrained`, `random` or a checkpoint's path, for all extractors or as NAME=WEIGHTS for
    one; by default the kind that the model was trained with."""


@command(
    TRAINING,
    'meldflow predict clip.mp4 --text "Oh my God!" --model report',
    'meldflow predict clip.mp4 --text "Oh my God!" --speaker Joey --json',
    'meldflow predict --text "I am so sorry." --model text-report',
    "meldflow predict clip.mp4 --weights audio/wav2vec2=/models/wav2vec2",
)
def predict(utterance: Utterance) -> Answer:
    """Classify one clip with a trained model: a probability for each class."""
    from meldflow.flows.cli.screen.clip import show_prediction
    from meldflow.tasks.training.predict.records import Given, check_given

    text = utterance.text
    if text is not None and not text.strip():
        raise UsageError("--text: holds no words; leave it out if nobody knows them")
    chosen = split_weights(utterance.weights)
    given = Given(clip=utterance.clip, text=text or "", speaker=utterance.speaker)
    check_given(given)
    with err.status("loading the model") as status:
        from meldflow.tasks.training.predict.predictor import load_predictor

        predictor = load_predictor(utterance.model, **chosen)
        found = predictor.predict(given, lambda words: status.update(escape(words)))
    return Answer(found, show_prediction)
