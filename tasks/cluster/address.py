"""A Dask cluster that is running already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from meldflow.tasks.cluster.profile import Profile


class Address(Profile):
    """The address of its scheduler."""

    kind: Literal["address"]
    address: str = Field(
        description="Address of a running Dask scheduler, e.g. tcp://10.0.0.5:8786.",
        pattern=r"^\w+://.+$",
    )

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        """The address; nothing is started or stopped."""
        yield self.address
