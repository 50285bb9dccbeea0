"""The flow `poll`: tells the server when a data set changed, so that an extraction starts."""

from __future__ import annotations

from dataclasses import asdict, replace

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.variables import Variable

from meldflow.flows.serving.changes import Seen, look, memory_of
from meldflow.flows.serving.events import tell_changed
from meldflow.tasks.options import PollOptions


@flow(name="poll", flow_run_name="poll-{options.dataset}")
def poll(options: PollOptions) -> bool:
    """Look → compare with the last look → tell of what is new and has stopped changing.

    Returns:
        Whether a change was told of.

    Raises:
        UsageError: the data set is not there, or cannot be listed.
    """
    logger, name = get_run_logger(), memory_of(options.dataset)
    before, now = Seen.of(Variable.get(name)), look(options.dataset)
    news, told = before.is_news(now), before.told
    if news:
        # Told first, remembered afterwards: who is killed in between tells it once more.
        with get_client(sync_client=True) as client:
            tell_changed(client, options.dataset, options.store)
        told = now.last
        logger.info("%s changed (%d files): told", options.dataset, now.files)
    elif now.last != before.last:
        logger.info("%s changed; told if the next look sees the same", options.dataset)
    else:
        logger.info("%s: nothing new (%d files)", options.dataset, now.files)
    Variable.set(name, asdict(replace(now, told=told)), overwrite=True)
    return news
