"""`meldflow audit` as a user runs it."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from meldflow.models.schema.utterances import EMOTIONS, SPLITS
from tests.flows import command
from tests.flows.servers import flow_run, records
from tests.tasks.dataset.standins import Planted, build, invented
from tests.tasks.dataset.test_intake import MELD, real


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Planted]]:
    root = tmp_path_factory.mktemp("data") / "MELD [raw]"
    return root, build(root, invented(30))


def test_a_prefect_run_with_its_artifacts_and_json_alone_on_standard_output(
    api: str, planted: tuple[Path, list[Planted]], tmp_path: Path
) -> None:
    root, expected = planted
    arguments = ("audit", root, "--json", "--html", "report/audit.html")
    done = command.run(*arguments, cwd=tmp_path, api=api)
    run = flow_run(api, f"audit-{root.name}")
    artifacts = records(api, "artifacts", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    shown = json.loads(done.stdout)
    found = Counter((one["kind"], one["split"], one["subject"]) for one in shown["findings"])
    assert found == Counter((one.kind.value, one.split, one.subject) for one in expected)
    assert run["state_type"] == "COMPLETED"
    assert {one["key"] for one in artifacts} == {"audit-summary", "audit-findings"}
    assert "</html>" in (tmp_path / "report" / "audit.html").read_text()


def test_the_screen_shows_what_is_news(planted: tuple[Path, list[Planted]], tmp_path: Path) -> None:
    root, expected = planted
    done = command.run("audit", root, "--annotations-only", cwd=tmp_path)
    assert "clips left alone" in done.stdout
    assert "id_gap, 2 not known before. Ids that are left out." in done.stdout
    gap = next(one.subject for one in expected if one.kind == "id_gap")
    assert f"  {gap}: no " in done.stdout
    assert "Prefect" not in done.stderr  # a second of work needs no server


@real
@pytest.mark.parametrize("fixes", [True, False])
def test_the_real_annotations(tmp_path: Path, fixes: bool) -> None:
    flags = () if fixes else ("--no-fixes",)
    data = os.path.relpath(MELD, tmp_path)
    done = command.run("audit", data, "--annotations-only", "--json", *flags, cwd=tmp_path)
    shown = json.loads(done.stdout)
    assert list(shown["splits"]) == list(SPLITS)
    assert [one["rows"] for one in shown["splits"].values()] == [9989, 1109, 2610]
    assert [one["dialogues"] for one in shown["splits"].values()] == [1038, 114, 280]
    assert all(list(one["emotions"]) == list(EMOTIONS) for one in shown["splits"].values())
    assert all(one["findings"]["id_gap"] for one in shown["splits"].values())
    assert bool(shown["fixes"]["applied"]) == fixes
    assert any(one["known"] for one in shown["findings"]) == fixes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none",), "/none: does not exist"),
        (("empty",), "none of train_sent_emo.csv"),
        (("data", "--html", "empty"), "report empty: is a folder; name a file"),
        (("data", "--html", "/proc/audit.html"), "cannot be written"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    build(tmp_path / "data", invented(1), times=0)
    (tmp_path / "empty").mkdir()
    done = command.here("audit", *arguments, cwd=tmp_path, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("meldflow: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
