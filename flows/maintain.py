"""The flow `maintain`: forget old states of a store, free what only they need."""

from prefect import flow, get_run_logger

from meldflow.flows.serving.names import run_name
from meldflow.storage.history import Maintained, maintain_store
from meldflow.tasks.options import MaintainOptions


@flow(name="maintain", flow_run_name=run_name)
def maintain(options: MaintainOptions) -> Maintained:
    """Expire → collect, under the writer's lock; tags and the current state stay.

    Raises:
        UsageError: there is no store, or a run is writing to it.
    """
    done = maintain_store(
        options.store, older_than_days=options.older_than_days, dry_run=options.dry_run
    )
    get_run_logger().info(
        "%d snapshots forgotten, %d objects deleted, %d bytes freed",
        done.expired,
        done.objects,
        done.bytes,
    )
    return done
