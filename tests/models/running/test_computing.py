"""What networks compute with: what ``auto`` becomes, and that the others agree with torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.registry import build
from meldflow.models.running import computing
from meldflow.models.running.computing import (
    BACKENDS,
    PRECISIONS,
    Computing,
    choose,
    cpu_precisions,
)
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing
from tests.models.inputs import film, media, speech

NETWORKS = {"audio/wav2vec2": "frames", "video/resnet50": "features"}
"""Extractor → its array of feature rows."""

BF16 = Computing(backend="openvino", precision="bf16")


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with these flags of its processor, with OpenVINO or without."""

    def pretend(*flags: str, openvino: bool = True) -> None:
        monkeypatch.setattr(computing, "cpu_says", lambda _: " ".join(flags))
        monkeypatch.setattr(computing, "openvino_installed", lambda: openvino)

    return pretend


@pytest.mark.parametrize(
    ("flags", "openvino", "device", "wanted", "expected"),
    [
        ((), True, "cpu", ("auto", "auto"), ("openvino", "fp32")),
        (("amx_bf16",), True, "cpu", ("auto", "auto"), ("openvino", "bf16")),
        (("avx512_bf16",), False, "cpu", ("auto", "auto"), ("torch", "bf16")),
        ((), False, "cpu", ("auto", "auto"), ("torch", "fp32")),
        (("amx_bf16",), True, "cuda", ("auto", "auto"), ("torch", "fp32")),
        (("amx_bf16",), True, "cpu", ("torch", "auto"), ("torch", "bf16")),
        (("amx_bf16",), True, "cpu", ("auto", "fp32"), ("openvino", "fp32")),
        ((), True, "cpu", ("torch", "bf16"), ("torch", "bf16")),
        ((), True, "cpu", ("auto", "fp16"), ("torch", "fp16")),
        (("avx512_fp16",), True, "cpu", ("auto", "fp16"), ("openvino", "fp16")),
    ],
)
def test_auto_is_the_best_that_the_machine_has(
    processor: Any,
    flags: tuple[str, ...],
    openvino: bool,
    device: str,
    wanted: tuple[str, str],
    expected: tuple[str, str],
) -> None:
    processor(*flags, openvino=openvino)
    found = choose(*wanted, device, None)
    assert (found.backend, found.precision) == expected


def test_auto_keeps_what_the_store_has(processor: Any) -> None:
    processor("amx_bf16")
    had = Computing(backend="torch", precision="fp32")
    assert choose("auto", "auto", "cpu", had) == had
    assert choose("torch", "auto", "cpu", had) == had
    assert choose("openvino", "auto", "cpu", had) == BF16
    assert choose("auto", "bf16", "cpu", had) == BF16


@pytest.mark.parametrize(
    ("flags", "openvino", "device", "why"),
    [
        ((), True, "cpu", "no instructions for bf16"),
        (("amx_bf16",), False, "cpu", r"meldflow\[openvino\]"),
        (("amx_bf16",), True, "cuda", "runs on CPUs"),
    ],
)
def test_what_cannot_be_had_is_said_and_never_replaced(
    processor: Any, flags: tuple[str, ...], openvino: bool, device: str, why: str
) -> None:
    processor(*flags, openvino=openvino)
    with pytest.raises(UsageError, match=f"that are there were computed by openvino.*{why}.*anew"):
        choose("auto", "auto", device, BF16)
    with pytest.raises(UsageError, match=f"openvino in bf16.*{why}.*choose another"):
        choose("openvino", "bf16", device, None)


@pytest.mark.parametrize(("backend", "precision"), [("tensorrt", "fp32"), ("torch", "int8")])
def test_unknown_names(backend: str, precision: str) -> None:
    with pytest.raises(UsageError, match="is none of"):
        choose(backend, precision, "cpu", None)


def test_what_a_key_names_is_found_again() -> None:
    for one in (Computing(), BF16):
        assert Computing.of(one.parameters) == one
    assert Computing.of({}) is None
    assert Computing.of({"backend": "abacus", "precision": "fp32"}) is None


@pytest.mark.parametrize("name", NETWORKS)
def test_backend_and_precision_are_part_of_the_key(name: str) -> None:
    (extractor,) = build([name], {}, "random")
    keys = {
        replace(extractor, computing=Computing(backend=backend, precision=precision)).spec.key
        for backend in BACKENDS
        for precision in PRECISIONS
    }
    assert len(keys) == len(BACKENDS) * len(PRECISIONS)


COMBINATIONS = [
    *(Computing(precision=one) for one in PRECISIONS[1:]),
    *(Computing(backend="openvino", precision=one) for one in cpu_precisions()),
]
"""All that runs here, but for the reference; torch in bf16 and fp16 runs anywhere, if slowly."""


@pytest.mark.parametrize("other", COMBINATIONS, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_feature_row_agrees_with_torch_in_fp32(name: str, other: Computing) -> None:
    (extractor,) = build([name], {}, "random")
    expected, found = (
        _rows(replace(extractor, computing=one).setup(), NETWORKS[name])
        for one in (Computing(), other)
    )
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    assert ((expected * found).sum(1) / norms).min() >= 0.999
    if other.precision == "fp32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def _rows(ready: Extractor, array: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    clips = [media(speech(9000, 1), film(3, seed=1)), media(speech(20000, 2), film(2, seed=2))]
    records = [one for one in ready.encode(clips) if not isinstance(one, Missing)]
    rows = np.concatenate([one[array] for one in records]).astype(np.float64)
    return rows[np.isfinite(rows).all(1)]


def test_openvino_reports_to_nobody() -> None:
    """Its package would at every import, and wait for the network."""
    code = (
        "import sys; from models.running.backends import silent_openvino; silent_openvino();"
        "print(any(one.startswith('openvino_telemetry.') for one in sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "False"


def test_a_full_disk_is_one_line_with_what_to_do() -> None:
    program = (
        "import resource\n"
        "from dataclasses import replace\n"
        "from meldflow.models.running.computing import Computing\n"
        "from meldflow.models.extractors.registry import build\n"
        "from meldflow.models.schema.errors import RunError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "(one,) = build(['video/resnet50'], {}, 'random')\n"
        "computing = Computing(backend='openvino', precision='fp32')\n"
        "try:\n"
        "    replace(one, computing=computing).setup('cpu')\n"
        "except RunError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=-1, text=True)
    assert "cannot be written there" in done.stdout
    assert "TMPDIR" in done.stdout
