"""The command line's application, and what its commands share."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, is_dataclass
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from meldflow.flows.cli.parameters import spread
from meldflow.flows.cli.screen.terminal import out

app = typer.Typer(
    name="meldflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

DATA, FEATURES, STORE = "Data", "Features", "Store"
TRAINING, SERVING = "Training", "Serving"
"""Panels of the help that commands stand in."""

Store = Annotated[
    str,
    typer.Argument(help="The feature store: a folder, or s3://bucket/name.", metavar="STORE"),
]
Declared = Annotated[
    list[Path] | None,
    typer.Option("--extractors-file", help="A file of them, as of `extract`.", metavar="FILE"),
]
Ref = Annotated[str, typer.Option("--ref", "--snapshot", help="Branch, tag or snapshot id.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has found, and what people see of it; programs ask for ``--json``."""

    found: Any
    show: Callable[[Any], None]
    to_json: Callable[[Any], Any] = lambda found: found
    """The values that JSON gets of it; by default itself."""
    code: int = 0
    """Exit code: 1 where what was found is not well."""

    def give(self, *, as_json: bool) -> None:
        """Prints it."""
        if as_json:
            # ASCII, since a file's name may hold bytes that no encoding of the screen has.
            found = self.to_json(self.found)
            out.print_json(data=found, default=_plain, ensure_ascii=True)
        else:
            self.show(self.found)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


Command = TypeVar("Command", bound=Callable[..., Answer | None])
_AS_JSON = inspect.Parameter(
    "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json
)


def command(panel: str, *examples: str, group: typer.Typer = app) -> Callable[[Command], Command]:
    """Makes a function a command, in a panel of the help or in a group, with examples.

    Models among its arguments become options; where it gives an ``Answer``, there is ``--json``.
    """

    def register(function: Command) -> Command:
        answers = get_type_hints(function)["return"] is not NoneType
        typed = spread(function, *[_AS_JSON] * answers)

        @wraps(typed)
        def run(**given: Any) -> None:
            if answer := typed(**given):
                answer.give(as_json=given["as_json"])
                raise typer.Exit(answer.code)

        group.command(rich_help_panel=panel, epilog=example(*examples))(run)
        return function

    return register


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "**Example**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def _say_version(wanted: bool) -> None:
    if wanted:
        out.print(f"meldflow {version('meldflow')}")
        raise typer.Exit


@app.callback()
def _meldflow(
    show: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Multimodal features of the MELD clips, extracted on a cluster, versioned and judged."""


def commands(below: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """What is typed → a command, of all below one; a group of commands is none itself."""
    for name, command in below.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)
        else:
            yield " ".join((*words, name)), command
