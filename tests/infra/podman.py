"""The image, built by a podman with a storage of its own.

No registry is asked: what stands for `python:VERSION-slim` is made of Debian's packages and of a
Python that is here. Packages come from where pip and uv take them on this machine, and from uv's
cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.infra.daemon import output
from tests.paths import ROOT

PROGRAMS = {"podman": "podman uidmap", "runc": "runc", "mmdebstrap": "mmdebstrap"}
"""What it takes → Debian's packages that have it."""

LIBRARIES = (
    "ca-certificates libbz2-1.0 libexpat1 libffi8 liblzma5 libncursesw6 libreadline8 libsqlite3-0 "
    "libssl3 libuuid1 netbase tzdata zlib1g"
)
"""What a Python is linked to."""

CERTIFICATES = "/etc/ssl/certs"
NETWORK = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
"""Variables that say how this machine reaches its package index."""

BASE = """\
FROM scratch
ADD base.tar /
COPY python /usr/local
RUN ldconfig
ENV {variables}
"""

LIMITS = {
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    "nproc": 4096,
}
"""Podman would ask for more than may be had here."""

ROOM = 30e9
"""Bytes that a build takes for a while: the container, and its layer twice."""

MINUTES = 60.0


@dataclass(frozen=True, kw_only=True)
class Podman:
    """One whose images and containers lie in a folder."""

    folder: Path
    python: str
    """The version that its images have."""
    environment: Mapping[str, str] = field(repr=False)

    def ask(self, *arguments: str | Path, minutes: float = 2) -> str:
        """What `podman` prints."""
        return output(self._command(*arguments), self.environment, seconds=minutes * MINUTES)

    def says(self, *arguments: str | Path) -> tuple[int, str]:
        """A command's exit code, and all that it prints."""
        done = subprocess.run(
            self._command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def build(self, file: Path, tag: str, *options: str | Path, context: Path = ROOT) -> str:
        """Builds an image, with the network of this machine; gives the log."""
        command = self._command("build", "--pull=never", "--format=docker", "--network=host")
        command += ["--isolation=chroot", "--layers=false", f"--build-arg=PYTHON={self.python}"]
        command.append(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
        log = self.folder / f"{tag.replace(':', '-')}.log"
        with log.open("wb") as said:
            subprocess.run(
                [*command, *map(str, options), "--file", str(file), "--tag", tag, str(context)],
                env=self.environment,
                stdout=said,
                stderr=said,
                check=False,
                timeout=40 * MINUTES,
            )
        text = log.read_text(errors="replace")
        assert self.says("image", "exists", tag)[0] == 0, text[-4000:]
        return text

    def inspect(self, image: str) -> dict[str, Any]:
        """What is known of an image."""
        return dict(json.loads(self.ask("image", "inspect", image))[0])

    def run(
        self, image: str, *command: str, options: Sequence[str] = (), minutes: float = 5
    ) -> str:
        """Runs a command as clusters should: see ``CLOSED``."""
        return self.ask("run", "--rm", *CLOSED, *options, image, *command, minutes=minutes)

    @contextlib.contextmanager
    def service(self, image: str, *command: str) -> Iterator[str]:
        """Starts a container that lasts as long as the block; gives its name."""
        name = self.ask("run", "--detach", *CLOSED, image, *command).strip()
        try:
            yield name
        finally:
            self.says("kill", "--signal", "CONT", name)
            self.ask("rm", "--force", "--time", "5", name)

    def _command(self, *arguments: str | Path) -> list[str]:
        where = (f"--root={self.folder / 'storage'}", f"--runroot={self.folder / 'run'}")
        how = ("--runtime=runc", "--cgroup-manager=cgroupfs")
        return ["podman", *where, *how, *map(str, arguments)]


CLOSED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:mode=1777",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=none",
    *(f"--ulimit={name}={most}:{most}" for name, most in LIMITS.items()),
)
"""A read-only root file system with a /tmp, no rights of root's, and nobody to talk to."""


@contextlib.contextmanager
def open_podman(folder: Path) -> Iterator[Podman]:
    """One that has a base, and no other image; ends all of its containers."""
    for program, packages in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install {packages}")
    if os.geteuid() != 0:
        pytest.skip("a root file system is made by root alone")
    if (free := shutil.disk_usage(folder).free) < ROOM:
        pytest.skip(f"an image takes {ROOM / 1e9:.0f} GB for a while: {free / 1e9:.0f} are free")
    # The cache of the Dockerfile is that of this machine.
    cache = output([Path(sys.executable).with_name("uv"), "cache", "dir"], os.environ).strip()
    (folder / "buildah-cache").mkdir()
    (folder / "buildah-cache" / "uv").symlink_to(cache)
    # What a health check asks at intervals is asked by the tests; the timer is one of systemd's.
    environment = {**os.environ, "DISABLE_HC_SYSTEMD": "true", "TMPDIR": str(folder)}
    prefix, version = _python()
    podman = Podman(folder=folder, python=version, environment=environment)
    try:
        _build_base(podman, prefix)
        yield podman
    finally:
        podman.says("rm", "--all", "--force")
        podman.says("rmi", "--all", "--force")


def _build_base(podman: Podman, prefix: Path) -> None:
    """Makes what stands for `python:VERSION-slim`."""
    context = podman.folder / "base"
    context.mkdir()
    tar: list[str | Path] = ["mmdebstrap", "--variant=minbase", f"--include={LIBRARIES}"]
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    )
    sources = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    where = [one for one in sources if one.is_file()][:1]
    tar += [release["VERSION_CODENAME"], context / "base.tar", *where]
    output(tar, os.environ, seconds=10 * MINUTES)
    _copy_python(prefix, podman.python, context / "python")
    kept = {name: os.environ[name] for name in NETWORK if name in os.environ}
    variables = {"LANG": "C.UTF-8", **kept}
    (context / "Dockerfile").write_text(
        BASE.format(variables=" ".join(f'{k}="{v}"' for k, v in variables.items()))
    )
    podman.build(context / "Dockerfile", f"python:{podman.python}-slim", context=context)
    shutil.rmtree(context)


def _python() -> tuple[Path, str]:
    """The prefix and the version of the newer Python, if one is named, else of this one."""
    named = os.environ.get("MELDFLOW_NEWER_PYTHON", sys.executable)
    code = "import sys; print(sys.base_prefix, '%d.%d' % sys.version_info[:2])"
    prefix, version = output([named, "-c", code], os.environ).split()
    if prefix == "/usr":
        pytest.skip("a Python in /usr cannot be copied: make setup PYTHON=… with another")
    return Path(prefix), version


def _copy_python(prefix: Path, version: str, to: Path) -> None:
    """Without tests, headers and packages of others."""
    name = f"python{version}"
    (to / "bin").mkdir(parents=True)
    shutil.copy(prefix / "bin" / name, to / "bin" / name)
    for link in ("python", "python3"):
        (to / "bin" / link).symlink_to(name)
    left = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-*", "idlelib")
    shutil.copytree(prefix / "lib" / name, to / "lib" / name, ignore=left)
    for shared in prefix.glob("lib/libpython*.so*"):
        shutil.copy(shared, to / "lib", follow_symlinks=False)
    for pip in (prefix / "lib" / name / "site-packages").glob("pip*"):
        shutil.copytree(pip, to / "lib" / name / "site-packages" / pip.name)
