"""Videos in: movies, stacks and folders, one frame at a time; what they say of time and scale; and bad input."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

import lisa_micro as lm
from lisa_micro.io import LabelStack, LabelStackWriter, read_video
from lisa_micro.io.times import in_seconds
from lisa_micro.io.video import natural_key
from lisa_micro.sim import simulate_sintering, write_video
from lisa_micro.types import InputError

av = pytest.importorskip("av")
rng = np.random.default_rng(5)
STACK = rng.integers(0, 255, (7, 48, 64), dtype=np.uint8)


def movie(path, codec: str, pixels: str, frames=STACK, rate: int = 5, **options) -> None:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())


# ------------------------------------------------------------------------------------------------ movies


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "loss"),
    [("a.avi", "ffv1", "gray", 0), ("a.mp4", "mpeg4", "yuv420p", 40), ("a.mov", "mjpeg", "yuvj420p", 40)],
)
def test_movie(tmp_path, name, codec, pixels, loss):
    movie(tmp_path / name, codec, pixels)
    video = read_video(tmp_path / name)
    frames = list(video)
    assert len(video) == len(frames) == 7
    assert video.shape == frames[0].shape == (48, 64)
    assert frames[0].dtype == np.float32
    assert np.abs(np.stack(frames) - STACK).mean() <= loss
    assert video.frame_time_s == pytest.approx(0.2)
    assert video.facts.frame_time_origin == "movie"
    assert any("playback" in note for note in video.notes)
    assert video.pixel_size_nm is None
    assert len(list(video)) == 7  # from its beginning again


def test_what_the_user_says_goes_first(tmp_path):
    movie(tmp_path / "a.avi", "ffv1", "gray")
    video = lm.read_video(tmp_path / "a.avi", pixel_size_nm=0.3, frame_time_s=12)
    assert (video.pixel_size_nm, video.frame_time_s) == (0.3, 12)
    assert video.facts.pixel_size_origin == video.facts.frame_time_origin == "user"
    assert not any("playback" in note for note in video.notes)
    assert next(iter(video.micrographs())).pixel_size_nm == 0.3


def test_movie_of_more_than_8_bits(tmp_path):
    deep = rng.integers(0, 60_000, (3, 16, 24)).astype(np.uint16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "gray16le"
        for frame in deep:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(np.stack(list(read_video(tmp_path / "a.mkv"))), deep)


@pytest.mark.parametrize("share", [0.45, 0.75])
def test_movie_cut_short_gives_what_is_there(tmp_path, share):
    movie(tmp_path / "a.avi", "ffv1", "gray")
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "b.avi").write_bytes(data[: int(len(data) * share)])
    video = read_video(tmp_path / "b.avi")
    frames = list(video)
    assert 1 < len(frames) < 7
    np.testing.assert_array_equal(np.stack(frames), STACK[: len(frames)])
    assert any("cut short" in note and str(len(frames)) in note for note in video.notes)


@pytest.mark.parametrize("name", ["a.mp4", "b.avi", "c.mov"])
def test_files_that_are_no_movies(tmp_path, name):
    movie(tmp_path / "whole.mp4", "mpeg4", "yuv420p")
    data = (tmp_path / "whole.mp4").read_bytes()
    for content in (data[: len(data) // 2], b"not a movie at all" * 20, data[:200]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as error:
            list(read_video(tmp_path / name))
        assert name in str(error.value)
        assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------ stacks


def test_tiff_stack_with_its_calibration(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, imagej=True, resolution=(5, 5), metadata={"unit": "nm", "finterval": 0.25}
    )
    video = read_video(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.stack(list(video)), STACK)
    assert (video.pixel_size_nm, video.facts.pixel_size_origin) == (pytest.approx(0.2), "imagej")
    assert (video.frame_time_s, video.facts.frame_time_origin) == (0.25, "imagej")
    assert video.notes == ()


def test_ome_stack(tmp_path):
    facts = {"axes": "TYX", "PhysicalSizeX": 0.4, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.4}
    facts |= {"PhysicalSizeYUnit": "nm", "TimeIncrement": 40, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=facts, photometric="minisblack")
    video = read_video(tmp_path / "a.ome.tif")
    assert len(list(video)) == 7
    assert video.pixel_size_nm == pytest.approx(0.4)
    assert (video.frame_time_s, video.facts.frame_time_origin) == (pytest.approx(0.04), "ome")


def test_frame_time_of_zero_is_not_used(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"finterval": 0.0})
    video = read_video(tmp_path / "a.tif")
    assert video.frame_time_s is None
    assert any("0 s" in note for note in video.notes)
    assert not read_video(tmp_path / "a.tif", frame_time_s=1).notes


def test_tiff_cut_short(tmp_path):
    big = rng.integers(0, 255, (6, 64, 64), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in big:
            file.write(page, photometric="minisblack", contiguous=False, metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(data[: int(len(data) * 0.7)])
    video = read_video(tmp_path / "b.tif")
    frames = list(video)
    assert 2 <= len(frames) < 6
    np.testing.assert_array_equal(np.stack(frames), big[: len(frames)])


def test_mrc_stack(tmp_path):
    stack = rng.random((4, 9, 11)).astype(np.float32)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stack)
        file.voxel_size = 2.5
    video = read_video(tmp_path / "a.mrc")
    np.testing.assert_array_equal(np.stack(list(video)), stack)
    assert video.pixel_size_nm == pytest.approx(0.25)
    assert video.frame_time_s is None


def test_stack_of_rosettasciio(tmp_path, monkeypatch):
    signal = {
        "data": STACK,
        "axes": [
            {"name": "t", "navigate": True, "scale": 50.0, "units": "ms"},
            {"name": "y", "navigate": False, "scale": 0.3, "units": "nm"},
            {"name": "x", "navigate": False, "scale": 0.3, "units": "nm"},
        ],
        "metadata": {},
    }
    digitalmicrograph = pytest.importorskip("rsciio.digitalmicrograph")
    monkeypatch.setattr(digitalmicrograph, "file_reader", lambda *a, **k: [signal])
    (tmp_path / "a.dm4").write_bytes(b"\0\0\0\4" * 80)
    video = read_video(tmp_path / "a.dm4")
    np.testing.assert_array_equal(np.stack(list(video)), STACK)
    assert video.frame_time_s == pytest.approx(0.05)
    assert video.pixel_size_nm == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [(2, "min", 120), ("5", "ms", 0.005), (1, "nm", None), ("x", "s", None), (-1, "s", None)],
)
def test_seconds(value, unit, seconds):
    assert in_seconds(value, unit) == (None if seconds is None else pytest.approx(seconds))


# ------------------------------------------------------------------------------------------------ folders, memory


def test_folder_in_natural_order(tmp_path):
    for k in (10, 2, 1):
        Image.fromarray(np.full((6, 8), k, np.uint8)).save(tmp_path / f"frame{k}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_text("no frame")
    video = read_video(tmp_path)
    assert [int(frame[0, 0]) for frame in video] == [1, 2, 10]
    assert len(video) == 3
    assert natural_key("a2b") < natural_key("a10b") < natural_key("b1b")


def test_frames_of_another_size_end_the_video(tmp_path):
    for k, width in enumerate((8, 8, 9, 8)):
        Image.fromarray(np.full((6, width), k, np.uint8)).save(tmp_path / f"{k}.png")
    video = read_video(tmp_path)
    assert len(list(video)) == 2
    assert any("Frame 2 is 9 x 6 px" in note for note in video.notes)


def test_a_folder_with_a_damaged_frame(tmp_path):
    for k in range(3):
        Image.fromarray(np.full((6, 8), k, np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "2.png").write_bytes(b"\x89PNG broken")
    video = read_video(tmp_path)
    assert len(list(video)) == 2
    assert any("2.png" in note for note in video.notes)


def test_one_frame_is_said(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "a.png")
    video = read_video(tmp_path / "a.png")
    assert len(list(video)) == 1
    assert any("one frame" in note for note in video.notes)


def test_animation(tmp_path):
    pages = [Image.fromarray(np.full((6, 8), 40 * k, np.uint8)) for k in range(3)]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    assert [int(frame[0, 0]) for frame in read_video(tmp_path / "a.gif")] == [0, 40, 80]


def test_simulation_as_object_and_from_its_files(tmp_path):
    video = simulate_sintering(seed=3, frames=3, shape=(64, 64), n_particles=3, frame_time_s=2.0)
    stream = read_video(video)
    assert (len(stream), stream.frame_time_s, stream.pixel_size_nm) == (3, 2.0, video.pixel_size_nm)
    np.testing.assert_array_equal(np.stack(list(stream)), video.frames())
    written = write_video(video, tmp_path)
    stream = read_video(written["video"])
    assert (len(list(stream)), stream.frame_time_s) == (3, 2.0)
    assert stream.pixel_size_nm == pytest.approx(video.pixel_size_nm, rel=1e-4)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "soon", True])
def test_bad_frame_times_and_pixel_sizes(value):
    with pytest.raises(InputError, match="frame time"):
        read_video(STACK, frame_time_s=value)
    with pytest.raises(InputError, match="pixel size"):
        read_video(STACK, pixel_size_nm=value)


@pytest.mark.parametrize("source", [5, STACK[0], np.array([["a"]]), [], np.zeros((0, 4, 4))])
def test_what_is_no_video(source, tmp_path):
    with pytest.raises(InputError):
        read_video(source)
    with pytest.raises(InputError, match="no images"):
        read_video(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_video(tmp_path / "none.mp4")


# ------------------------------------------------------------------------------------------------ label stacks


def test_label_stack_grows_to_32_bits(tmp_path):
    labels = [np.full((4, 5), k, np.int32) for k in (1, 2, 70_000, 3)]
    with LabelStackWriter(tmp_path / "a.tif", 0.25, 2.0) as writer:
        for image in labels:
            writer.append(image)
        with pytest.raises(InputError, match="one size"):
            writer.append(np.zeros((5, 5), int))
        with pytest.raises(InputError, match="negative"):
            writer.append(np.full((4, 5), -1))
    stack = LabelStack(tmp_path / "a.tif")
    assert len(stack) == 4
    for t, (image, expected) in enumerate(zip(stack, labels, strict=True)):
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(stack[t], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    video = read_video(tmp_path / "a.tif")
    assert (video.pixel_size_nm, video.frame_time_s, len(video)) == (pytest.approx(0.25), 2.0, 4)
    with pytest.raises(IndexError):
        stack[4]
    with pytest.raises(InputError):
        LabelStack(tmp_path / "none.tif")
