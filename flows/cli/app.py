"""The command line's application, and what its commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="meldflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Multimodal features of the MELD clips, extracted on a cluster, versioned and judged.",
)
out = Console()
err = Console(stderr=True)

Store = Annotated[
    str,
    typer.Argument(help="The feature store: a folder, or s3://bucket/name.", metavar="STORE"),
]
Ref = Annotated[str, typer.Option("--ref", "--snapshot", help="Branch, tag or snapshot id.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "**Example**\n\n" + "\n\n".join(f"`{line}`" for line in lines)
