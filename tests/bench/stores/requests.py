"""What the operations of a store ask of a bucket: requests by method, counted on their way.

``python -m tests.bench.stores.requests 2000 6000`` prints them for stores of these sizes, as JSON:
moto's server answers, a proxy before it counts. Partitions have 64 utterances, as by default, and
extractors the arrays of the real four.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from meldflow.models.schema.features import FeatureSpec, Weights
from meldflow.models.schema.media import AudioFacts, Modality, VideoFacts
from meldflow.storage import open_store
from meldflow.storage.format.clip_facts import Facts
from meldflow.storage.reading.plan import preview
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import Run, open_run
from tests.bench.scaling.noop import NOTHING, Descriptors, Pictures, Sound
from tests.bench.stores.growth import corpus
from tests.proxy import Proxy
from tests.storage.kinds import BUCKET, s3_server

PARTITION = 64
APPENDED = 64

_REQUEST = re.compile(rb"^(GET|PUT|POST|HEAD|DELETE) ")


_HEARD = {Sound: Modality.AUDIO, Descriptors: Modality.AUDIO, Pictures: Modality.VIDEO}
_FACTS: dict[Modality, Facts] = {Modality.AUDIO: AudioFacts(), Modality.VIDEO: VideoFacts()}
_MADE = [one(weights=Weights(kind="none", revision="none")) for one in NOTHING]
SPECS: list[FeatureSpec] = [
    replace(one.spec, modality=_HEARD.get(type(one), Modality.TEXT)) for one in _MADE
]
_SHAPES = {spec.name: one.load("cpu")[0] for spec, one in zip(SPECS, _MADE, strict=True)}


def _result(spec: FeatureSpec, rng: np.random.Generator) -> Result:
    """Numbers that do not compress: Icechunk keeps what is small in its manifests."""
    record = {
        name: (rng.random(like.shape) * 1000).astype(like.dtype)
        for name, like in _SHAPES[spec.name].items()
    }
    return Result(record=record, seconds=0.0, facts=_FACTS.get(spec.modality))


def _fill(run: Run) -> None:
    rng, size = np.random.default_rng(0), run.partition
    for part in run.plan().partitions:
        found = {
            spec.name: {row: _result(spec, rng) for row in part.rows[spec.name].tolist()}
            for spec in SPECS
            if spec.name in part.rows
        }
        run.merge(write_partition(run.fork(), part.partition, found, SPECS, partition_size=size))


class Asked:
    """Requests that came by."""

    def __init__(self) -> None:
        self._lock, self._seen = threading.Lock(), Counter[str]()

    def edit(self, content: bytes) -> bytes:
        """Counts what begins a request, and leaves it as it is."""
        if match := _REQUEST.match(content):
            with self._lock:
                self._seen[match[1].decode()] += 1
        return content

    def by(self, act: Callable[[], object]) -> dict[str, int]:
        """Method → requests while ``act`` runs."""
        self._seen.clear()
        act()
        return dict(sorted(self._seen.items()))


@contextmanager
def counted() -> Iterator[Asked]:
    """A bucket, and what is asked of it."""
    with s3_server() as address:
        asked, network = Asked(), Proxy(int(address.rpartition(":")[2]))
        network.edit = asked.edit
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{network.port}"
        try:
            yield asked
        finally:
            network.close()


def measure(n: int) -> dict[str, dict[str, int]]:
    """Operation → method → requests, for a store of ``n`` utterances."""
    url = f"s3://{BUCKET}/store-{n}"

    def run(size: int, fills: bool = True) -> None:
        with open_run(url, SPECS, partition=PARTITION) as run:
            run.sync(corpus(size))
            if fills:
                _fill(run)
            run.publish()

    with counted() as asked:
        return {
            "catalogue": asked.by(lambda: run(n, fills=False)),
            "extract all": asked.by(lambda: run(n)),
            "plan, nothing stale": asked.by(lambda: preview(url, SPECS, corpus(n))),
            "run, nothing stale": asked.by(lambda: run(n)),
            f"run, {APPENDED} appended": asked.by(lambda: run(n + APPENDED)),
            "status": asked.by(lambda: open_store(url).counts()),
        }


if __name__ == "__main__":
    print(json.dumps({n: measure(int(n)) for n in sys.argv[1:]}, indent=1))
