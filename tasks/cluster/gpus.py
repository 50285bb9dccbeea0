"""Whether the GPUs that the networks are to run on can be used, before a run depends on it."""

from __future__ import annotations

from distributed import Client

from meldflow.models.running.device import gpu_trouble
from meldflow.models.schema.errors import UsageError


def check_gpus(client: Client) -> None:
    """Has every worker of the networks compute something on its GPU.

    A driver that is too old for torch shows at the first use only, and a run would try all its
    partitions in vain.

    Raises:
        UsageError: a worker cannot.
    """
    known = client.scheduler_info(n_workers=-1)["workers"]
    workers = [address for address, one in known.items() if "model" in one["resources"]]
    answers = client.run(gpu_trouble, workers=workers)
    for address, trouble in answers.items():
        if trouble:
            raise UsageError(
                f"cluster: the GPU of worker {known[address]['name']} cannot be used ({trouble}); "
                "mend its driver or its torch, or set `device: cpu` (CUDA_VISIBLE_DEVICES= for "
                "`meldflow up`)"
            )
