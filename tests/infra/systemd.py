"""A service manager of systemd's, that of a user, as a process of the tests.

It sees a `/run` of its own, so that it takes the machine for one that systemd started, and as the
tree of control groups the one that it is put into: nothing of the machine is moved or ended by it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.infra.daemon import output, program
from tests.rig import wait_until

MANAGER = Path("/lib/systemd/systemd")

INSIDE = """
echo $$ > "$0/cgroup.procs"
exec unshare --mount --cgroup sh -ec '
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec "$0" --user --log-target=console' "$1"
"""
"""Run by `sh`, with a new control group and the manager."""


@dataclass(frozen=True, kw_only=True)
class Manager:
    """One that is running."""

    environment: Mapping[str, str] = field(repr=False)

    def ask(self, *arguments: str) -> str:
        """What `systemctl` prints."""
        command = ["systemctl", "--user", "--no-pager", *arguments]
        return output(command, self.environment, seconds=180).strip()

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.ask("show", "--value", "--property", name, unit)


@contextlib.contextmanager
def open_manager(folder: Path, **variables: str) -> Iterator[Manager]:
    """Starts the manager of a user whose home is a folder; its units have the variables, too."""
    program("systemctl", "systemd")
    if not MANAGER.exists():
        pytest.skip(f"no {MANAGER}: apt-get install systemd")
    if os.geteuid() != 0:
        pytest.skip("a machine of its own is made for systemd by root alone")
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    kept = {k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ}
    kept |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime), **variables}
    log = folder / "systemd.log"
    with _control_group() as group, log.open("wb") as said:
        process = subprocess.Popen(
            ["sh", "-ec", INSIDE, group, MANAGER], env=kept, stdout=said, stderr=said
        )
        manager = Manager(environment=kept)
        try:
            wait_until(
                lambda: (runtime / "systemd" / "private").exists() or process.poll() is not None,
                30,
                "the manager answers",
            )
            if process.poll() is not None:
                pytest.skip(f"no systemd of its own: {log.read_text()}")
            yield manager
            manager.ask("exit")
        finally:
            process.terminate()
            process.wait(150)


@contextlib.contextmanager
def _control_group() -> Iterator[Path]:
    """A new one below our own."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    trees = [Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"]
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = [line.removeprefix("0::/") for line in lines if line.startswith("0::")]
    if not trees or not own:
        pytest.skip("no control groups, version 2")
    group = trees[0] / own[0] / f"meldflow-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of its own: {error}")
    try:
        yield group
    finally:
        for one in (*sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True), group):
            one.rmdir()
