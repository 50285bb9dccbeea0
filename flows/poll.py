"""The flow `poll`: tells the server when a data set changed, so that an extraction starts."""

from dataclasses import asdict, replace

from prefect import State, flow, get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed
from prefect.variables import Variable

from meldflow.flows.serving import changes
from meldflow.flows.serving.names import run_name
from meldflow.flows.serving.site.http import client_of
from meldflow.tasks.options import PollOptions


@flow(name="poll", flow_run_name=run_name)
def poll(options: PollOptions) -> State[bool]:
    """Look → compare with the last look → tell of what is new and has stopped changing.

    Returns:
        The run's last state; its result is whether a change was told of. Of looks that see nothing
        new, only the run of the last one is kept.

    Raises:
        UsageError: the data set is not there, or cannot be listed.
    """
    name = changes.memory_of(options.dataset)
    before, now = changes.Seen.of(Variable.get(name)), changes.look(options.dataset)
    news = before.is_news(now)
    with client_of(PREFECT_API_URL.value()) as client:
        changes.forget_idle_looks(client)
        if news:
            # Told first, remembered afterwards: who is killed in between tells it once more.
            changes.tell_changed(client, options.dataset, options.store)
    told = now.last if news else before.told
    Variable.set(name, asdict(replace(now, told=told)), overwrite=True)
    if news:
        state, said = "Completed", f"changed ({now.files:,} files): told"
    elif now.last != before.last:
        state, said = "Completed", "changed; told if the next look sees the same"
    else:
        state, said = changes.NOTHING_NEW, f"nothing new ({now.files:,} files)"
    get_run_logger().info("%s: %s", options.dataset, said)
    return Completed(name=state, message=said, data=news)
