"""Cluster profiles: YAML files that say which Dask cluster does the work.

A kind of cluster is a profile class and one line in ``KINDS``. The flows
know none of them: they get a scheduler's address and workers that offer roles.
"""

import contextlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from distributed import Security
from distributed.deploy.cluster import Cluster
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster.certificates import trusting
from meldflow.tasks.options import first_problem

KINDS = {
    "local": "meldflow.tasks.cluster.local:Local",
    "address": "meldflow.tasks.cluster.profile:Address",
    "kubernetes": "meldflow.tasks.cluster.kubernetes:Kubernetes",
    "slurm": "meldflow.tasks.cluster.slurm:Slurm",
}
"""Kind → the class of its profiles."""

VARIABLE = "MELDFLOW_CLUSTER"
"""Environment variable that names the profile of runs that name none."""


class Part(BaseModel):
    """A part of a profile: what it does not know, it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Adaptive(Part):
    """How many workers there are while a run lasts, by what it has to do."""

    minimum: int = Field(1, ge=1, description="How many stay where there is nothing to do.")
    maximum: int = Field(ge=1, description="How many there are at most.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} exceeds maximum {self.maximum}")
        return self


class Profile(Part):
    """What every profile says; a kind of cluster adds its own fields."""

    kind: str
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the networks run.")
    join_seconds: float = Field(
        60.0,
        gt=0,
        description="How long workers may take to join when a run begins, until every role is "
        "offered, seconds.",
    )
    adaptive: Adaptive | None = Field(
        None,
        description="Has the number of workers (jobs, pods) follow the work, from how many they "
        "are at the start; without it they stay so many.",
    )

    tls: Path | None = Field(
        None,
        description="Folder of the certificates by which scheduler, workers and runs know each "
        "other, as `meldflow certificates` makes them: nobody else is let in.",
    )

    @property
    def most(self) -> int:
        """Workers (jobs, pods) that there may come to be; 0 where they stay so many."""
        return self.adaptive.maximum if self.adaptive else 0

    def check(self) -> None:
        """Finds out what is wrong with it before anything is started.

        Raises:
            UsageError: something is; the message names it.
        """

    def check_gpus(self, group: object) -> None:
        """Refuses networks on GPUs where no group of workers has any, and to scale where one has.

        Raises:
            UsageError: so it is.
        """
        if self.device == "cuda" and not group:
            raise UsageError(
                f"cluster: kind {self.kind} and device cuda, but no group `gpu` that has GPUs; add "
                "it to the cluster profile, or set `device: cpu`"
            )
        if self.adaptive and group:
            raise UsageError(
                "cluster: `adaptive` scales workers that are all alike; take it or the workers "
                "with GPUs out of the cluster profile"
            )

    def open(self) -> contextlib.AbstractContextManager[str | Cluster]:
        """The scheduler's address, or a cluster in this process; stopped at the end.

        Raises:
            UsageError: there is none.
        """
        raise NotImplementedError


class Address(Profile):
    """A Dask cluster that is running already."""

    kind: Literal["address"]
    adaptive: None = Field(None, description="Nothing: its workers are somebody else's.")
    address: str = Field(
        description="Address of a running Dask scheduler, e.g. tcp://10.0.0.5:8786.",
        pattern=r"^\w+://.+$",
    )

    @contextlib.contextmanager
    def open(self) -> Iterator[str]:
        """The address of its scheduler; nothing is started or stopped.

        Raises:
            UsageError: its certificates are not there, or their time is over.
        """
        with trusting(self.tls):
            # Whoever has configured Dask for it needs no folder.
            if (known := Security().require_encryption) != self.address.startswith("tls://"):
                raise UsageError(
                    f"cluster {self.address}: with certificates an address begins with tls://"
                    if known
                    else f"cluster {self.address}: it asks for a certificate; name the folder of "
                    "`meldflow certificates` as `tls` in the cluster profile"
                )
            yield self.address


def load_profile(named: str) -> Profile:
    """The profile in a YAML file.

    Without a name, that of the file that ``MELDFLOW_CLUSTER`` names, else all of this machine.

    Raises:
        UsageError: the file is not there or does not describe a cluster.
    """
    file = named or os.environ.get(VARIABLE, "")
    content = _read(Path(file)) if file else {}
    if not isinstance(content, dict):
        raise UsageError(f"cluster profile {file}: not a list of settings")
    kind = content.get("kind", "local")
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise UsageError(f"cluster profile {file}: kind {kind!r} is none; known: {known}")
    try:
        profile: Profile = pkgutil.resolve_name(KINDS[kind]).model_validate(content)
    except ValidationError as error:
        raise UsageError(f"cluster profile {file}: {first_problem(error)}") from error
    return profile


def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text()) or {}
    except OSError as error:
        raise UsageError(f"cluster profile {file}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"cluster profile {file}: not YAML ({why})") from error
