"""The templates of pages and texts; they lie beside the code that fills them."""

import functools
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


@functools.cache  # a run shows its failures every few seconds
def template(path: str, *filters: Callable[..., str], html: bool = False) -> Template:
    """A template, which fails where it names something that it was not given.

    Args:
        path: below ``tasks``.
        filters: functions that it may pass values through, by their names.
        html: whether values are escaped; texts have to see to that themselves.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {one.__name__: one for one in filters}
    return environment.get_template(path)
