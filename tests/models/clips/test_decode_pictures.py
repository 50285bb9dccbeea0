"""The pictures of a clip: which are chosen, and that they look as a player shows them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import entropy as scipy_entropy
from torchvision.transforms import Resize

from meldflow.models.clips.keyframes import scaled_size
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.clips.pixels import entropy, luma
from tests.media import Film, Track, noise, write
from tests.models.clips.decoding import MONO, facts, gray_frames, in_float, pictures, reasons

RGB = {"red": (200, 60, 30), "green": (40, 180, 60), "blue": (50, 70, 190), "gray": (128, 128, 128)}


def test_the_ten_of_highest_entropy_in_time_order(tmp_path: Path) -> None:
    levels = [2, 150, 4, 150, 8, 150, 150, 150, 150, 150, 16, 150, 150, 150, 3, 5, 9]
    film = Film(frames=noise(17, levels=levels), codec="ffv1", pixels="gray")
    video = pictures(write(tmp_path / "a.mkv", [film]))
    assert video.index.tolist() == [1, 3, 5, 6, 7, 8, 9, 11, 12, 13]
    np.testing.assert_allclose(video.timestamp, video.index / 25, atol=1e-3)
    assert video.n_frames == 17
    assert video.frames.shape == (10, 256, 341, 3)
    assert video.frames.dtype == np.uint8
    assert video.index.dtype == np.int32


def test_equal_frames_give_the_earlier(tmp_path: Path) -> None:
    frame = noise(1)
    film = Film(frames=np.repeat(frame, 15, axis=0), codec="ffv1", pixels="gray")
    assert pictures(write(tmp_path / "a.mkv", [film])).index.tolist() == list(range(10))


@pytest.mark.parametrize("width", [64, 66, 50, 130])
def test_entropy_is_that_of_the_picture_without_padding(tmp_path: Path, width: int) -> None:
    frames = noise(3, 50, width, levels=[20, 90, 200])
    film = Film(frames=frames, codec="ffv1", pixels="gray")
    video = pictures(write(tmp_path / "a.mkv", [film]))
    for frame, found in zip(frames, video.entropy, strict=True):
        counts = np.bincount(frame[..., 0].ravel(), minlength=256)
        assert found == pytest.approx(scipy_entropy(counts, base=2), abs=1e-5)


def test_luma_plane_of_yuv_is_scored_directly(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(4, 50, 66))])
    with av.open(str(path)) as container:
        planes = [one.to_ndarray()[:50, :66] for one in container.decode(video=0)]
    expected = [scipy_entropy(np.bincount(one.ravel()), base=2) for one in planes]
    np.testing.assert_allclose(pictures(path).entropy, expected, atol=1e-5)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "rgb24"])
def test_pixel_formats(tmp_path: Path, pixels: str) -> None:
    frames = noise(2)
    name, codec = ("a.mov", "png") if pixels == "rgb24" else ("a.mkv", "ffv1")
    video = pictures(write(tmp_path / name, [Film(frames=frames, codec=codec, pixels=pixels)]))
    size = scaled_size(64, 48, 256)
    expected = np.asarray(Image.fromarray(frames[0]).resize(size, Image.Resampling.BILINEAR))
    assert np.abs(video.frames[0].astype(int) - expected).max() <= 4


def test_entropy_bounds() -> None:
    assert entropy(np.full((8, 8), 7, np.uint8)) == 0
    assert entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 66), (300, 500), (257, 600)])
def test_scaled_like_torchvision(tmp_path: Path, shape: tuple[int, int]) -> None:
    frames = noise(1, *shape)
    film = Film(frames=frames, codec="png", pixels="rgb24")
    video = pictures(write(tmp_path / "a.mov", [film]))
    expected = np.asarray(Resize(256)(Image.fromarray(frames[0]))).astype(int)
    assert video.frames[0].shape == expected.shape
    assert np.abs(video.frames[0] - expected).max() <= 2  # both round between two passes


@pytest.mark.parametrize(
    ("rotation", "where"), [(0, "left"), (90, "bottom"), (180, "right"), (-90, "top")]
)
def test_rotated_upright(tmp_path: Path, rotation: int, where: str) -> None:
    gray = np.full((48, 96), 30, np.uint8)
    gray[:, :48] = 220
    film = Film(frames=gray_frames([gray] * 2), rotation=rotation)
    frame = pictures(write(tmp_path / "a.mp4", [film])).frames[0, ..., 0].astype(int)
    height, width = frame.shape
    assert (height, width) == ((512, 256) if rotation in (90, -90) else (256, 512))
    halves = {
        "left": frame[:, : width // 4],
        "right": frame[:, -width // 4 :],
        "top": frame[: height // 4],
        "bottom": frame[-height // 4 :],
    }
    assert max(halves, key=lambda name: halves[name].mean()) == where


@pytest.mark.parametrize(("rotation", "shape"), [(0, (256, 512)), (90, (512, 256))])
def test_pixels_become_square(tmp_path: Path, rotation: int, shape: tuple[int, int]) -> None:
    film = Film(frames=noise(2, 64, 64), aspect=Fraction(2), rotation=rotation)
    assert pictures(write(tmp_path / "a.mp4", [film])).frames.shape[1:3] == shape


def test_colours(tmp_path: Path) -> None:
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    frames[:] = (200, 60, 30)
    film = Film(frames=frames, codec="ffv1", pixels="yuv444p")
    pixel = pictures(write(tmp_path / "a.mkv", [film])).frames[0, 100, 100]
    np.testing.assert_allclose(pixel, (200, 60, 30), atol=4)


def test_the_larger_stream_is_used(tmp_path: Path) -> None:
    streams: list[Film | Track] = [Film(frames=noise(4)), Film(frames=noise(6, 96, 96))]
    video = pictures(write(tmp_path / "a.mp4", streams))
    assert (video.n_frames, video.frames.shape[1:3]) == (6, (256, 256))


def test_fewer_than_ten(tmp_path: Path) -> None:
    video = pictures(write(tmp_path / "a.mp4", [Film(frames=noise(1))]))
    assert video.index.tolist() == [0]
    assert video.frames.shape == (1, 256, 341, 3)


def test_options_choose_count_and_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(6))])
    video = pictures(path, DecodeOptions(frames=4, short_side=128))
    assert video.frames.shape == (4, 128, 170, 3)


def coloured(colour: tuple[int, int, int], height: int = 48) -> NDArray[np.uint8]:
    frames = np.zeros((2, height, 64, 3), np.uint8)
    frames[:] = colour
    return frames


@pytest.mark.parametrize("colour", RGB)
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_by_the_matrix_and_range_that_the_stream_names(
    tmp_path: Path, colour: str, matrix: str, full_range: bool
) -> None:
    film = Film(frames=coloured(RGB[colour]), matrix=matrix, full_range=full_range)
    pixel = pictures(write(tmp_path / "a.mp4", [film])).frames[0, 100, 100]
    np.testing.assert_allclose(pixel, RGB[colour], atol=4)


@pytest.mark.parametrize(("height", "matrix"), [(576, "bt601"), (578, "bt709")])
def test_colours_of_a_stream_that_names_no_matrix(tmp_path: Path, height: int, matrix: str) -> None:
    # FFV1 in AVI keeps no matrix, so that the pixels alone tell which one they were made by.
    film = Film(frames=coloured(RGB["red"], height), matrix=matrix, codec="ffv1", pixels="yuv444p")
    path = write(tmp_path / "a.avi", [film])
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.colorspace not in (1, 5)
    np.testing.assert_allclose(pictures(path).frames[0, 100, 100], RGB["red"], atol=4)


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p10le", "yuv444p10le"])
def test_ten_bits_look_and_score_like_eight(tmp_path: Path, codec: str, pixels: str) -> None:
    frames = noise(2, levels=[40, 40])
    deep = Film(frames=frames, codec=codec, pixels=pixels)
    plain = Film(frames=frames, codec="ffv1", pixels=pixels.removesuffix("10le"))
    found = pictures(write(tmp_path / "deep.mkv", [deep]))
    expected = pictures(write(tmp_path / "plain.mkv", [plain]))
    assert facts(tmp_path / "deep.mkv")[1].pixel_format == pixels
    assert np.abs(found.frames.astype(int) - expected.frames).mean() < 3
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=0.35)


def test_of_deep_luma_the_upper_eight_bits_are_scored(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [Film(frames=noise(1), codec="ffv1", pixels="yuv420p10le")])
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        plane = np.frombuffer(bytes(frame.planes[0]), "<u2").reshape(frame.height, -1)[
            :, : frame.width
        ]
    np.testing.assert_array_equal(luma(frame), plane >> 2)


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 520, 1500, 1501, 2000]
    levels = [9, 9, 150, 9, 9, 150, 9, 150]
    film = Film(frames=noise(8, levels=levels), times=times)
    video = pictures(write(tmp_path / "a.mkv", [film]), DecodeOptions(frames=3))
    assert video.index.tolist() == [2, 5, 7]
    np.testing.assert_allclose(video.timestamp, [0.08, 1.5, 2.0], atol=2e-3)
    np.testing.assert_allclose(video.curve_timestamp, np.array(times) / 1000, atol=2e-3)


@pytest.mark.parametrize(
    ("flips", "rotation", "dark"),
    [
        ((False, False), 0, (0, 0)),
        ((True, False), 0, (0, -1)),
        ((False, True), 0, (-1, 0)),
        ((True, False), 90, (-1, -1)),
        ((True, False), -90, (0, 0)),
    ],
)
def test_mirrored_as_a_player_shows_it(
    tmp_path: Path, flips: tuple[bool, bool], rotation: int, dark: tuple[int, int]
) -> None:
    gray = np.full((64, 96), 220, np.uint8)
    gray[:32, :48] = 20  # the upper left quarter
    film = Film(frames=gray_frames([gray] * 2), flips=flips, rotation=rotation)
    path = write(tmp_path / "a.mp4", [film])
    frame = pictures(path).frames[0, ..., 0].astype(int)
    corners = {(y, x): frame[y, x] for y in (0, -1) for x in (0, -1)}
    assert min(corners, key=corners.__getitem__) == dark
    if any(flips):
        assert facts(path)[1].mirrored


@pytest.mark.parametrize(("fields", "earlier"), [("tff", 60), ("bff", 190)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mpg"])
def test_of_two_fields_the_earlier_is_seen_and_no_comb(
    tmp_path: Path, name: str, fields: str, earlier: int
) -> None:
    gray = np.full((96, 128), 60, np.uint8)
    gray[1::2] = 190  # what the other field saw, a 50th of a second before or after
    codec = "libx264" if name == "a.mp4" else "mpeg2video"
    film = Film(frames=gray_frames([gray] * 3), fields=fields, codec=codec)
    path = write(tmp_path / name, [film])
    assert facts(path)[1].interlaced
    frame = pictures(path).frames[0, ..., 0].astype(int)
    assert np.abs(np.diff(frame, axis=0)).max() <= 8  # a comb would differ by 130
    assert frame.mean() == pytest.approx(earlier, abs=8)


def test_frames_of_the_real_clip_are_those_that_pyav_decodes(clip: Callable[[str], Path]) -> None:
    path = clip("torchcodec__nasa_13013.mp4")
    video = pictures(path)
    with av.open(str(path)) as container:
        first, *_ = container.streams.video
        stream = max(container.streams.video, key=lambda one: one.width * one.height)
        assert stream.index != first.index
        frames = list(container.decode(stream))
        bits = [
            scipy_entropy(np.bincount(one.to_ndarray()[: one.height].ravel()), base=2)
            for one in frames
        ]
    best = sorted(sorted(range(len(bits)), key=lambda n: (-round(bits[n], 9), n))[:10])
    assert video.n_frames == len(frames) == 390
    assert video.index.tolist() == best
    np.testing.assert_allclose(video.curve_entropy, bits, atol=1e-5)
    times = [frames[number].time - frames[0].time for number in best]
    np.testing.assert_allclose(video.timestamp, times, atol=1e-6)
    for kept, number in zip(video.frames, best, strict=True):
        off = kept - in_float(frames[number], kept.shape[:2])
        # Theirs sees the colours a quarter of a pixel further left, as MPEG-2 places them.
        assert np.abs(off).mean() < 2.0, f"frame {number}"
        assert np.abs(off.mean(axis=(0, 1))).max() < 0.05, f"frame {number}"


def test_sizes_that_change_half_way_take_that_of_the_first(tmp_path: Path) -> None:
    parts = [
        write(tmp_path / f"{height}.ts", [Film(frames=noise(4, height, 96), codec="mpeg2video")])
        for height in (64, 96)
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    video = pictures(tmp_path / "a.ts")
    assert video.frames.shape[1:3] == (256, 384)


def test_entropy_knows_its_answer(tmp_path: Path) -> None:
    """The n-th frame has 2ⁿ gray values, each as often: n bits."""
    values = [
        np.tile(np.arange(2**n, dtype=np.uint8), 2 ** (12 - n)).reshape(64, 64) for n in range(9)
    ]
    film = Film(frames=gray_frames(values), codec="ffv1", pixels="gray")
    video = pictures(write(tmp_path / "a.mkv", [film]))
    np.testing.assert_allclose(video.curve_entropy, range(9), atol=1e-6)


def test_cover_art_beside_a_film_is_not_chosen(tmp_path: Path) -> None:
    cover = Film(frames=noise(1, 480, 640), codec="png", pixels="rgb24", cover=True)
    path = write(tmp_path / "a.mp4", [cover, Film(frames=noise(5)), Track(samples=MONO)])
    assert pictures(path).n_frames == 5
    assert reasons(path) == ("", "")
