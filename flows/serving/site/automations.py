"""Prefect's automations: how one is registered, and the one that marks killed runs Crashed.

A run whose process was killed sends no more signs of life, and nobody says that it is over.
"""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import (
    Automation,
    AutomationCore,
    EventTrigger,
    Posture,
)
from prefect.events.schemas.events import ResourceSpecification

from meldflow.flows.serving.site.settings import HEARTBEAT_SECONDS

NAME = "mark dead runs Crashed"

_FIRST = {"owner_resource"}
"""What is said when an automation is made, and never again."""

MISSED = 3
"""Signs of life in a row that may get lost."""


def register_automation(
    client: SyncPrefectClient, automation: AutomationCore, known: Automation | None
) -> None:
    """Registers an automation; one that is there is brought up to date, on or off as it is.

    One that is so already is left alone: the server forgets what an automation waits for when it
    is written anew, and a run that died just then would be Running for ever.
    """
    if known is None:
        client.create_automation(automation)
        return
    wanted = AutomationCore.model_validate(
        automation.model_dump(exclude=_FIRST) | {"enabled": known.enabled}
    )
    fields = set(AutomationCore.model_fields) - _FIRST
    if known.model_dump(include=fields) != wanted.model_dump(include=fields):
        client.update_automation(known.id, wanted)


def register_zombies(client: SyncPrefectClient) -> None:
    """Registers the automation that marks killed runs."""
    found: list[Automation | None] = [*client.read_automations_by_name(NAME)]
    for known in found or [None]:
        register_automation(client, zombies(), known)


def zombies() -> AutomationCore:
    """After a sign of life, anything of the run must be heard before long."""
    silence = timedelta(seconds=HEARTBEAT_SECONDS * MISSED)
    return AutomationCore(
        name=NAME,
        description=f"A run that was not heard of for {silence.seconds} s was killed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"not heard of for {silence.seconds} s: its process was killed. "
                "Run it again; it goes on from its last commit.",
            )
        ],
    )
