"""What the options of a run may name, on a server that several people use."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meldflow.models.extractors.encoder import is_folder

VARIABLE = "MELDFLOW_ALLOW"
"""Names the folders and addresses, with commas between them, that runs may read and write."""

PLACES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("dataset", "clips", "store", "cluster", "report"), ()),
    **dict.fromkeys(("weights", "weights_of"), ("pretrained", "random")),
    "instances": (),
    "tracking": ("none",),
}
"""The options that name a place → words that are none."""


def refusals(options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with each option that names a place outside of what is allowed."""
    for option, words in PLACES.items():
        value = options.get(option)
        for one in value.values() if isinstance(value, Mapping) else [value]:
            place = str(one or "")
            if option == "instances":
                place = place.partition(" ")[2]
                place = place if is_folder(place) else ""  # a name on the hub
            if place and place not in words and (why := refusal(place)):
                yield f"{option.replace('_', ' ')} {why}"


def refusal(place: str) -> str:
    """Why a place may not be named here; empty if it may."""
    roots = [one for one in os.environ.get(VARIABLE, "").split(",") if one]
    if not roots or any(_is_within(place, root) for root in roots):
        return ""
    return f"{place}: outside of what {VARIABLE} allows here ({', '.join(roots)})"


def _is_within(place: str, root: str) -> bool:
    if ":" in place.partition("/")[0]:  # an address; MLflow takes file:/etc for one as well
        return f"{place}/".startswith(f"{root.rstrip('/')}/") and ".." not in place.split("/")
    return Path(place).expanduser().resolve().is_relative_to(Path(root).expanduser().resolve())
