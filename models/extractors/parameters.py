"""What can be set on an extractor: its parameters, as its class declares them.

A parameter is a field of the dataclass. Its annotation says the type and, with what
``annotated_types`` or pydantic has for it, the bounds; the docstring below it says what it is.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.encoder import SHARED


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of an extractor."""

    name: str
    default: str
    """As it is typed; empty where there is none."""
    allowed: str
    help: str
    adapter: TypeAdapter[Any]

    def read(self, given: Any) -> Any:
        """The value, from what was typed or from a value.

        Raises:
            ValueError: it may not be that.
        """
        schema = self.adapter.json_schema()
        if given == "none" and {"type": "null"} in schema.get("anyOf", ()):
            return None
        if isinstance(given, str) and schema.get("type") == "array":
            given = [one.strip() for one in given.split(",") if one.strip()]
        try:
            return self.adapter.validate_python(given)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"{self.name}: {said}") from error

    def __str__(self) -> str:
        """E.g. ``f0=yin (yin or pyin)  How pitch is found``."""
        return f"{self.brief}  {self.help}".rstrip()

    @property
    def brief(self) -> str:
        """Name, default and what is allowed."""
        return f"{self.name}={self.default} ({self.allowed})"


def parameters_of(kind: type[Extractor]) -> dict[str, Parameter]:
    """The parameters of a class of extractors, by name."""
    hints, said = get_type_hints(kind, include_extras=True), _docstrings(kind)
    found = {}
    for one in fields(kind):
        if one.name in SHARED or not one.init:
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(hints[one.name])
        schema = adapter.json_schema()
        default = one.default if one.default_factory is MISSING else one.default_factory()
        found[one.name] = Parameter(
            name=one.name,
            default=_typed(default),
            allowed=_words(schema, schema.get("$defs", {})),
            help=said.get(one.name) or schema.get("description", ""),
            adapter=adapter,
        )
    return found


def _typed(value: Any) -> str:
    if value is MISSING or value is None:
        return "" if value is MISSING else "none"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "null": "none",
}


def _words(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """What a JSON schema allows, for people."""
    schema = known.get(str(schema.get("$ref")).rpartition("/")[2], schema)
    if "anyOf" in schema:
        return " or ".join(_words(one, known) for one in schema["anyOf"])
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return " or ".join(map(str, choices))
    kind = schema.get("type", "a value")
    if kind == "array":
        return f"{_words(schema.get('items', {}), known)}, several with commas between"
    bounds = [
        f"{words} {schema[name]:g}"
        for name, words in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if name in schema
    ]
    return " ".join([_KINDS.get(kind, kind), *bounds])


def _docstrings(kind: type) -> dict[str, str]:
    """Field → the docstring below it, as far as the source is there."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        for field, below in pairwise(tree.body if isinstance(tree, ast.ClassDef) else ()):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ):
                    found[name] = " ".join(said.split())
    return found
