"""Training is one process, whatever launched it: a job of Slurm or MPI, or torchrun."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from meldflow.models.training.run import config_for
from tests.models.tables import make_table, train

SLURM = {
    "SLURM_JOB_ID": "17",
    "SLURM_JOBID": "17",
    "SLURM_JOB_NAME": "train",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_GPUS_ON_NODE": "2",
}
TORCHRUN = {
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "9",
    "WORLD_SIZE": "4",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "NODE_RANK": "1",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "0",
}
MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "PMI_SIZE": "4", "PMI_RANK": "3"}
VARIABLES = SLURM | TORCHRUN | MPI
"""What a process finds in its environment that is one of several."""


def digests() -> str:
    """What both networks become, in bits."""
    found = []
    for network in ("fusion", "reference"):
        config = config_for(
            "official",
            network,
            epochs=1,
            width=16,
            heads=2,
            svm_c=(1.0,),
            svm_gamma=(0.3,),
            device="auto",
        )
        arrays = train(make_table((30, 12, 12)), config).arrays
        content = b"".join(
            values.tobytes() for part in arrays.values() for _, values in sorted(part.items())
        )
        found.append(hashlib.sha256(content).hexdigest())
    return " ".join(found)


@pytest.mark.slow
def test_variables_of_launchers_change_nothing(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    alone, launched = (_child(os.environ | more) for more in ({}, VARIABLES | path))
    found = [child.communicate(timeout=120) for child in (alone, launched)]
    assert (alone.returncode, launched.returncode) == (0, 0), found
    assert found[0][0] == found[1][0]
    assert len(found[0][0].split()) == 2


def _child(environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """A process of its own for either: threads and caches of this one are another matter."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import digests; print(digests())"],
        env=environment,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
