"""A PostgreSQL on loopback, with one user and one data base."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.infra.daemon import daemon, output
from tests.proxy import free_port
from tests.rig import wait_until

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian puts the server's programs, by version; they are on nobody's PATH."""

PASSWORD = "p@ss/w#rd%2F:$&+ \"'?"
"""Whatever means something in a URL, or to a shell."""

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One that takes connections over TCP, by password."""

    programs: Path
    port: int
    user: str = "prefect"
    password: str = field(default=PASSWORD, repr=False)

    def ask(self, sql: str, database: str = "prefect") -> str:
        """What `psql` prints of a query's only value."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", database)
        command: list[str | Path] = [self.programs / "psql", *where, "-At", "-c", sql]
        return output(command, {**os.environ, "PGPASSWORD": self.password}).strip()


def programs() -> Path:
    """The folder of the newest server's programs; without one, the test is skipped."""
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        pytest.skip("no initdb: apt-get install postgresql")
    return Path(found).parent


@contextlib.contextmanager
def open_postgres(folder: Path) -> Iterator[Postgres]:
    """Makes a data base in a folder, and serves it until the block ends."""
    postgres = Postgres(programs=programs(), port=free_port())
    identity: Sequence[str] = ()
    if os.geteuid() == 0:  # whom it does not work for
        folder.chmod(0o755)
        os.chown(folder, 65534, 65534)
        identity = NOBODY
    secret = folder / "password"
    secret.write_text(postgres.password)
    secret.chmod(0o644)
    data = folder / "data"
    create: list[str | Path] = [
        *identity,
        postgres.programs / "initdb",
        "-D",
        data,
        "-U",
        postgres.user,
    ]
    create += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
    subprocess.run(create, cwd=folder, check=True, capture_output=True, timeout=120)
    serve: list[str | Path] = [
        *identity,
        postgres.programs / "postgres",
        "-D",
        data,
        "-h",
        "127.0.0.1",
    ]
    serve += ["-p", str(postgres.port), "-k", folder]
    with daemon(serve, folder):
        ready = (postgres.programs / "pg_isready", "-h", "127.0.0.1", "-p", str(postgres.port))
        wait_until(
            lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0,
            60,
            "PostgreSQL answers",
        )
        postgres.ask("CREATE DATABASE prefect", "postgres")
        yield postgres
