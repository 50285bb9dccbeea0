"""What the command line says to mistakes: one line, exit code 2, no traceback."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from prefect.events.schemas.automations import EventTrigger
from typer.testing import CliRunner

from meldflow.flows.cli import main
from meldflow.flows.cli.app import app, commands
from meldflow.flows.cli.parameters import spread_reasons
from meldflow.flows.serving.site.automations import zombies
from meldflow.storage.places import location
from meldflow.tasks.demo.script import COLUMNS

NEWER = location.SCHEMA + 1

COMMANDS = dict(commands(typer.main.get_command(app)))


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs the command line in this process and gives its exit code."""
    monkeypatch.setattr(sys, "argv", ["meldflow", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    return int(stopped.value.code or 0)


ROW = (1, "Hi.", "Ann", "joy", "", 0, 0, 1, 1, "0:0:1,000", "0:0:2,000")


def write_annotations(
    folder: Path, columns: tuple[str, ...] = COLUMNS, row: tuple[object, ...] = ROW
) -> None:
    folder.mkdir()
    with (folder / "train_sent_emo.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, row])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert f"meldflow {name}" in shown.output.split("Example")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_short_help_and_a_group(name: str) -> None:
    assert CliRunner().invoke(app, [*name.split(), "-h"]).exit_code == 0
    assert COMMANDS[name].rich_help_panel in {"Data", "Features", "Store", "Training", "Serving"}


def test_the_version() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.output == f"meldflow {version('meldflow')}\n"


def test_the_shell_completes_commands() -> None:
    program = (
        "import sys; sys.argv[0] = 'meldflow'; from meldflow.flows.cli.main import main; main()"
    )
    environment = {
        **os.environ,
        "_MELDFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": "meldflow ext",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=-1, text=True, check=True
    )
    assert done.stdout.split() == ["extract", "extractors"]


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """``meldflow … | head -1`` is no failure."""
    program = [sys.executable, "-m", "meldflow.flows.cli.main"]
    write_annotations(tmp_path / "data")
    audit = [*program, "audit", str(tmp_path / "data"), "--annotations-only"]
    read, write = os.pipe()
    os.close(read)
    for arguments in ([*program, "extractors"], audit):
        done = subprocess.run(arguments, stdout=write, stderr=-1, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    os.close(write)


def test_words_that_a_screen_of_ascii_does_not_have() -> None:
    program = (
        "import typer; from meldflow.flows.cli.screen.terminal import out; "
        "from meldflow.flows.cli.main import answer; "
        "commands = typer.Typer(); commands.command()(lambda: out.print('a → b')); answer(commands)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=-1, text=True, check=True
    )
    assert shown.stdout == "a \\u2192 b\n"


def examples(command: Any = None) -> Iterator[str]:
    """Those in the help of all commands."""
    command = command or typer.main.get_command(app)
    yield from re.findall(r"`(meldflow [^`]*)`", command.epilog or "")
    for below in getattr(command, "commands", {}).values():
        yield from examples(below)


@pytest.mark.parametrize("line", tuple(examples()))
def test_examples_in_the_help_are_understood(line: str) -> None:
    command: Any = typer.main.get_command(app)
    _, *words = spread_reasons(shlex.split(line))
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("meldflow", words)  # parses, and runs nothing


def test_runs_give_signs_of_life_more_often_than_they_are_taken_for_dead() -> None:
    program = (
        "import sys\n"
        "from meldflow.flows.cli import main\n"
        "sys.argv = ['meldflow', '--help']\n"
        "try:\n"
        "    main.main()\n"
        "except SystemExit:\n"
        "    from prefect.settings import get_current_settings\n"
        "    print(get_current_settings().flows.heartbeat_frequency)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=-1, text=True)
    every = int(done.stdout.split()[-1])
    trigger = zombies().trigger
    assert isinstance(trigger, EventTrigger)
    assert 3 * every <= trigger.within.total_seconds()


def _missing(_: Path) -> None: ...


def _empty(path: Path) -> None:
    path.mkdir()


def _file(path: Path) -> None:
    path.write_text("")


def _without_columns(path: Path) -> None:
    write_annotations(path, ("Utterance", "Speaker", "Season"), ("Hi.", "Ann", 1))


def _emorynlp(path: Path) -> None:
    write_annotations(path, row=(*ROW[:3], "Powerful", *ROW[4:]))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (_missing, "does not exist"),
        (_empty, "none of train_sent_emo.csv"),
        (_file, "is no folder and no .csv or .parquet file"),
        (_without_columns, "no column Emotion, Dialogue_ID"),
        (_emorynlp, "row 1: Emotion 'Powerful' is none of neutral"),
    ],
)
def test_datasets_that_are_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path], None],
    says: str,
) -> None:
    prepare(tmp_path / "data")
    arguments = ("extract", str(tmp_path / "data"), "--store", str(tmp_path / "store"))
    assert invoke(monkeypatch, *arguments) == 2
    one_line(capsys, str(tmp_path / "data"), says)
    assert not (tmp_path / "store").exists()


def _unwritable(path: Path) -> str:
    (path / "blocked").write_text("a file where a folder should be")
    return str(path / "blocked" / "store")


def _other_schema(path: Path) -> str:
    location.create(str(path / "old"), partition=4)
    return str(path / "old")


def _foreign(path: Path) -> str:
    (path / "foreign").mkdir()
    (path / "foreign" / "thesis.tex").write_text("")
    return str(path / "foreign")


def _remote(_: Path) -> str:
    return "gs://bucket/store"


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (_unwritable, "cannot be written"),
        (_other_schema, f"its layout is {location.SCHEMA}, this meldflow reads {NEWER}"),
        (_foreign, "holds other files"),
        (_remote, "no store can lie there; give a path, or file://, s3://"),
    ],
)
def test_stores_that_cannot_be_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path], str],
    says: str,
) -> None:
    write_annotations(tmp_path / "data")
    store = prepare(tmp_path)
    monkeypatch.setattr(location, "SCHEMA", NEWER if "old" in store else location.SCHEMA)
    arguments = ("extract", str(tmp_path / "data"), "--store", store, "--weights", "random")
    assert invoke(monkeypatch, *arguments) == 2
    one_line(capsys, store, says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "nowhere"), "no store is here"),
        (("train", "nowhere"), "no store is here"),
        (("failures", "nowhere"), "no store is here"),
        (("extract", "data", "--only", "audio/wav2vec3"), "did you mean 'audio/wav2vec2'"),
        (("extract", "data", "--weights", "/no/such/model"), "/no/such/model"),
        (("extract", "data", "--cluster", "none.yaml"), "none.yaml"),
        (("extract", "data", "--weights", "random", "--weights", "pretrained"), "both for all"),
        (("extract", "data", "--batch", "0"), "--batch: Input should be greater than"),
        (("extract", "data", "--batch", "x"), "'--batch'"),
        (("extract", "data", "--max-seconds", "0"), "--max-seconds: Input should be greater"),
        (("extract", "data", "--backend", "jax"), "--backend: 'jax' is none of auto, torch"),
        (("extract", "data", "--retry-failed=bored"), "--retry-failed: 'bored' is none of all"),
        (("train", "store", "--device", "tpu"), "--device: Input should be 'cpu', 'cuda' or"),
        (("pipeline", "data", "--training-precision", "8"), "--training-precision: Input should"),
        (("extract", "data", "--set", "f0"), "--set: 'f0' is not of the form NAME.PARAMETER=V"),
        (("extract", "data", "--set", "audio/librosa=x"), "which parameter of it? audio/librosa"),
        (("extract", "data", "--set", "audio/libros.f0=x"), "did you mean 'audio/librosa'"),
        (
            ("plan", "data", "--set", "audio/librosa.f1=9"),
            "audio/librosa has no parameter 'f1'. audio/librosa has: f0=autocorrelation "
            "(autocorrelation or pyin), fmin=",
        ),
        (
            ("extract", "data", "--set", "audio/librosa.f0=x"),
            "audio/librosa.f0: Input should be 'autocorrelation' or 'pyin', not 'x'. "
            "audio/librosa has: f0=",
        ),
        (
            ("extract", "data", "--set", "audio/wav2vec2.layers=6,13"),
            "layers: Input should be less than or equal to 12, not '6,13'. audio/wav2vec2 has: "
            "layers=12 (a whole number from 0 to 12, several with commas between)",
        ),
        (
            ("extract", "data", "--weights=random", "--set=audio/wav2vec2.overlap_seconds=20"),
            "audio/wav2vec2: overlap_seconds 20.0 is not below 15.0. audio/wav2vec2 has: layers=",
        ),
        (("deploy", "--set", "audio/librosa.f1=9"), "audio/librosa has no parameter 'f1'"),
        (("deploy", "--set", "f1"), "--set: 'f1' is not of the form"),
        (("demo", "--directory", "data/train_sent_emo.csv"), "train_sent_emo.csv"),
        (("extract",), "name a data set or a folder of clips (--clips)"),
        (("extract", "data", "--clips", "data"), "one of them, not both"),
        (("extract", "--clips", "none"), "none: does not exist"),
        (("extract", "--clips", "data/train_sent_emo.csv"), "is a file, not a folder"),
        (("extract", "--clips", "data"), "no sound or video file"),
        (("pipeline", "--clips", "data"), "No such option"),
        (("audit",), "Missing argument"),
        (("extrakt",), "No such command"),
    ],
)
def test_other_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    write_annotations(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert invoke(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert says in re.sub(r"\s+", " ", shown.err)
    assert "Traceback" not in shown.err


def test_pretrained_weights_that_are_not_here_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_annotations(tmp_path / "data")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    arguments = ("extract", str(tmp_path / "data"), "--store", str(tmp_path / "store"))
    assert invoke(monkeypatch, *arguments, "--only", "audio/wav2vec2") == 2
    one_line(capsys, "facebook/wav2vec2-base-960h", "random")


def one_line(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    shown = capsys.readouterr().err.strip()
    assert "\n" not in shown
    assert shown.startswith("meldflow: ")
    for part in parts:
        assert part in shown
