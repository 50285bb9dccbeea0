"""Damaged clips through the real decoding: each ends as data or as a reason."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.registry import build
from meldflow.models.schema.media import Audio, Decoded, Media, Missing, Probe, Reason, Video
from meldflow.tasks.isolated.decoder import Decoder
from tests.tasks.isolated.mutations import CHANGES, Mutant, Seeds, mutant, whole_clips

FEW, MANY = 200, 2000
"""Damaged clips that are decoded: at each call of the tests, and by the slow ones."""
N_PROBED = 200
WARM = 150
"""Clips until every container, codec and code path has been loaded once."""
GROWTH = 48 * 2**20
"""Bytes by which either process may be larger after the rest: with many, a leak of 32 KiB per clip
shows."""
OPTIONS = DecodeOptions(short_side=64, max_seconds=20)
"""Small pictures and short sound, because many clips have to fit into a test."""
OURS = {Reason.CRASHED, Reason.TIMEOUT}
"""No damage found so far kills FFmpeg, hangs it or confuses our own code."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return whole_clips(tmp_path_factory.mktemp("seeds"))


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder(timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def descriptors() -> Extractor:
    return build(["audio/librosa"], {})[0].setup("cpu")


def test_undamaged_the_clips_are_whole(seeds: Seeds, decoder: Decoder, tmp_path: Path) -> None:
    for name, data in seeds.items():
        (tmp_path / name).write_bytes(data)
        given = decoder.decode(str(tmp_path / name), OPTIONS, audio=True, video=True)
        usable = [one for one in (given.audio, given.video) if not isinstance(one, Missing)]
        assert usable or name.startswith("mp4parse-rust"), given


def test_a_number_names_a_mutation(seeds: Seeds, tmp_path: Path) -> None:
    again = whole_clips(tmp_path)
    assert [mutant(n, again) for n in range(100)] == [mutant(n, seeds) for n in range(100)]
    assert {mutant(n, seeds).change for n in range(100)} == set(CHANGES)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("clips", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_every_damaged_clip_ends_as_data_or_as_a_reason(
    seeds: Seeds, decoder: Decoder, descriptors: Extractor, tmp_path: Path, clips: int
) -> None:
    ends: Counter[str] = Counter()
    sizes: list[dict[str, int]] = []
    for number in range(clips):
        one = mutant(number, seeds)
        path = tmp_path / f"mutant{number}"
        path.write_bytes(one.data)
        given = decoder.decode(str(path), OPTIONS, audio=True, video=True)
        ends.update(ended(one, path, given, descriptors))
        path.unlink()  # one that failed stays, with its number
        if number + 1 in (WARM, clips):
            sizes.append(size_of(decoder))
    warm, end = sizes
    assert decoder.restarts == 0
    assert end["descriptors"] <= warm["descriptors"]
    assert end["own descriptors"] <= warm["own descriptors"]
    assert end["bytes"] - warm["bytes"] < GROWTH
    if clips == MANY:  # fewer say nothing of a process that has run other tests before
        assert end["own bytes"] - warm["own bytes"] < GROWTH
    assert (
        min(ends["sound"], ends["pictures"], ends["decode_error"], ends["unreadable"]) > clips // 40
    )


def test_headers_of_damaged_clips(seeds: Seeds, decoder: Decoder, tmp_path: Path) -> None:
    for number in range(MANY, MANY + N_PROBED):
        one = mutant(number, seeds)
        path = tmp_path / f"mutant{number}"
        path.write_bytes(one.data)
        found = decoder.probe(str(path))
        if isinstance(found, Missing):
            assert found.reason is Reason.UNREADABLE, f"{one}: {found}"
        else:
            assert isinstance(found, Probe)
            assert found.container, str(one)
        path.unlink()
    assert decoder.restarts == 0


def ended(one: Mutant, path: Path, given: Decoded, extractor: Extractor) -> list[str]:
    """How sound and pictures ended, after a look at what there is of them."""
    try:
        return [sound_end(given.audio, extractor), pictures_end(given.video)]
    except AssertionError as error:
        raise AssertionError(f"{one}, kept at {path}") from error


def sound_end(sound: Audio | Missing, extractor: Extractor) -> str:
    if isinstance(sound, Missing):
        return reason(sound)
    assert sound.samples.dtype == np.float32
    assert 0 < sound.samples.size <= (OPTIONS.max_seconds + 1) * OPTIONS.sample_rate
    assert np.isfinite(sound.samples).all()
    nothing = Missing(reason=Reason.NO_VIDEO)
    (record,) = extractor.extract([Media(audio=sound, video=nothing, text=nothing)])
    if isinstance(record, Missing):
        return reason(record)
    assert np.isfinite(record["frames"][:, :25]).all()
    return "sound"


def pictures_end(pictures: Video | Missing) -> str:
    if isinstance(pictures, Missing):
        return reason(pictures)
    n = len(pictures.index)
    assert 0 < n <= min(OPTIONS.frames, pictures.n_frames)
    assert pictures.frames.dtype == np.uint8
    assert pictures.frames.shape[0] == n
    assert pictures.frames.shape[3] == 3
    assert min(pictures.frames.shape[1:3]) == OPTIONS.short_side
    assert (np.diff(pictures.index) > 0).all()
    assert 0 <= pictures.index[0] <= pictures.index[-1] < pictures.n_frames
    assert np.isfinite(pictures.timestamp).all()
    assert ((pictures.entropy >= 0) & (pictures.entropy <= 8)).all()
    return "pictures"


def reason(missing: Missing) -> str:
    assert isinstance(missing.reason, Reason)
    assert missing.reason not in OURS, missing.message
    return missing.reason.value


def size_of(decoder: Decoder) -> dict[str, int]:
    """Memory and open files of the decoder's process and of our own."""
    gc.collect()
    child, own = psutil.Process(decoder.pid), psutil.Process()
    return {
        "bytes": child.memory_info().rss,
        "descriptors": child.num_fds(),
        "own bytes": own.memory_info().rss,
        "own descriptors": own.num_fds(),
    }
