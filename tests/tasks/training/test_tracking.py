"""Training runs in MLflow: a local folder, a server, and no server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meldflow.models.schema.errors import RunError
from meldflow.models.training.run import Trained
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.training import mlflow_run
from meldflow.tasks.training.mlflow_run import how_to_look, public, track, where_to
from meldflow.tasks.training.predict.predictor import load_predictor
from meldflow.tasks.training.predict.records import Given
from meldflow.tasks.training.steps import TrainReport, note_in_mlflow
from tests.tasks.training.trained import make_store, train

SEEDS = 2
# In a process of its own, as a user would: MLflow has global settings, and warns of much.
ASK = """
import json, sys, mlflow, pandas as pd
uri, run = sys.argv[1:3]
mlflow.set_tracking_uri(uri)
client = mlflow.MlflowClient()
found = client.get_run(run)
names = [one.path for one in client.list_artifacts(run, "report")]
curve = client.get_metric_history(run, "epoch/train_loss")
model = mlflow.pyfunc.load_model(f"runs:/{run}/model")
rows = model.predict(pd.DataFrame(json.loads(sys.argv[3])))
print(json.dumps({
    "status": found.info.status,
    "parameters": found.data.params,
    "metrics": found.data.metrics,
    "tags": found.data.tags,
    "artifacts": names,
    "steps": [one.step for one in curve],
    "inputs": model.metadata.get_input_schema().input_names(),
    "rows": rows.to_dict("records"),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tracking")
    make_store(path)
    return path


@pytest.fixture(scope="module")
def trained(folder: Path) -> Trained:
    """A model of two seeds, with what stands for its report: tracking does not look into it."""
    (folder / "report").mkdir()
    (folder / "report" / "older.csv").write_text("not of this training")
    os.utime(folder / "report" / "older.csv", (1, 1))
    found = train(folder / "store", folder / "report", seeds=SEEDS)
    for name in ("index.html", "curves.png"):
        (folder / "report" / name).write_text("a report")
    return found


def ask(uri: str, tracked: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What MLflow has of a run, and what its model says of ``rows``."""
    command = [sys.executable, "-c", ASK, uri, tracked.rpartition("/")[2], json.dumps(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=180)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def log(trained: Trained, folder: Path, where: str) -> str:
    return track(trained, folder / "report" / "index.html", folder / "report" / "model", where)


def test_a_local_folder_holds_the_run_and_its_model_predicts(
    folder: Path, trained: Trained, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = where_to("", folder / "report")
    assert uri == f"sqlite:///{folder}/mlruns/mlflow.db"
    tracked = log(trained, folder, uri)
    assert capfd.readouterr() == ("", "")
    clip = str(folder / "clips" / "test0.mp4")
    given: list[dict[str, Any]] = [
        {"clip": clip, "text": "Hey.", "speaker": "Joey"},
        {"clip": None, "text": "Hey.", "speaker": None},
        {"clip": "/no/such.mp4", "text": None, "speaker": None},
    ]
    found = ask(uri, tracked, given)
    result = trained.result
    assert found["status"] == "FINISHED"
    assert found["artifacts"] == ["report/curves.png", "report/index.html"]
    assert found["parameters"]["key/text/minilm"] == result.data.keys["text/minilm"]
    assert found["parameters"]["seeds"] == "0,1"
    assert found["parameters"]["config/learning_rate"] == str(result.config.learning_rate)
    spread = result.over_seeds(result.winner, "weighted_f1")
    assert spread is not None
    assert found["metrics"]["test/weighted_f1"] == pytest.approx(spread.mean)
    assert found["metrics"]["test/weighted_f1_sd"] == pytest.approx(spread.sd)
    of_seed = result.seeds[1].judged["network"].dev
    assert of_seed is not None
    assert found["metrics"]["dev/network/macro_f1/seed_1"] == pytest.approx(of_seed.macro_f1)
    assert found["steps"] == [one.epoch for one in result.shown.history]
    assert found["tags"]["winner"] == result.winner
    assert "no_result" not in found["tags"]
    assert found["inputs"] == ["clip", "text", "speaker"]
    own = load_predictor(folder / "report")
    with_clip = own.predict(Given(clip=Path(clip), text="Hey.", speaker="Joey"))
    words = own.predict(Given(text="Hey."))
    for row, expected in zip(found["rows"], (with_clip, words), strict=False):
        assert row.pop("label") == expected.label
        assert row == pytest.approx(dict(expected.probabilities), abs=1e-6)
    assert found["rows"][2]["label"] == ""


def test_a_protocol_that_is_no_result_never_gives_a_figure_called_test_that_it_fitted_on(
    folder: Path,
) -> None:
    report = folder / "leaky"
    trained = train(folder / "store", report, network="reference", protocol="leaky-80-20")
    assert "no result" in mlflow_run.tags(trained.result)["no_result"]
    values = dict(mlflow_run.metrics(trained.result))
    judged = trained.result.judged["svm"].test
    assert values["train-20/svm/weighted_f1"] == pytest.approx(judged.weighted_f1)
    beside = trained.result.shown.beside["test"]["svm"].test
    assert values["test/svm/weighted_f1"] == pytest.approx(beside.weighted_f1)
    assert not any(name.startswith("dev/") or "dev_" in name for name in values)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """An MLflow server of its own, which keeps artifacts itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"),
        *("--artifacts-destination", str(folder / "kept")),
    ]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Its workers for jobs would outlive it, in sessions of their own.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.log").open("w") as words:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | quiet,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{url}/health", process)
            yield url
        finally:
            # It has a worker of its own; they are one process group.
            os.killpg(process.pid, 9)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise TimeoutError(url)


@pytest.mark.slow
def test_a_server_gets_the_run_and_gives_the_model(
    folder: Path, trained: Trained, tmp_path: Path
) -> None:
    with server(tmp_path) as url:
        assert where_to(url, folder / "report") == url
        tracked = log(trained, folder, url)
        assert tracked.startswith(f"{url}/#/experiments/")
        assert how_to_look(tracked) == tracked
        found = ask(url, tracked, [{"clip": None, "text": "Hey.", "speaker": None}])
    assert found["artifacts"] == ["report/curves.png", "report/index.html"]
    expected = load_predictor(folder / "report").predict(Given(text="Hey."))
    assert found["rows"][0]["label"] == expected.label
    assert any((tmp_path / "kept").rglob("network.safetensors"))


def test_a_server_that_is_away_costs_a_line_and_little_time(folder: Path, trained: Trained) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        away = f"http://me:secret@127.0.0.1:{probe.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(RunError) as raised:
        log(trained, folder, away)
    assert time.monotonic() - started < 60
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_training_that_cannot_be_tracked_says_so_and_has_its_figures(
    folder: Path, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    page = folder / "report" / "index.html"
    options = TrainOptions(
        store="s", report=folder / "report", tracking=str(tmp_path / "file" / "runs")
    )
    tracking, warning = note_in_mlflow(trained, page, options)
    report = TrainReport(result=trained.result, page=page, amiss=(warning,), tracking=tracking)
    assert report.tracking == ""
    assert report.warnings[-1].startswith("the run was not tracked in MLflow: ")
    silent = note_in_mlflow(trained, page, options.model_copy(update={"tracking": "none"}))
    assert silent == ("", "")


def test_a_folder_that_cannot_be_made_is_one_line(
    folder: Path, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(RunError, match="mlruns"):
        log(trained, folder, where_to("", tmp_path / "report"))


def test_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert where_to("none", Path("report")) == ""
    assert where_to("", Path("report")) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert where_to("runs", Path("report")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert where_to("", Path("report")) == "http://there:5000"
    assert where_to("none", Path("report")) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    assert where_to("", Path("report")) == ""
    look = how_to_look("sqlite:////my folder/mlflow.db#/experiments/1/runs/abc")
    assert look == "mlflow ui --backend-store-uri 'sqlite:////my folder/mlflow.db'"
    assert public("http://me:pw@there/x") == "http://there/x"
    assert public("http://me:p@w@there/x") == "http://there/x"
    assert public("http://there then me@home") == "http://there then me@home"
