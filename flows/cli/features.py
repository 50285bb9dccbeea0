"""The commands that extract features, and that show what came of it."""

from functools import partial
from typing import Annotated

import typer

from meldflow.flows.cli.app import FEATURES, Answer, Ref, Store, command
from meldflow.flows.cli.screen import results
from meldflow.flows.cli.screen import store as shown
from meldflow.flows.cli.screen.terminal import err
from meldflow.tasks.options import ExtractOptions


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
