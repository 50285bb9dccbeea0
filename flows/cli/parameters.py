"""The declarations of ``tasks.options`` as parameters of commands.

``spread`` gives a command the options of the models that it takes.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Gt, Le
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Reason
from meldflow.tasks.options import Cli, Options, is_options

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A field of options as the command line has it."""

    name: str
    field: FieldInfo
    choices: tuple[str, ...]
    cli: Cli

    @property
    def flag(self) -> str:
        """What a user types, and reads where the value cannot be used."""
        if self.cli.argument:
            return self.name.upper()
        return (self.cli.flags or (f"--{self.name.replace('_', '-')}",))[0]

    @property
    def key(self) -> str:
        """The name among a command's parameters, on which two models may not agree."""
        return self.flag.lstrip("-").replace("-", "_").lower()

    def optional(self) -> Option:
        """The same with a flag and no default, for runs elsewhere: what nobody says stays open."""
        field = copy(self.field)
        field.default, field.default_factory = None, None
        path = self.cli.path or field.annotation is Path
        cli = replace(self.cli, argument=False, default=None, path=path)
        return replace(self, field=field, cli=cli)

    def parameter(self, panel: str | None) -> inspect.Parameter:
        """The parameter that typer makes its own of."""
        kind = self._typed()
        default: Any = inspect.Parameter.empty
        if self.cli.default is not None or not self.field.is_required():
            default = self._default(kind)
        info = typer.Argument if self.cli.argument else self._option(kind, default, panel)
        shown = info(
            help=self._help(kind),
            metavar=self._metavar(kind),
            show_default=default not in (None, ""),
        )
        return inspect.Parameter(
            self.key,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind | None if default is None else kind, shown],
        )

    def _option(self, kind: Any, default: Any, panel: str | None) -> Callable[..., Any]:
        flags = self.cli.flags or (self.flag,)
        if kind is bool and default is True:
            flags = (f"{self.flag}/--no-{self.flag.lstrip('-')}",)
        return partial(typer.Option, *flags, rich_help_panel=panel)

    def _help(self, kind: Any) -> str:
        bounds = [
            f"{words} {getattr(one, of):,}"
            for bound, of, words in ((Ge, "ge", "from"), (Gt, "gt", "above"), (Le, "le", "to"))
            for one in self.field.metadata
            if isinstance(one, bound)
        ]
        said = [
            " ".join((self.field.description or "").split()),
            f"{' '.join(bounds).capitalize()}." if bounds else "",
            "May be given again." if kind == list[str] else "",
        ]
        return " ".join(filter(None, said))

    def read(self, typed: Any) -> Mapping[str, Any]:
        """The fields that were typed; none of those that were not."""
        if typed in (None, []):
            return {}
        if self.cli.fills is not None:
            return self.cli.fills(typed)
        if self.cli.path and typed and "://" not in str(typed):
            return {self.name: str(Path(typed).expanduser().absolute())}
        if self.cli.commas:
            parts = (one.strip() for one in typed.split(","))
            return {self.name: tuple(dict.fromkeys(one for one in parts if one))}
        return {self.name: typed}

    def _typed(self) -> Any:
        """What typer reads it as; pydantic says what is wrong with a text that is none of some."""
        kind = self.field.annotation
        kinds = [one for one in get_args(kind) if one is not NoneType]
        if NoneType in get_args(kind):
            (kind,) = kinds
        if kind in (bool, int, float, Path):
            return kind
        several = get_origin(kind) in (tuple, dict) and not self.cli.commas
        return list[str] if several or self.cli.fills else str

    def _default(self, kind: Any) -> Any:
        if self.cli.default is not None:
            return self.cli.default
        default = self.field.get_default(call_default_factory=True)
        if self.cli.commas:
            return ",".join(default)
        return None if kind == list[str] or (kind is Path and not default) else default

    def _metavar(self, kind: Any) -> str | None:
        if self.cli.metavar or self.cli.argument or kind is bool:
            return self.cli.metavar or (self.flag if self.cli.argument else None)
        unit = re.search(r"\((\w+)", self.field.title or "")
        return "|".join(self.choices) or (unit and unit[1].upper()) or None


def _pairs(lines: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (one.partition("=") for one in lines)}


def options_of(model: type[Options]) -> tuple[Option, ...]:
    """Those of a model that the command line has."""
    schema = model.model_json_schema()["properties"]
    found = (
        Option(
            name=name,
            field=field,
            choices=tuple(filter(None, schema[name].get("enum", ()))),
            cli=next((one for one in reversed(field.metadata) if isinstance(one, Cli)), Cli()),
        )
        for name, field in model.model_fields.items()
    )
    return tuple(one for one in found if not one.cli.hidden)


@dataclass(frozen=True, slots=True)
class Group:
    """Options of a command, and what is made of the fields that were typed."""

    options: Sequence[Option]
    build: Callable[[Mapping[str, Any]], Any]
    panel: str | None = None

    def take(self, given: Mapping[str, Any]) -> Any:
        """Out of all that a command was given.

        Raises:
            UsageError: a value cannot be used; it is named as on the command line.
        """
        fields: dict[str, Any] = {}
        for name, value in (x for one in self.options for x in one.read(given[one.key]).items()):
            if isinstance(before := fields.get(name), Mapping):  # from a file: what is typed wins
                lines = value if isinstance(value, Mapping) else _pairs(value)
                fields[name] = {**before, **lines}
            else:
                fields[name] = value
        try:
            return self.build(fields)
        except ValidationError as error:
            problem = error.errors()[0]
            flags = {one.name: one.flag for one in self.options}
            where = "".join(f"{flags.get(str(one), one)}: " for one in problem["loc"][:1])
            said = problem["msg"].removeprefix("Value error, ")
            raise UsageError(where + said) from error


def spread(command: Callable[..., T], *more: inspect.Parameter) -> Callable[..., T]:
    """A command with options instead of the models that it takes.

    Args:
        command: an argument of it that is a model of options, or ``Annotated`` with a group, is
            made of options. Those of each of several models stand in a panel of their own.
        more: parameters that the result has, and the command not.

    Raises:
        TypeError: two of the options have one name.
    """
    hints = get_type_hints(command, include_extras=True)
    arguments = inspect.signature(command).parameters
    models = {name: kind for name, kind in hints.items() if is_options(kind) and name in arguments}
    groups = {
        name: Group(
            options_of(kind), kind.model_validate, name.capitalize() if len(models) > 1 else None
        )
        for name, kind in models.items()
    } | {name: one for name in arguments for one in get_args(hints[name]) if isinstance(one, Group)}
    own = [
        one.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, one in arguments.items()
        if name not in groups
    ]
    made = (one.parameter(group.panel) for group in groups.values() for one in group.options)
    every = [*made, *own, *more]
    for name, number in Counter(one.name for one in every).items():
        if number > 1:
            raise TypeError(f"{command.__name__}: two different parameters called {name}")

    @wraps(command)
    def run(**given: Any) -> T:
        taken = {name: group.take(given) for name, group in groups.items()}
        return command(**taken, **{one.name: given[one.name] for one in own})

    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in every}
    return run
