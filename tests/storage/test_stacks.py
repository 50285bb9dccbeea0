"""A store that the older zarr and Icechunk wrote is read and written on by the newer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from meldflow.storage import open_store
from meldflow.storage.writing.transaction import open_run
from tests.paths import ROOT
from tests.storage.corpus import corpus, extract_all, voice_spec, words_spec

NEWER = os.environ.get("MELDFLOW_NEWER_PYTHON", "")
"""An interpreter with the newer packages; `make test-newer` makes one."""
SPECS = (voice_spec(), words_spec())

GO_ON = """
import sys
import numpy as np
from meldflow.storage import history, open_store
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import corpus, expected, extract_all, voice_spec, words_spec

specs, url = (voice_spec(), words_spec()), sys.argv[1]
for n in (9, 12):
    snapshot = open_store(url)
    for one in corpus(n):
        found = snapshot.frames("audio/voice", "frames", one.id)
        np.testing.assert_array_equal(found, expected(specs[0], one)["frames"])
    with open_run(url, specs, partition=4) as run:
        assert run.resumed == (n == 9)
        assert extract_all(run, corpus(12), specs) == (2 if n == 9 else 0)
        run.publish()
summaries = [one.summary[:5] for one in history.log(url)]
assert summaries == ["3 new", "9 new", "creat"], summaries
"""


@pytest.mark.skipif(not NEWER, reason="MELDFLOW_NEWER_PYTHON is not set: see make test-newer")
def test_a_store_goes_on_with_the_newer_packages(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    with open_run(url, SPECS, partition=4) as run:
        extract_all(run, corpus(9), SPECS)
        run.publish()
    with open_run(url, SPECS, partition=4) as run:  # and dies, with some of it done
        extract_all(run, corpus(11), SPECS)
        run.commit()
    root = ROOT
    subprocess.run([NEWER, "-c", GO_ON, url], check=True, cwd=root)
    assert len(open_store(url).rows()) == 12  # and back
