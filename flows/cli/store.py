"""The commands about what a store was, is and would become, and about taking it elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import STORE, Answer, Ref, Store, command
from meldflow.flows.cli.screen import results
from meldflow.flows.cli.screen import store as shown
from meldflow.flows.cli.screen.terminal import err
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import Cli, MaintainOptions, Options


@command(STORE, "meldflow log store", "meldflow log s3://bucket/store --json")
def log(store: Store) -> Answer:
    """List what runs did and did not publish, then the published states; the newest first."""
    from meldflow.storage import history as states

    return Answer((*states.unpublished(store), *states.log(store)), shown.show_log)


@command(STORE, "meldflow discard store run-20261127T181500-1a2b3c")
def discard(
    store: Store,
    run: Annotated[str, typer.Argument(help="A run that `meldflow log` shows as not published.")],
) -> Answer:
    """Give up what a run has done that died, or ended before it was published."""
    from meldflow.storage import history as states

    states.discard(store, run)
    return Answer(states.unpublished(store), shown.show_log)


@command(STORE, "meldflow diff store paper-1", "meldflow diff store paper-1 main --json")
def diff(
    store: Store,
    before: Annotated[str, typer.Argument(help="Branch, tag or snapshot id.", metavar="A")],
    after: Annotated[str, typer.Argument(help="Branch, tag or snapshot id.", metavar="B")] = "main",
) -> Answer:
    """Show which utterances and extractors differ between two states of a store."""
    from meldflow.storage.reading import difference

    return Answer(difference.diff(store, before, after), shown.show_diff)


@command(STORE, "meldflow tag store", "meldflow tag store paper-1", "meldflow tag store x --ref ID")
def tag(
    store: Store,
    name: Annotated[
        str | None, typer.Argument(help="The name; without one, the tags are listed.")
    ] = None,
    ref: Ref = "main",
    delete: Annotated[bool, typer.Option("--delete", help="Forget the name.")] = False,
) -> Answer:
    """Name a state of a store, so that it is kept for good; or list the names."""
    from meldflow.storage import history as states

    if delete and name is None:
        raise UsageError("--delete: name the tag to forget")
    if name is not None and delete:
        states.untag(store, name)
    elif name is not None:
        states.tag(store, name, ref)
    return Answer(states.tags(store), shown.show_tags)


@command(STORE, "meldflow rollback store paper-1")
def rollback(
    store: Store,
    ref: Annotated[str, typer.Argument(help="Tag or snapshot id of a published state.")],
) -> Answer:
    """Make an earlier published state the current one; what was current keeps a tag."""
    from meldflow.storage import history as states

    current, rescued = states.rollback(store, ref)
    left = states.unpublished(store)
    done = {"snapshot": current, "rescued": rescued, "unpublished": left}
    return Answer(done, shown.show_rollback)


@command(STORE, "meldflow maintain store --dry-run", "meldflow maintain store --older-than 7")
def maintain(options: MaintainOptions) -> Answer:
    """Forget old states and free what only they need; tags and the current state stay."""
    from meldflow.storage.history import maintain_store

    with err.status("looking for what nothing needs any more"):
        done = maintain_store(
            options.store, older_than_days=options.older_than_days, dry_run=options.dry_run
        )
    return Answer(done, shown.show_unused if options.dry_run else shown.show_maintenance)


class Export(Options):
    """What to export, and where to."""

    store: Annotated[str, Cli(argument=True)]
    """The feature store: a folder, or s3://bucket/name."""
    format: Annotated[str, Cli(metavar="FORMAT")]
    """zarr, parquet, mertools or mmsa."""
    to: Annotated[Path, Cli(metavar="PATH")]
    """A path that does not exist yet."""
    ref: Annotated[str, Cli(flags=("--ref", "--snapshot"))] = "main"
    """Branch, tag or snapshot id."""
    only: Annotated[tuple[str, ...], Cli(metavar="NAME")] = ()
    """Export this extractor only."""
    complete: bool = False
    """Leave out utterances that lack one of the features."""


@command(
    STORE,
    "meldflow export store --format zarr --to features.zarr",
    "meldflow export store --format parquet --to features --only text/minilm",
    "meldflow export store --format mertools --to meld-process",
    "meldflow export store --format mmsa --to meld.pkl --only audio/wav2vec2 "
    "--only video/resnet50 --only text/minilm",
)
def export(wanted: Export) -> Answer:
    """Write a snapshot for other tools, with a record of where it comes from."""
    from meldflow.storage import exports, open_store
    from meldflow.tasks.pages.progress import progress

    exports.check_target(wanted.to, store=wanted.store, format_name=wanted.format)
    opened = open_store(wanted.store, wanted.ref)
    chosen = exports.select(opened, ref=wanted.ref, only=wanted.only, complete=wanted.complete)
    with progress("exporting", chosen.total, "feature rows") as advance:
        report = exports.export(
            chosen,
            format_name=wanted.format,
            target=wanted.to,
            command=results.typed(),
            advance=advance,
        )
    return Answer(report, results.show_export)
