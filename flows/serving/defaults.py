"""What deployments work on where nobody says otherwise: schedules and triggers need to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meldflow.models.extractors import registry
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import WEIGHTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Values for the parameters of the deployments; what is empty stays as it was."""

    dataset: Path | None = None
    store: str = ""
    report: Path | None = None
    only: tuple[str, ...] = ()
    weights: str = ""
    weights_of: tuple[str, ...] = ()
    """``NAME=WEIGHTS``, as in the form."""

    def of(self, deployment: str) -> dict[str, Any]:
        """The parameters of a deployment, as JSON values."""
        chosen = {
            flow: {name: value for name, value in values.items() if value}
            for flow, values in self._all()[deployment].items()
        }
        return {parameter: values for parameter, values in chosen.items() if values}

    def _all(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Deployment → parameter → field → value."""
        data = {"dataset": str(self.dataset) if self.dataset else ""}
        store = {"store": self.store}
        report = {"report": str(self.report) if self.report else ""}
        extraction = {
            **data,
            **store,
            "only": list(self.only),
            "weights": self.weights,
            "weights_of": list(self.weights_of),
        }
        return {
            "audit": {"options": data},
            "extract": {"options": extraction},
            "train": {"options": store | report},
            "pipeline": {"extraction": extraction, "training": report},
            "maintain": {"options": store},
            "poll": {"options": data | store},
        }


def make_defaults(
    dataset: Path | None,
    store: str,
    report: Path | None,
    only: Sequence[str],
    weights: Sequence[str],
) -> Defaults:
    """From the command line; paths are made absolute, since runs start elsewhere.

    Raises:
        UsageError: an extractor or weights are none.
    """
    for name in only:
        if name not in registry.names():
            raise UsageError(f"--only: no extractor is called {name!r}; {_known()}")
    for_all = [one for one in weights if "=" not in one]
    if len(for_all) > 1 or not set(for_all) <= set(WEIGHTS):
        raise UsageError(
            f"--weights {' '.join(for_all)}: name one of {', '.join(WEIGHTS)} for all extractors, "
            "and a checkpoint's path as NAME=PATH"
        )
    if store and "://" not in store:
        store = str(Path(store).expanduser().absolute())
    return Defaults(
        dataset=dataset and dataset.expanduser().absolute(),
        store=store,
        report=report and report.expanduser().absolute(),
        only=tuple(only),
        weights=for_all[0] if for_all else "",
        weights_of=tuple(one for one in weights if "=" in one),
    )


def _known() -> str:
    return f"known: {', '.join(registry.names())}"
