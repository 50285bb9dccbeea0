"""The folder of weights that machines share: from a hub, from what is here, and by halves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from meldflow.models.extractors.registry import build
from meldflow.models.extractors.speech.extractor import Wav2Vec2
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.find import check, find
from meldflow.models.weights.shared import SUMS, VARIABLE
from meldflow.models.weights.sources import PublishedModel
from tests.flows import command
from tests.flows.cli.hub import Hub, open_hub
from tests.models import checkpoints
from tests.rig import texts, wait_until, write_dataset

NAME = "audio/wav2vec2"
SOURCE = cast("PublishedModel", Wav2Vec2.published)
OLD = "pytorch_model.bin"
WEIGHTS = 400_000
"""Bytes of a checkpoint, which is never loaded."""

Fetch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the right architecture, as far as can be told without loading it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    (folder / "config.json").write_text(json.dumps(dict(SOURCE.architecture)))
    save_file({"x": np.arange(WEIGHTS // 4, dtype=np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    with open_hub(checkpoint) as running:
        yield running


@pytest.fixture
def variables(hub: Hub, tmp_path: Path) -> dict[str, str]:
    """Of a user who has nothing yet."""
    return {**hub.variables, "HF_HOME": str(tmp_path / "cache"), "TORCH_HOME": str(tmp_path)}


def fetch(
    folder: Path, variables: Mapping[str, str], *options: str | Path, code: int = 0
) -> subprocess.CompletedProcess[str]:
    arguments = ("weights", "fetch", folder, "--only", NAME, *options)
    return command.run(*arguments, cwd=folder.parent, code=code, prefect=variables)


def states(folder: Path, code: int) -> dict[str, str]:
    """File of the model → what `verify` says of it."""
    arguments = ("weights", "verify", folder, "--only", NAME, "--json")
    said = json.loads(command.here(*arguments, cwd=folder.parent, code=code).stdout)
    return {Path(file).name: state for file, state in said.items()}


def files(folder: Path) -> set[str]:
    return {one.name for one in folder.rglob("*") if one.is_file()}


WHOLE = {"model.safetensors", "config.json", SUMS}


def test_from_a_hub(
    hub: Hub, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    said = fetch(shared, variables).stdout
    assert [line.split()[0] for line in said.splitlines()] == ["right"] * 2
    assert files(shared) == WHOLE
    assert sorted(hub.sent) == ["config.json", "model.safetensors"]
    home = shared / SOURCE.model
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=home, check=True)
    # A run takes them from there, and asks nobody; so does a second fetch.
    monkeypatch.setenv(VARIABLE, str(shared))
    (extractor,) = build([NAME], {})
    assert extractor.weights.location == str(home / "model.safetensors")
    assert extractor.weights.kind == "pretrained"
    assert check(extractor.weights) == home / "model.safetensors"
    command.here("weights", "fetch", shared, "--only", NAME, cwd=tmp_path)
    assert len(hub.sent) == 2


@pytest.mark.slow  # the hub's library tries for some seconds
def test_half_a_download_is_none(
    hub: Hub, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    hub.cut = True
    failed = fetch(shared, variables, code=2)
    assert "no pretrained weights of facebook/wav2vec2-base-960h" in failed.stderr
    assert "download (failed: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not files(shared)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = f"{variables['HF_ENDPOINT']}/a/b/resolve/main/model.safetensors"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(UsageError, match=r"download \(failed: IncompleteRead\)"):
        find(PublishedModel(model="b", files=("b.pth",), url=url), "pretrained")
    assert not (tmp_path / "hub" / "checkpoints" / "b.pth").exists()
    hub.cut = False
    fetch(shared, variables)
    assert files(shared) == WHOLE


def test_other_bytes_than_the_hub_has_a_digest_of(
    hub: Hub, variables: dict[str, str], tmp_path: Path
) -> None:
    hub.altered = True
    said = fetch(tmp_path / "shared", variables, code=2).stderr
    (damaged,) = (Path(word) for word in said.split() if "/blobs/" in word)
    assert f"{damaged} is damaged, its SHA-256 starts" in said
    assert not files(tmp_path / "shared")
    hub.altered = False
    damaged.unlink()
    fetch(tmp_path / "shared", variables)
    assert states(tmp_path / "shared", 0) == {"model.safetensors": "right", "config.json": "right"}


@pytest.mark.slow  # the hub's library tries for half a minute
def test_without_a_network(variables: dict[str, str], tmp_path: Path) -> None:
    variables["HF_ENDPOINT"] = "http://127.0.0.1:1"
    said = fetch(tmp_path / "shared", variables, code=2).stderr
    assert "download (failed: " in said
    assert said.count("\n") == 1


def test_what_is_here_needs_no_network(tmp_path: Path, checkpoint: Path) -> None:
    """A folder that is named, and a package."""
    only = ("--only", NAME, "--only", "text/minilm")
    line = ("weights", "fetch", tmp_path / "shared", *only, "--from", f"{NAME}={checkpoint}")
    said = json.loads(command.here(*line, "--json", cwd=tmp_path).stdout)
    assert {Path(file).name: state for file, state in said.items()} == dict.fromkeys(
        ("model.safetensors", "config.json", "tokenizer.json"), "right"
    )
    assert len(said) == 5


def test_a_hub_that_has_older_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As WavLM's and HuBERT's; an instance is loaded from what came."""
    import torch

    folder = checkpoints.speech(tmp_path / "old", "hubert")
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({name: torch.from_numpy(one) for name, one in whole.items()}, folder / OLD)
    file = tmp_path / "extractors.yaml"
    file.write_text("audio/mine: {kind: audio/speech, checkpoint: a/b}\n")
    with open_hub(folder) as hub:
        variables = {**hub.variables, "HF_HOME": str(tmp_path / "cache")}
        shared = tmp_path / "shared"
        line = ("weights", "fetch", shared, "--extractors-file", file)
        command.run(*line, cwd=tmp_path, prefect=variables)
        (folder / "preprocessor_config.json").unlink()
        variables["HF_HOME"] = str(tmp_path / "other")
        line = ("weights", "fetch", tmp_path / "none", "--extractors-file", file)
        said = command.run(*line, cwd=tmp_path, prefect=variables, code=2).stderr
        assert "download (has not config.json, preprocessor_config.json and model.saf" in said
    monkeypatch.setenv("MELDFLOW_WEIGHTS", str(shared))
    (mine,) = build(None, {}, instances={"audio/mine": "audio/speech a/b"})
    assert Path(mine.weights.location).name == OLD
    assert mine.setup().loaded is not None


def test_what_a_file_declares_is_fetched_and_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, shared, file = tmp_path / "own", tmp_path / "shared", tmp_path / "extractors.yaml"
    checkpoints.speech(own, "hubert")
    file.write_text(
        "audio/mine: {kind: audio/speech, checkpoint: a/b}\n"
        f"audio/local: {{kind: audio/speech, checkpoint: {own}}}\n"  # there is nothing to fetch
        "text/minilm:\naudio/librosa:\n"
    )
    line = (shared, "--extractors-file", file, "--json")
    here = command.here("weights", "fetch", *line, "--from", f"audio/mine={own}", cwd=tmp_path)
    assert set(json.loads(here.stdout).values()) == {"right"}
    files = {str(Path(one).relative_to(shared)) for one in json.loads(here.stdout)}
    assert {one for one in files if one.startswith("a/")} == {
        "a/b/model.safetensors",
        "a/b/config.json",
        "a/b/preprocessor_config.json",
    }
    monkeypatch.setenv("MELDFLOW_WEIGHTS", str(shared))
    (mine,) = build(None, {}, instances={"audio/mine": "audio/speech a/b"})
    assert mine.weights.kind == "pretrained"
    assert mine.setup().spec.array("mean").shape == (24,)


def test_two_at_once_and_one_that_is_stopped(
    hub: Hub, variables: dict[str, str], tmp_path: Path
) -> None:
    shared, hub.pieces = tmp_path / "shared", 60
    arguments = ("weights", "fetch", shared, "--only", NAME)
    stopped = command.start(*arguments, cwd=tmp_path, prefect=variables)
    wait_until(hub.begun.is_set, 60, "it downloads")
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=60)
    assert (stopped.returncode, "Traceback" in said) == (130, False)
    assert not files(shared)
    hub.pieces = 5
    both = [command.start(*arguments, cwd=tmp_path, prefect=variables) for _ in range(2)]
    assert [(one.communicate(timeout=120)[1], one.returncode) for one in both] == [("", 0)] * 2
    assert files(shared) == WHOLE


@pytest.mark.parametrize(("size", "says"), [("100k", "No space left"), ("9m,ro", "Read-only")])
def test_a_folder_that_is_full_or_only_read(
    variables: dict[str, str], checkpoint: Path, tmp_path: Path, size: str, says: str
) -> None:
    (shared := tmp_path / "shared").mkdir()
    fill = ("weights", "fetch", shared, "--only", NAME, "--from", f"{NAME}={checkpoint}")
    mount = f'mount -t tmpfs -o size={size} tmpfs "$0"; code=0; "$@" || code=$?; find "$0"'
    alone = ("unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount}; exit $code", shared)
    done = subprocess.run(
        [*map(str, (*alone, *command.MELDFLOW, *fill))],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare: " in done.stderr or "mount: " in done.stderr:
        pytest.skip("no file system of its own here")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert ".safetensors" not in done.stdout


def damaged(home: Path) -> None:
    content = bytearray((home / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (home / "model.safetensors").write_bytes(content)


def half(home: Path) -> None:
    os.truncate(home / "model.safetensors", WEIGHTS // 2)


def without(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).unlink()


@pytest.mark.parametrize(
    ("harm", "file", "state"),
    [
        (damaged, "model.safetensors", "different"),
        (half, "model.safetensors", "different"),
        (without("model.safetensors"), "model.safetensors", "missing"),
        (without("config.json"), "config.json", "missing"),
        (without(SUMS), SUMS, "missing"),
        (lambda home: (home / SUMS).write_text(""), SUMS, "different"),
        (lambda home: (home / SUMS).write_bytes(b"\xff\n"), SUMS, "different"),
        (shutil.rmtree, SUMS, "missing"),
    ],
)
def test_a_folder_that_is_not_whole(
    harm: Callable[[Path], object],
    file: str,
    state: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`verify` says what is wrong, a run begins with no such weights, `fetch` mends it."""
    (shared := tmp_path / "shared").mkdir()
    fill = ("weights", "fetch", shared, "--only", NAME, "--from", f"{NAME}={checkpoint}")
    command.here(*fill, cwd=tmp_path)
    harm(shared / SOURCE.model)
    assert states(shared, 1)[file] == state
    monkeypatch.setenv(VARIABLE, str(shared))
    lines = write_dataset(tmp_path / "data.csv", texts(1, milliseconds=1))
    extract = ("extract", lines, "--store", tmp_path / "store", "--only", NAME)
    said = command.here(*extract, cwd=tmp_path, code=2).stderr
    path = shared / SOURCE.model / file
    mend = f"to mend it, `meldflow weights fetch {shared}`"
    assert said == f"meldflow: {SOURCE.model}: {path} is {state}; {mend}\n"
    command.here(*fill, cwd=tmp_path)
    assert set(states(shared, 0).values()) == {"right"}


@pytest.mark.parametrize("wrong", ["/somewhere", "audio/librosa=/a", f"{NAME}="])
def test_where_a_checkpoint_lies_is_said_by_name(wrong: str, tmp_path: Path) -> None:
    line = ("weights", "fetch", tmp_path / "shared", "--only", NAME, "--from", wrong)
    assert (
        f"--from: give NAME=PATH; names are {NAME}"
        in command.here(*line, cwd=tmp_path, code=2).stderr
    )


def test_a_worker_that_lacks_them(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (extractor,) = build([NAME], {NAME: str(copy)})
    shutil.rmtree(copy)
    with pytest.raises(UsageError) as lacking:
        check(extractor.weights)
    assert str(lacking.value) == (
        f"{SOURCE.model}: no weights at {copy / 'model.safetensors'} on this machine; `meldflow "
        f"weights fetch FOLDER` on a connected machine fills a folder, which {VARIABLE} names"
    )
