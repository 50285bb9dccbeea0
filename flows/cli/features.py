"""The commands that extract features, and that show what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from meldflow.flows.cli.app import FEATURES, Json, Ref, Store, command, err, out
from meldflow.flows.cli.parameters import takes
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
@takes(options=ExtractOptions)
def extract(options: ExtractOptions, as_json: Json = False) -> None:
    """Extract whatever is new or changed, on all cores, and publish one snapshot."""
    from meldflow.flows.cli.screen import results

    check_before_start(options)
    with results.prefect():
        from meldflow.flows.extract import extract as flow
        from meldflow.flows.serving.server import outcome

        report = outcome(flow, options)
    results.show_extraction(report, as_json=as_json)


@command(
    FEATURES,
    "meldflow plan MELD.Raw --store store",
    "meldflow plan MELD.Raw --store store --retry-failed timeout crashed --json",
)
@takes(options=ExtractOptions)
def plan(options: ExtractOptions, as_json: Json = False) -> None:
    """Show what `extract` would do with the same options, and why, without doing it."""
    from meldflow.flows.cli.screen import store as shown
    from meldflow.storage.planning.preview import preview
    from meldflow.tasks.extraction.committing import known_clips
    from meldflow.tasks.extraction.inputs import check_inputs, wanted_extractors, wanted_utterances

    with err.status("looking for the networks' weights"):
        check_inputs(options)
        specs = [extractor.spec for extractor in wanted_extractors(options)]
    utterances = wanted_utterances(options, known_clips(options.store)).utterances
    change, found = preview(
        options.store, specs, utterances, partition=options.partition, retry=options.retry
    )
    shown.show_plan(options.store, change, found, as_json=as_json)


@command(FEATURES, "meldflow extractors", "meldflow extractors --json")
def extractors(as_json: Json = False) -> None:
    """List the extractors, where they come from, and the parameters that `--set` sets."""
    from meldflow.models.extractors.registry import catalogue

    found = catalogue()
    if as_json:
        out.print_json(data=[entry.to_json() for entry, _ in found])
        return
    for entry, parameters in found:
        out.print(f"{entry.name}  ({entry.origin})", style="bold", highlight=False, markup=False)
        for line in (entry.summary, *map(str, parameters)):
            out.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


@command(FEATURES, "meldflow status store --json")
def status(store: Store, snapshot: Ref = "main", as_json: Json = False) -> None:
    """Show how many utterances each extractor has done, by split."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store

    results.show_status(open_store(store, snapshot), as_json=as_json)


@command(FEATURES, "meldflow failures store", "meldflow failures store --json")
def failures(store: Store, snapshot: Ref = "main", as_json: Json = False) -> None:
    """List the utterances that have no feature, and why."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store

    results.show_failures(open_store(store, snapshot), as_json=as_json)


@command(FEATURES, "meldflow clips store --damaged", "meldflow clips store --json")
def clips(
    store: Store,
    snapshot: Ref = "main",
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only clips of which a part is lost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what decoding found in each clip: codecs, rates, lengths, frames, damage."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store

    results.show_clips(open_store(store, snapshot), damaged=damaged, as_json=as_json)


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
    location.check_writable(options.store)
