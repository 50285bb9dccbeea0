"""What options are made of: their base class, types of fields, and hints for the command line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeGuard

from annotated_types import GroupedMetadata
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options.allowed import refusals

# What a form shows and what a server checks is a field's JSON schema; Python may take more. A
# union would be drawn as tabs, so an optional path is a line that may stay empty.


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """What the command line alone has to know of a field; in the annotation of the field."""

    flags: tuple[str, ...] = ()
    """Instead of ``--its-name``."""
    hidden: bool = False
    """It has no flag; another field's ``fills`` gives its value."""
    argument: bool = False
    """It is given by its position."""
    metavar: str = ""
    """What stands for the value in the help; by default the choices, or the unit."""
    default: Any = None
    """Where the form asks for it and the command line need not."""
    path: bool = False
    """It is made absolute, since runs may start in another folder; addresses stay."""
    commas: bool = False
    """Several values are one word, with commas between them."""
    fills: Callable[[Sequence[str]], Mapping[str, Any]] | None = None
    """From what was typed to several fields and their values."""


UNBOUND = "unbound"
"""Context of a validation whose places stand for others, which are not named yet."""


class Options(BaseModel):
    """The base of all: frozen, and without fields that nobody declared.

    The docstring below a field is its description, its name the title if nothing else is said.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        field_title_generator=lambda name, _: name.replace("_", " ").capitalize(),
    )

    @model_validator(mode="after")
    def _within_what_is_allowed(self, info: ValidationInfo) -> Self:
        if info.context != UNBOUND and (first := next(refusals(vars(self)), "")):
            raise UsageError(first)  # no ValueError: it is told as it stands
        return self


def is_options(kind: Any) -> TypeGuard[type[Options]]:
    """Whether a type is a model of options."""
    return isinstance(kind, type) and issubclass(kind, Options)


@dataclass(frozen=True, slots=True)
class Lines(GroupedMetadata):
    """Of a mapping: it may be given as lines of a form such as ``NAME=VALUE``."""

    form: str

    def __iter__(self) -> Iterator[object]:
        """What pydantic makes of it."""
        lines = {"type": "string", "pattern": "^[^=]+=.+$"}
        yield BeforeValidator(self._split)
        yield WithJsonSchema({"type": "array", "items": lines})

    def _split(self, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        for one in value:
            if not isinstance(one, str) or not all(one.partition("=")):
                raise ValueError(f"{one!r} is not of the form {self.form}")
        return dict(one.split("=", 1) for one in value)


@dataclass(frozen=True, slots=True)
class OneOf(GroupedMetadata):
    """Of a text: it is one of these names."""

    names: tuple[str, ...]

    def __iter__(self) -> Iterator[object]:
        """What pydantic makes of it."""
        yield AfterValidator(self._check)
        yield WithJsonSchema({"type": "string", "enum": list(self.names)})

    def _check(self, value: str) -> str:
        if value not in self.names:
            raise ValueError(f"{value!r} is none of {', '.join(self.names)}")
        return value


THERE = "x-there"
"""Of a form's line: the path has to be there. The server of `meldflow up` looks, others do not."""

MaybePath = Annotated[
    Path | None,
    BeforeValidator(lambda value: None if value == "" else value),
    WithJsonSchema({"type": "string", THERE: True}),
]
FilePath = Annotated[Path, WithJsonSchema({"type": "string"})]
ClusterFile = Annotated[
    str,
    Cli(path=True, metavar="FILE"),
    Field(title="Cluster profile", json_schema_extra={THERE: True}),
]
ThatExists = Annotated[Path, WithJsonSchema({"type": "string", THERE: True})]


def store_field(what: str = "") -> Any:
    """The declaration of the store, with what there is to say about it in this place."""
    return Field(
        description=f"The feature store: a folder or s3://bucket/name.{what}",
        examples=["/data/store", "s3://bucket/store"],
        min_length=1,
    )


DATASET = (
    "Folder with MELD's CSV files and clip folders, or a .csv or .parquet file that lists clips "
    "of your own."
)


class DataSet(Options):
    """Clips with annotations."""

    dataset: Annotated[ThatExists, Cli(argument=True, path=True)] = Field(
        title="Data set", description=DATASET
    )


FIXES = Field(
    True,
    title="Mend known defects",
    description="Apply the list of known defects of MELD's published files.",
)


def first_problem(error: ValidationError) -> str:
    """The first complaint of a failed validation, as ``field: what is wrong``."""
    problem = error.errors()[0]
    said = problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, problem['loc']))}: {said}".removeprefix(": ")
