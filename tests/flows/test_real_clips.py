"""The main job on real clips, as a user runs it, checked row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meldflow.models.extractors import entries
from meldflow.models.schema.media import Modality
from meldflow.storage import Snapshot, open_store
from tests.flows import command
from tests.flows.real import RealClip, build_tree, utterance_ids
from tests.flows.servers import Workers


@pytest.fixture(scope="module")
def job(
    api: str, workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder of a finished `meldflow pipeline`, and what it printed."""
    folder = tmp_path_factory.mktemp("real")
    build_tree(folder / "MELD.Raw")
    # tests/tasks/training/test_tracking.py has MLflow, which costs seconds.
    training = ("--epochs", "2", "--seeds", "1", "--no-ablations", "--tracking", "none")
    options = ("--store", "store", "--report", "report", "--partition", "8", *training)
    done = command.run(
        "pipeline",
        "MELD.Raw",
        *options,
        *command.RANDOM,
        "--max-failure-rate",
        "1",
        "--cluster",
        workers.profile,
        "--json",
        cwd=folder,
        api=api,
    )
    assert "Traceback" not in done.stderr
    return folder, json.loads(done.stdout)


@pytest.fixture(scope="module")
def snapshot(job: tuple[Path, dict[str, Any]]) -> Snapshot:
    return open_store(str(job[0] / "store"))


def expected_reason(clip: RealClip, modality: Modality) -> str:
    return {Modality.AUDIO: clip.audio, Modality.VIDEO: clip.video, Modality.TEXT: ""}[modality]


def test_every_utterance_is_there_and_ends_as_it_should(snapshot: Snapshot) -> None:
    ids = utterance_ids()
    assert len(snapshot.rows()) == len(ids)
    for extractor in snapshot.extractors:
        state = snapshot.state(extractor)
        modality = Modality(snapshot.attributes(extractor)["modality"])
        found = {name: state["reason"][snapshot.row(name)] for name in ids}
        assert found == {name: expected_reason(clip, modality) for name, clip in ids.items()}


@pytest.mark.parametrize("extractor", entries.EXTRACTORS)
def test_good_clips_have_finite_features_of_the_declared_shapes(
    snapshot: Snapshot, extractor: str
) -> None:
    attributes = snapshot.attributes(extractor)
    ok = np.flatnonzero(snapshot.state(extractor)["status"] == 1).tolist()
    for array in attributes["arrays"]:
        shape = tuple(array["shape"])
        if array["rate"] is None:
            values, mask = snapshot.features(extractor, array["name"])
            assert values.shape == (len(mask), *shape)
            present, absent = values[mask], values[~mask]
        else:
            frames = dict(snapshot.iter_frames(extractor, array["name"]))
            assert all(len(frames[row]) > 0 for row in ok)
            present = np.concatenate([frames[row] for row in ok])
            absent = np.concatenate([frames[row] for row in frames if row not in ok])
            assert present.shape[1:] == shape
            assert len(absent) == 0
        assert present.dtype == array["dtype"]
        assert array["may_be_nan"] or np.isfinite(present).all()
        assert not (absent.dtype.kind == "f" and np.isfinite(absent).any())


def test_rows_of_different_clips_differ(snapshot: Snapshot) -> None:
    means, mask = snapshot.features("audio/wav2vec2", "mean")
    distinct = np.unique(means[mask], axis=0)
    assert len(distinct) == mask.sum()


def test_the_command_says_what_failed_and_that_weights_are_random(
    job: tuple[Path, dict[str, Any]],
) -> None:
    folder, printed = job
    failures = {one["extractor"]: one for one in printed["extract"]["failures"]}
    expected = [clip.video for clip in utterance_ids().values() if clip.video]
    assert failures["video/resnet50"]["failed"] == len(expected)
    assert set(failures["video/resnet50"]["reasons"]) == set(expected)
    assert printed["extract"]["random_weights"] == ["audio/wav2vec2", "video/resnet50"]
    assert printed["train"]["snapshot"] == printed["extract"]["snapshot"]
    page = (folder / "report" / "index.html").read_text()
    assert "random weights" in page.lower()


def test_failures_lists_every_reason(job: tuple[Path, dict[str, Any]]) -> None:
    listed = json.loads(command.here("failures", "store", "--json", cwd=job[0]).stdout)
    audio = {
        one["id"]: one["reason"]
        for one in listed["failures"]
        if one["extractor"] == "audio/wav2vec2"
    }
    assert audio == {name: clip.audio for name, clip in utterance_ids().items() if clip.audio}


def test_a_second_extraction_does_no_work_and_says_so(job: tuple[Path, dict[str, Any]]) -> None:
    arguments = ("extract", "MELD.Raw", "--store", "store", *command.RANDOM)
    before = open_store(str(job[0] / "store")).id
    done = command.run(*arguments, cwd=job[0])
    assert "nothing to do" in done.stdout
    assert open_store(str(job[0] / "store")).id == before
