"""What a Prefect server has to know: the work pool, the deployments, schedules and triggers.

Registering again changes what comes from meldflow (descriptions, forms, entrypoints) and leaves
alone what belongs to the person: whether schedules and triggers are on, edited schedules,
and defaults of parameters that were set.
"""

import contextlib
import importlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.schedules import Schedule
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, ConfigDict, Field

from meldflow.flows.serving.defaults import Defaults
from meldflow.flows.serving.site.automations import register_automation, register_zombies
from meldflow.flows.serving.site.settings import ALIVE
from meldflow.flows.serving.steps import stand_apart
from meldflow.models.extractors.registry import catalogue

FILE = resources.files("meldflow") / "deploy" / "prefect.yaml"

STEP = f"{stand_apart.__module__}.{stand_apart.__name__}"


class Spec(BaseModel):
    """One deployment, as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    entrypoint: str
    description: str
    tags: list[str]
    work_pool: dict[str, str]
    concurrency_limit: ConcurrencyLimitConfig | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    schedules: list[Schedule] = Field(default_factory=list)
    triggers: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A deployment that the server knows now."""

    name: str
    id: str
    schedules: tuple[str, ...]
    """Slugs, those that are off in brackets."""


def load_specs() -> tuple[Spec, ...]:
    """The deployments of ``deploy/prefect.yaml``."""
    return tuple(map(Spec.model_validate, yaml.safe_load(FILE.read_text())["deployments"]))


def register(
    client: SyncPrefectClient, defaults: Defaults, directory: Path
) -> tuple[Registered, ...]:
    """Makes a server know everything.

    ``directory`` is the folder, on the worker's machine, that relative paths are meant from.
    """
    specs = load_specs()
    for pool in {spec.work_pool["name"] for spec in specs}:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(
                WorkPoolCreate(
                    name=pool,
                    type="process",
                    description="Flow runs as processes beside the Prefect worker.",
                    base_job_template=ProcessWorker.get_default_base_job_template(),
                )
            )
    done = tuple(_register(client, one, defaults, directory) for one in specs)
    register_zombies(client)
    return done


def _register(
    client: SyncPrefectClient, spec: Spec, defaults: Defaults, directory: Path
) -> Registered:
    # Not by Prefect, which looks for all of a module's imports in the current folder first.
    importlib.import_module(spec.entrypoint.rpartition(".")[0])
    flow: Flow[..., Any] = load_flow_from_entrypoint(spec.entrypoint)
    known: DeploymentResponse | None = None
    with contextlib.suppress(ObjectNotFound):
        known = client.read_deployment_by_name(f"{flow.name}/{spec.name}")
    before = known.parameters if known else {}
    parameters = _merged(_merged(spec.parameters, before), defaults.of(flow.fn))
    limit = spec.concurrency_limit
    common: dict[str, Any] = {
        "description": spec.description,
        "tags": spec.tags,
        "version": version("meldflow"),
        "entrypoint": spec.entrypoint,
        "work_pool_name": spec.work_pool["name"],
        # The code is installed; a step there must be, or Prefect would copy the whole folder.
        "pull_steps": [{STEP: {"directory": str(directory)}}],
        # Wherever its Prefect worker runs; what somebody set there stays.
        "job_variables": _merged({"env": ALIVE}, known.job_variables if known else {}),
        "parameters": parameters,
        "parameter_openapi_schema": _form(flow),
        "enforce_parameter_schema": True,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": (
            ConcurrencyOptions(collision_strategy=limit.collision_strategy) if limit else None
        ),
    }
    if known is None:
        flow_id = client.create_flow_from_name(flow.name)
        deployment = client.create_deployment(flow_id=flow_id, name=spec.name, **common)
    else:
        deployment = known.id
        client.update_deployment(deployment, DeploymentUpdate(**common))
    found = client.read_deployment(deployment)
    there = {one.slug for one in found.schedules}  # they may have been switched on or edited
    missing = [one for one in spec.schedules if one.slug not in there]
    if missing:
        created = map(DeploymentScheduleCreate.from_schedule, missing)
        client.create_deployment_schedules(deployment, [*created])
    _register_triggers(client, found, spec)
    schedules = client.read_deployment(deployment).schedules
    slugs = tuple(f"{one.slug}" if one.active else f"({one.slug})" for one in schedules)
    return Registered(name=spec.name, id=str(deployment), schedules=slugs)


def _form(flow: Flow[..., Any]) -> dict[str, Any]:
    """What the UI draws a form from."""
    schema: dict[str, Any] = parameter_schema(flow).model_dump(exclude_unset=True)
    for name, parameter in schema["properties"].items():
        parameter["title"] = name.capitalize()
    for model in schema.get("definitions", {}).values():
        if field := model["properties"].get("parameters"):
            settable = [f"{one.name}.{own.brief}" for one, some in catalogue() for own in some]
            field["description"] += f" There are: {'; '.join(settable)}."
    return schema


def _register_triggers(
    client: SyncPrefectClient, deployment: DeploymentResponse, spec: Spec
) -> None:
    related = client.read_resource_related_automations(f"prefect.deployment.{deployment.id}")
    known = {one.name: one for one in related}
    for content in spec.triggers:
        trigger = DeploymentEventTrigger.model_validate(
            content | {"parameters": _with_defaults(content["parameters"], deployment.parameters)}
        )
        trigger.set_deployment_id(deployment.id)
        automation = trigger.as_automation()
        automation.owner_resource = f"prefect.deployment.{deployment.id}"
        register_automation(client, automation, known.get(automation.name))


def _with_defaults(parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger's parameters, which replace the deployment's, with those in them.

    A parameter whose value is a JSON text gets the defaults at its beginning: of two members of
    one name the later one counts, so what the event says wins.
    """
    filled: dict[str, Any] = deepcopy({**defaults, **parameters})
    for name, value in filled.items():
        if isinstance(value, dict) and value.get("__prefect_kind") == "json":
            inner, own = value["value"], defaults.get(name) or {}
            members = json.dumps(own)[1:-1]
            if members:
                rest = inner["template"].lstrip().removeprefix("{")
                inner["template"] = f"{{ {{% raw %}}{members}{{% endraw %}}, {rest}"
    return filled


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``over`` says, one level deep: flows take one or two models."""
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = {**merged[name], **value} if both else value
    return merged
