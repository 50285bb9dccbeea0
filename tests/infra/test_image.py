"""The image of deploy/Dockerfile: what is in it, and an extraction in it, as clusters run it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from meldflow.tasks.demo.dataset import synthesise
from tests.flows import command
from tests.infra.podman import CLOSED, Podman, open_podman
from tests.paths import ROOT
from tests.rig import wait_until

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]

FILE = ROOT / "deploy" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"meldflow:{PROJECT['version']}"
LOCKED = set(re.findall(r"^([\w.-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.M))
TORCH = ("torch", "torchaudio", "torchvision")
PACKAGES = """\
import importlib.metadata as m, json
print(json.dumps({one.name: one.version for one in m.distributions()}))
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with (
        tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as folder,
        open_podman(Path(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def image(podman: Podman) -> str:
    podman.build(FILE, IMAGE, "--build-arg=REVISION=0123abc")
    return IMAGE


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data set, and room for weights and for stores of a user, and of the others in the group."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        synthesise(folder / "data", dialogues=3, seed=3)
        for name in ("store", "weights"):
            (folder / name).mkdir()
            (folder / name).chmod(0o775)
            os.chown(folder / name, 1000, 1000)
        yield folder


def packages(podman: Podman, image: str) -> dict[str, str]:
    """Name → version of what is installed, without the project and pip."""
    found = dict(json.loads(podman.run(image, "python", "-c", PACKAGES)))
    assert found.pop("meldflow") == PROJECT["version"]
    return {re.sub(r"[-_.]+", "-", k).lower(): v for k, v in found.items() if k != "pip"}


def test_it_says_what_it_is(podman: Podman, image: str) -> None:
    known = podman.inspect(image)
    prefix = "org.opencontainers.image."
    said = {k.removeprefix(prefix): v for k, v in known["Labels"].items() if k.startswith(prefix)}
    assert said == {
        "title": PROJECT["name"],
        "description": PROJECT["description"],
        "licenses": PROJECT["license"],
        "version": PROJECT["version"],
        "revision": "0123abc",
        "base.name": f"python:{podman.python}-slim",
    }
    assert known["User"] == "1000:1000"
    assert known["Healthcheck"]["Test"][-1] == "/srv/meldflow/healthcheck.py"
    print(f"{image}: {known['Size'] / 1e9:.2f} GB")
    assert known["Size"] < 8.6e9


def test_it_has_what_the_lock_says_and_no_tools(podman: Podman, image: str) -> None:
    found = packages(podman, image)
    assert set(found.items()) <= LOCKED
    assert not {"mypy", "pytest", "ruff", "moto", "uv"} & set(found)
    assert {"dask-kubernetes", "openvino", "dask-jobqueue"} <= set(found)
    left = podman.run(
        image, "find", "/tmp", "/root/.cache", "-mindepth", "1", options=("--user=0",)
    )
    assert left.split() == []


@pytest.mark.parametrize("user", ["1000", "54321"])
def test_an_extraction_on_a_read_only_root(
    podman: Podman, image: str, folder: Path, user: str
) -> None:
    volumes = (f"--volume={folder}/data:/data:ro", f"--volume={folder}/store:/store")
    place = (f"--user={user}:1000", *volumes)
    assert f"uid={user}" in podman.run(image, "id", options=place)
    refused = podman.says("run", "--rm", *CLOSED, *place, image, "touch", "/srv/meldflow/x")
    assert "Read-only file system" in refused[1]
    options = (*command.RANDOM, *(() if user == "1000" else ("--only", "text/minilm")))
    extract = ("meldflow", "extract", "/data", "--store", f"/store/{user}", *options)
    shared = (*place, f"--volume={folder}/weights:/weights")
    fill = ("meldflow", "weights", "fetch", "/weights", "--only", "text/minilm")
    podman.run(image, *fill, options=shared)
    alone = (*place, f"--volume={folder}/weights:/weights:ro", "--env=MELDFLOW_WEIGHTS=/weights")
    podman.run(image, *extract, options=alone, minutes=10)
    # The documented environment agrees with it, on each row and on the store's format.
    where = (folder / "data", "--store", folder / "store" / user)
    plan = json.loads(command.run("plan", *where, *options, "--json", cwd=folder).stdout)
    assert plan["extractors"] == {}
    assert plan["catalogue"]["appended"] == 0


def test_health_is_that_of_what_it_runs(podman: Podman, image: str) -> None:
    def healthy(name: str) -> bool:
        return podman.says("healthcheck", "run", name)[0] == 0

    scheduler = ("dask", "scheduler", "--port", "8786", "--dashboard-address", ":8787")
    with podman.service(image, *scheduler) as name:
        assert not healthy(name)
        wait_until(lambda: healthy(name), 60, "the scheduler answers")
        podman.ask("kill", "--signal", "STOP", name)
        assert not healthy(name)
    with podman.service(image, "sleep", "60") as name:
        assert healthy(name)


def test_one_without_cuda_takes_pytorch_from_another_index(podman: Podman, image: str) -> None:
    index, cpu = podman.folder / "index", f"{IMAGE}-cpu"
    cuda = re.compile("nvidia|cuda|triton")
    versions = {name: f"{version}+cpu" for name, version in LOCKED if name in TORCH}
    for name, version in versions.items():
        needed = [one for one in importlib.metadata.requires(name) or () if not cuda.match(one)]
        write_wheel(index / name, name, version, needed)
    # At an address of its own: uv keeps what it has seen at another one.
    where = f"/{podman.folder.name}"
    volume, argument = f"--volume={index}:{where}:ro", f"--build-arg=TORCH_INDEX=file://{where}"
    podman.build(FILE, cpu, volume, argument)
    with_it, without = packages(podman, image), packages(podman, cpu)
    expected = {k: v for k, v in with_it.items() if not cuda.match(k)} | versions
    assert without == expected
    sizes = [podman.inspect(one)["Size"] / 1e9 for one in (image, cpu)]
    print("GB: {:.2f}, without CUDA and PyTorch {:.2f}".format(*sizes))


def write_wheel(folder: Path, name: str, version: str, needed: Sequence[str]) -> None:
    """A distribution with nothing in it, as a page of an index."""
    folder.mkdir(parents=True)
    file, info = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in needed]
    parts = {
        "METADATA": "\n".join(lines) + "\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / file, "w") as wheel:
        for part, text in parts.items():
            wheel.writestr(f"{info}/{part}", text)
    (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')
