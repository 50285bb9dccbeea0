"""The roles that workers offer as Dask resources."""

from __future__ import annotations

from collections.abc import Iterable

ROLES = ("cpu", "model")
"""``cpu`` decodes and computes descriptors, ``model`` runs the networks: roles, not hardware, so
that the flow's code does not change with the cluster."""


def roles_of_cpu_workers(gpus: int) -> tuple[str, ...]:
    """What workers without a GPU offer, where there are so many with one."""
    return ("cpu",) if gpus else ROLES


def resources(roles: Iterable[str]) -> dict[str, int]:
    """Roles as Dask resources: a worker does one thing of each kind at a time."""
    return dict.fromkeys(roles, 1)


def resources_option(roles: Iterable[str]) -> str:
    """The same for the command line, e.g. ``cpu=1 model=1``."""
    return " ".join(f"{role}={number}" for role, number in resources(roles).items())
