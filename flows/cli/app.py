"""The command line's application, and what its commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

HABITS: dict[str, Any] = {"context_settings": {"help_option_names": ["-h", "--help"]}}

app = typer.Typer(
    name="meldflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    **HABITS,
)

DATA, FEATURES, STORE = "Data", "Features", "Store"
TRAINING, SERVING = "Training", "Serving"
"""Panels of the help that commands stand in."""

F = TypeVar("F", bound=Callable[..., Any])


class Terminal(Console):
    """Standard output, whose reader may have seen enough (`| head`): no reason to fail."""

    def on_broken_pipe(self) -> None:
        """Writes into nothing from then on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


out = Terminal()
err = Console(stderr=True)

Store = Annotated[
    str,
    typer.Argument(help="The feature store: a folder, or s3://bucket/name.", metavar="STORE"),
]
Ref = Annotated[str, typer.Option("--ref", "--snapshot", help="Branch, tag or snapshot id.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def command(panel: str, *examples: str) -> Callable[[F], F]:
    """Makes a function a command, in a panel of the help, with examples."""
    return app.command(rich_help_panel=panel, epilog=example(*examples))


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "**Example**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def _say_version(wanted: bool) -> None:
    if wanted:
        out.print(f"meldflow {version('meldflow')}", highlight=False)
        raise typer.Exit


@app.callback()
def _meldflow(
    show: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Multimodal features of the MELD clips, extracted on a cluster, versioned and judged."""
