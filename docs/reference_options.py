"""Every command, its options and the extractors' parameters as Markdown, from the declarations.

``python docs/reference_options.py`` prints the page; ``page()`` gives it to who builds the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from meldflow.flows.cli.app import commands
from meldflow.flows.cli.main import app
from meldflow.models.extractors import registry


def page() -> str:
    """The page, commands in the order of the help."""
    lines = ["# Commands and options", ""]
    group = ""
    for name, command in commands(typer.main.get_command(app)):
        if command.rich_help_panel != group:
            group = command.rich_help_panel
            lines += [f"## {group}", ""]
        lines += [f"### meldflow {name}", "", command.help or "", "", *_options(command)]
        lines += ["```console", *re.findall(r"`(meldflow [^`]*)`", command.epilog or ""), "```", ""]
    return "\n".join([*lines, *_extractors()])


def _options(command: Any) -> Iterator[str]:
    shown = [one for one in command.params if one.name != "help"]
    yield from ("| option | value | default | meaning |", "|---|---|---|---|") if shown else ()
    for one in shown:
        names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else []
        flag = " ".join(f"`{name}`" for name in names) or f"`{one.metavar or one.name.upper()}`"
        is_flag = getattr(one, "is_flag", False)
        value = "" if is_flag or not names else f"`{one.metavar or one.name.upper()}`"
        default = "" if one.default in (None, "") or is_flag else f"`{one.default}`"
        cells = (flag, value, default, one.help or "")
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _extractors() -> Iterator[str]:
    yield from ("## Parameters of extractors", "", "Set with `--set NAME.PARAMETER=VALUE`.", "")
    yield from ("| parameter | default | allowed | meaning |", "|---|---|---|---|")
    for entry, parameters in registry.catalogue():
        for one in parameters:
            said = re.sub(r"``(.*?)``", r"`\1`", one.help)
            yield f"| `{entry.name}.{one.name}` | `{one.default}` | {one.allowed} | {said} |"
    yield ""


if __name__ == "__main__":
    print(page())
