"""What deployments work on where nobody says otherwise: schedules and triggers need to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from meldflow.models.extractors import registry
from meldflow.models.extractors.entries import known, named
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import UNBOUND, WEIGHTS, ExtractOptions, Options, Training, is_options

_EXTRACTORS = ("instances", "only", "weights_of", "parameters")
FIELDS: dict[type[Options], tuple[str, ...]] = {
    ExtractOptions: ("dataset", "store", "weights", *_EXTRACTORS),
    Training: ("report",),
}
"""The fields that one may name for all deployments at once."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values for the parameters of the deployments; what nobody named stays as it was."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Field → value, as in the form."""

    def of(self, flow: Callable[..., Any]) -> dict[str, Any]:
        """The parameters of a flow, as JSON values."""
        taken = {name: kind for name, kind in get_type_hints(flow).items() if is_options(kind)}
        chosen = {
            parameter: {one: self.values[one] for one in model.model_fields if one in self.values}
            for parameter, model in taken.items()
        }
        return {parameter: values for parameter, values in chosen.items() if values}


def make_defaults(given: Mapping[str, Any]) -> Defaults:
    """From the command line, as values of the form.

    Raises:
        UsageError: an extractor, its weights or its parameters are none.
        ValidationError: something is not of the form that it has to be of.
    """
    weights = given.get("weights", WEIGHTS[0])
    if weights not in WEIGHTS:
        raise UsageError(
            f"--weights {weights}: name one of {', '.join(WEIGHTS)} for all extractors, and a "
            "checkpoint's path as NAME=PATH"
        )
    own = {name: given[name] for name in _EXTRACTORS if name in given}
    checked = ExtractOptions.model_validate({"dataset": ".", "store": ".", **own}, context=UNBOUND)
    entries = known(checked.instances)
    for name in (*checked.only, *checked.instances):
        named(name, entries)
    registry.read_parameters(checked.parameters, checked.instances)
    lines = {
        name: [f"{one}={value}" for one, value in some.items()]
        for name in _EXTRACTORS
        if (some := getattr(checked, name)) and isinstance(some, dict)
    }
    return Defaults({**given, **({"only": list(checked.only)} if "only" in given else {}), **lines})
