"""Flow runs whose process was killed: they send no more signs of life, and end as Crashed."""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from meldflow.flows.serving.site.settings import HEARTBEAT_SECONDS

NAME = "mark dead runs Crashed"

MISSED = 3
"""Signs of life in a row that may get lost."""


def register_zombies(client: SyncPrefectClient) -> None:
    """Registers the automation; one that is there is brought up to date, on or off as it is."""
    automation = zombies()
    known = client.read_automations_by_name(NAME)
    if not known:
        client.create_automation(automation)
    for one in known:
        client.update_automation(one.id, automation.model_copy(update={"enabled": one.enabled}))


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
