"""Parameters that several commands share, declared once.

``takes`` gives a command the parameters of another function, whose result it gets as one of its
own arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Reason

if TYPE_CHECKING:
    from meldflow.tasks.options import ExtractOptions, TrainOptions

Store = Annotated[str, typer.Option(help="The feature store: a folder, or s3://bucket/name.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]


RETRY = "--retry-failed"
ALL = "all"


def spread_reasons(arguments: Sequence[str]) -> list[str]:
    """The command line with every reason behind an option of its own.

    ``--retry-failed`` may stand alone, for all reasons, or before several: typer knows neither.
    """
    spread: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument != RETRY:
            spread.append(argument)
            continue
        reasons = []
        while left and left[0] in (*Reason, ALL):
            reasons.append(left.pop(0))
        spread += [part for reason in reasons or [ALL] for part in (RETRY, reason)]
    return spread


def _reasons(given: Sequence[str]) -> tuple[Any, ...]:
    for one in given:
        if one not in (*Reason, ALL):
            known = ", ".join(Reason)
            raise UsageError(f"{RETRY}: {one!r} is no reason; it may be {known}")
    return tuple(given)


def weights_of(given: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The values of ``--weights``: those for all extractors, or "", and those by name.

    Raises:
        UsageError: two are for all.
    """
    named = dict(one.split("=", 1) for one in given if "=" in one)
    for_all = [one for one in given if "=" not in one]
    if len(for_all) > 1:
        raise UsageError(f"--weights: {for_all[0]} and {for_all[1]} both for all extractors")
    return (for_all[0] if for_all else ""), named


def takes(**builders: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replaces arguments of a command by the parameters of the functions that build them.

    Args:
        builders: argument of the command → function that makes its value. Parameters of the
            same name are one, and declared alike.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        taken = {name: _parameters(builder) for name, builder in builders.items()}
        own = {name: p for name, p in _parameters(command).items() if name not in builders}
        merged: dict[str, inspect.Parameter] = {}
        for name, one in (pair for some in taken.values() for pair in some.items()):
            if merged.setdefault(name, one) != one and name not in own:
                raise TypeError(f"{command.__name__}: two different parameters called {name}")
        merged |= own  # the command's own say is the last

        @wraps(command)
        def run(**given: Any) -> None:
            built = {
                name: builder(**{one: given[one] for one in taken[name]})
                for name, builder in builders.items()
            }
            command(**built, **{name: given[name] for name in own})

        run.__signature__ = inspect.Signature(list(merged.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {name: one.annotation for name, one in merged.items()}
        return run

    return decorate


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(function, localns=_lazy_hints(), include_extras=True)
    return {
        name: one.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, one in inspect.signature(function).parameters.items()
    }


def _lazy_hints() -> dict[str, Any]:
    """Stand-ins for names that are imported for the type checker only."""
    names = ("ExtractOptions", "TrainOptions", "Defaults", "Site")
    return dict.fromkeys(names, object)


def extraction(
    dataset: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with MELD's CSV files and clips, or a .csv or .parquet file that lists "
            "clips of your own.",
            show_default=False,
        ),
    ] = None,
    store: Store = "store",
    clips: Annotated[
        Path | None,
        typer.Option(help="Instead of DATASET: a plain folder of clips.", metavar="DIR"),
    ] = None,
    fixes: Annotated[
        bool, typer.Option(help="Apply the list of known defects of MELD's files.")
    ] = True,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Run this extractor only; may be given again.", metavar="NAME"),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="`pretrained`, `random` or a checkpoint's path, for all extractors or as "
            "NAME=WEIGHTS for one; may be given again.",
            metavar="[NAME=]WEIGHTS",
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What runs wav2vec 2.0 and ResNet-50: torch, openvino, or auto: what the store "
            "has, else OpenVINO on CPUs where it is installed."
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="Their numbers: fp32, bf16, fp16, or auto: what the store has, else bf16 on CPUs "
            "with instructions for it."
        ),
    ] = "auto",
    partition: Annotated[
        int, typer.Option(min=1, max=1024, help="Utterances per partition of a new store.")
    ] = 64,
    batch: Annotated[
        int, typer.Option(min=1, max=256, help="Clips decoded and encoded together.")
    ] = 8,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse damaged clips; else their good part is kept.")
    ] = False,
    max_seconds: Annotated[
        float, typer.Option(min=0.1, help="Refuse clips that run longer, seconds.")
    ] = 600.0,
    clip_timeout: Annotated[
        float, typer.Option(min=0.1, help="Give up on a clip after decoding so long, seconds.")
    ] = 120.0,
    partition_timeout: Annotated[
        float, typer.Option(min=0.1, help="Try a partition again that takes longer, seconds.")
    ] = 3600.0,
    retry_failed: Annotated[
        list[str] | None,
        typer.Option(
            RETRY,
            help="Try utterances again that failed before: all, or those with these reasons.",
            metavar="[REASON…]",
        ),
    ] = None,
    max_failure_rate: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Fail the run if an extractor fails on a larger share of the rows it tried (20 at "
            "least; texts that are empty do not count).",
        ),
    ] = 0.25,
    wait: Annotated[
        float,
        typer.Option(min=0.0, help="Wait so long while another run writes to the store, seconds."),
    ] = 0.0,
    then_train: Annotated[
        bool,
        typer.Option(
            "--then-train",
            help="Then start the deployment `train` on the new snapshot: for `extract` on a "
            "server that has it (`meldflow up`, `meldflow deploy`).",
        ),
    ] = False,
    cluster: Annotated[
        Path | None,
        typer.Option(help="Cluster profile, YAML; by default the cores of this machine."),
    ] = None,
) -> ExtractOptions:
    """What to extract, and where to, from the command line."""
    from meldflow.tasks.options import ExtractOptions

    if (dataset is None) == (clips is None):
        raise UsageError("name a DATASET or a folder with --clips: one of them, not both")
    for_all, named = weights_of(weights or ())
    return ExtractOptions(
        dataset=dataset and dataset.absolute(),
        clips=clips and clips.absolute(),
        fixes=fixes,
        store=store,
        only=tuple(only or ()),
        weights=for_all or "pretrained",
        weights_of=named,
        backend=backend,
        precision=precision,
        partition=partition,
        batch=batch,
        strict=strict,
        max_seconds=max_seconds,
        clip_timeout=clip_timeout,
        partition_timeout=partition_timeout,
        retry_failed=_reasons(retry_failed or ()),
        max_failure_rate=max_failure_rate,
        wait=wait,
        then_train=then_train,
        cluster=str(cluster.absolute()) if cluster else "",
    )


def training(
    store: Store = "store",
    report: Annotated[Path, typer.Option(help="Folder for the report and the model.")] = Path(
        "report"
    ),
    protocol: Annotated[
        str,
        typer.Option(
            help="How to fit and judge: official, or leaky-80-20, as published and no result."
        ),
    ] = "official",
    network: Annotated[
        str,
        typer.Option(
            help="fusion, with the dialogue around, or reference, as published; by default what "
            "the protocol is about, fusion under official.",
            show_default=False,
        ),
    ] = "",
    modalities: Annotated[
        str, typer.Option(help="What the network is given, e.g. text or audio,text.")
    ] = "audio,video,text",
    target: Annotated[
        str, typer.Option(help="What is told apart: emotion (7) or sentiment (3).")
    ] = "emotion",
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs, each with the next seed.")] = 3,
    ablations: Annotated[
        bool,
        typer.Option(
            help="Also train on every smaller choice of modalities, and an SVM without a network."
        ),
    ] = True,
    epochs: Annotated[
        int, typer.Option(min=0, help="Upper bound on the epochs; 0 for the network's own.")
    ] = 0,
    tracking: Annotated[
        str,
        typer.Option(
            help="Where MLflow keeps the run: a server's address, a folder, or none; by default "
            "what MLFLOW_TRACKING_URI names, else the folder mlruns beside the report.",
            show_default=False,
        ),
    ] = "",
    causal: Annotated[
        bool,
        typer.Option(
            "--causal", help="Context fusion sees only what was said before, for live use."
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="What context fusion trains on: cpu, cuda or auto.")
    ] = "cpu",
    training_precision: Annotated[
        str, typer.Option(help="Context fusion's numbers: 32-true, bf16-mixed or 16-mixed.")
    ] = "32-true",
) -> TrainOptions:
    """What to train, from the command line; on the newest snapshot unless told otherwise."""
    from meldflow.tasks.options import TrainOptions

    named = (one.strip() for one in modalities.split(","))
    return TrainOptions(
        store=store,
        report=report,
        protocol=protocol,
        network=network,  # pydantic says what is wrong with it, or with the others
        modalities=tuple(dict.fromkeys(one for one in named if one)),
        target=target,  # likewise
        seed=seed,
        seeds=seeds,
        ablations=ablations,
        epochs=epochs,
        tracking=tracking,
        causal=causal,
        device=device,
        precision=training_precision,
    )
