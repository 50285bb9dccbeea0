"""A Ceph of one monitor, one disk in memory and one S3 gateway, on loopback.

It keeps each object once and asks nobody inside for a key: a cluster for minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meldflow.flows.serving.site.http import ask
from tests.infra.daemon import daemon, output
from tests.proxy import free_port
from tests.rig import wait_until
from tests.storage.kinds import served

PROGRAMS = {
    "ceph": "ceph-common",
    "ceph-mon": "ceph-mon",
    "ceph-osd": "ceph-osd",
    "radosgw": "radosgw",
}
"""What it takes → Debian's packages that have it."""
START_SECONDS = 120

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{first},v1:127.0.0.1:{second}]
keyring = {folder}/keyring
public network = 127.0.0.0/8
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon data = {folder}/mon
mon cluster log file = {folder}/cluster.log
mon allow pool size one = true
# It looks at the disk of whoever runs the tests, and means its own.
mon data avail crit = 1
mon data avail warn = 1
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
rgw data = {folder}/gateway
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw dns name = 127.0.0.1
"""


KEYS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "client.gateway": {"mon": "allow rwx", "osd": "allow rwx"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
}
"""Who takes part → what it may do."""


@dataclass(frozen=True, kw_only=True)
class Ceph:
    """One that is made, and started part by part."""

    folder: Path
    port: int
    """The gateway's."""

    def ask(self, *command: str | Path) -> str:
        """What one of Ceph's commands prints."""
        return output(self.command(*command), os.environ)

    def command(self, program: str | Path, *arguments: str | Path) -> list[str | Path]:
        """One of Ceph's, for this cluster."""
        return [program, "--conf", self.folder / "ceph.conf", *arguments]

    def user(self, name: str) -> dict[str, str]:
        """A new user of the gateway: the variables that say who it is."""
        create = ("user", "create", f"--uid={name}", f"--display-name={name}")
        (key,) = json.loads(self.ask("radosgw-admin", *create))["keys"]
        return {
            "AWS_ACCESS_KEY_ID": key["access_key"],
            "AWS_SECRET_ACCESS_KEY": key["secret_key"],
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }


@contextlib.contextmanager
def open_ceph(folder: Path) -> Iterator[Ceph]:
    """Makes a cluster in a folder, and runs it until the block ends."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install --no-install-recommends {package}")
    ceph = Ceph(folder=folder, port=free_port())
    cluster, disk = uuid.uuid4(), uuid.uuid4()
    places = {"first": free_port(), "second": free_port(), "gateway": ceph.port}
    (folder / "ceph.conf").write_text(CONFIGURATION.format(fsid=cluster, folder=folder, **places))
    for name in ("mon", "osd", "gateway"):
        (folder / name).mkdir()
    for name, rights in KEYS.items():
        caps = [word for pair in rights.items() for word in ("--cap", *pair)]
        new = () if (folder / "keyring").exists() else ("--create-keyring",)
        ceph.ask("ceph-authtool", *new, folder / "keyring", "--gen-key", "-n", name, *caps)
    monitors = "[v2:127.0.0.1:{first},v1:127.0.0.1:{second}]".format(**places)
    create = ("--create", "--fsid", str(cluster), "--addv", "a", monitors)
    ceph.ask("monmaptool", *create, folder / "monmap")
    known = ("--monmap", folder / "monmap", "--keyring", folder / "keyring")
    ceph.ask("ceph-mon", "-i", "a", "--mkfs", *known)
    with contextlib.ExitStack() as stack:

        def start(*command: str) -> None:
            stack.enter_context(daemon(ceph.command(*command, "-f"), folder))

        start("ceph-mon", "-i", "a")
        ceph.ask("ceph", "osd", "new", str(disk))  # waits for the monitor
        ceph.ask("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", str(disk))
        start("ceph-osd", "-i", "0")
        start("radosgw", "-n", "client.gateway")
        gateway = f"http://127.0.0.1:{ceph.port}"
        wait_until(lambda: ask(gateway) is not None, START_SECONDS, "the gateway answers")
        yield ceph


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A bucket of a user."""

    ceph: Ceph
    user: str
    address: str


@contextlib.contextmanager
def open_gateway() -> Iterator[Gateway]:
    """A Ceph with one bucket; the environment of this process and its children leads there."""
    user = "corpora"
    with (
        tempfile.TemporaryDirectory(prefix="ceph-") as folder,
        open_ceph(Path(folder)) as ceph,
        served(ceph.user(user)) as address,
    ):
        yield Gateway(ceph=ceph, user=user, address=address)
