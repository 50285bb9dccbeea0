"""What starts after a run: a training on the snapshot that an extraction published."""

from collections.abc import Callable
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import ExtractOptions, TrainOptions

DEPLOYMENT = "train/train"


def training_after(options: ExtractOptions) -> Callable[[str], None]:
    """What to call with the id of the snapshot: starts a training if the options ask for one.

    Raises:
        UsageError: they do, and the deployment is not there.
    """
    if not options.then_train:
        return lambda _: None
    defaults = _defaults()

    def start(snapshot: str) -> None:
        # The training's report and seed are the deployment's; what it trains on is ours.
        pinned = {"store": options.store, "snapshot": snapshot}
        training = TrainOptions.model_validate({"cluster": options.cluster, **defaults, **pinned})
        run: Any = run_deployment(
            DEPLOYMENT, parameters={"options": training.model_dump(mode="json")}, timeout=0
        )
        get_run_logger().info("started %s on snapshot %s", run.name, snapshot)

    return start


def _defaults() -> dict[str, Any]:
    """The deployment's own parameters."""
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise UsageError(
                f"then_train: the Prefect server has no deployment {DEPLOYMENT}; register it with "
                "`meldflow deploy`, or leave the option out"
            ) from None
    return dict(deployment.parameters.get("options") or {})
