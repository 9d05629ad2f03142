"""Images held by other libraries: stand-ins for their interfaces, and the libraries themselves where installed."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lisa_micro as lm
from lisa_micro.io import as_micrograph, pixels_of, read_video
from lisa_micro.measure import measure_particles
from lisa_micro.types import InputError

rng = np.random.default_rng(5)
GREY = rng.random((6, 8)).astype(np.float32)
RGB = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)


@dataclass
class Axis:
    scale: float
    units: Any
    index_in_array: int


@dataclass
class StandInSignal:
    """The interface of a HyperSpy signal."""

    data: np.ndarray
    axes_manager: SimpleNamespace


def signal(data: np.ndarray, scale: tuple[float, float] = (0.25, 0.25), unit: Any = "nm") -> StandInSignal:
    """A signal of one image or, with three dimensions, of a stack."""
    last = data.ndim - 1
    axes = (Axis(scale[0], unit, last), Axis(scale[1], unit, last - 1))
    stack = (Axis(0.5, "s", 0),) if data.ndim == 3 else ()
    return StandInSignal(data, SimpleNamespace(signal_axes=axes, navigation_axes=stack))


@dataclass
class StandInCoordinate:
    values: np.ndarray
    attrs: dict = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.values)


@dataclass
class StandInDataArray:
    """The interface of an xarray DataArray."""

    values: np.ndarray
    dims: tuple[str, ...]
    coords: dict = field(default_factory=dict)
    attrs: dict = field(default_factory=dict)


def coordinates(n: int, step: float, unit: str) -> StandInCoordinate:
    return StandInCoordinate(3 + step * np.arange(n), {"units": unit})


class StandInTensor:
    """The interface of a torch tensor."""

    def __init__(self, values: np.ndarray):
        self.values_ = values

    def detach(self):
        return self

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values_, dtype)


def test_every_type_of_number_is_accepted():
    for dtype in (bool, np.uint8, np.uint16, np.int32, np.int64, np.float16, np.float64):
        array = (GREY * 100).astype(dtype)
        image = as_micrograph(array)
        assert image.pixels.dtype == np.float32
        np.testing.assert_array_equal(image.pixels, array.astype(np.float32))
    assert as_micrograph(GREY.tolist()).shape == GREY.shape
    assert as_micrograph(GREY, 0.5).pixel_size_nm == 0.5
    image = as_micrograph(GREY)
    assert as_micrograph(image) is image


def test_colour_becomes_the_luminance_of_the_file_reader(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    expected = lm.read_micrograph(tmp_path / "a.png")
    for source in (RGB, Image.fromarray(RGB), StandInTensor(RGB), StandInTensor(np.moveaxis(RGB, 2, 0))):
        image = as_micrograph(source)
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        assert image.notes == expected.notes
    data_array = StandInDataArray(np.moveaxis(RGB, 2, 0), ("channel", "y", "x"))
    np.testing.assert_array_equal(as_micrograph(data_array).pixels, expected.pixels)
    assert as_micrograph(str(tmp_path / "a.png")).shape == (6, 8)


def test_pillow_images_of_every_mode():
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_allclose(
        as_micrograph(palette).pixels, np.asarray(palette.convert("RGB")) @ [0.299, 0.587, 0.114], rtol=1e-5
    )
    np.testing.assert_array_equal(as_micrograph(Image.fromarray(GREY)).pixels, GREY)


def test_signals_give_their_pixel_size():
    image = as_micrograph(signal(GREY))
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.pixel_size_nm == pytest.approx(0.25)
    assert image.pixel_size_origin == "axes"
    assert as_micrograph(signal(GREY, (-0.5, 0.5), "Å")).pixel_size_nm == pytest.approx(0.05)
    assert as_micrograph(signal(GREY, unit="µm")).pixel_size_nm == pytest.approx(250)
    assert as_micrograph(signal(GREY), 2.0).pixel_size_nm == 2.0
    for unit in ("1/nm", "", None, "<undefined>"):
        assert as_micrograph(signal(GREY, unit=unit)).pixel_size_nm is None
    uneven = as_micrograph(signal(GREY, (0.2, 0.3)))
    assert any("not square" in note for note in uneven.notes)


def test_a_map_of_single_values_is_an_image():
    axes = (Axis(0.1, "nm", 1), Axis(0.1, "nm", 0))
    scan = StandInSignal(GREY, SimpleNamespace(signal_axes=(), navigation_axes=axes))
    np.testing.assert_array_equal(as_micrograph(scan).pixels, GREY)
    turned = (Axis(0.1, "nm", 0), Axis(0.1, "nm", 1))
    scan = StandInSignal(GREY, SimpleNamespace(signal_axes=turned, navigation_axes=()))
    np.testing.assert_array_equal(as_micrograph(scan).pixels, GREY.T)


def test_data_arrays_give_their_pixel_size():
    coords = {"y": coordinates(6, -2.0, "angstrom"), "x": coordinates(8, 2.0, "angstrom")}
    image = as_micrograph(StandInDataArray(GREY, ("y", "x"), coords, {"units": "counts"}))
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.pixel_size_nm == pytest.approx(0.2)
    assert as_micrograph(StandInDataArray(GREY, ("y", "x"))).pixel_size_nm is None
    coords["x"] = StandInCoordinate(np.arange(8.0) ** 2, {"units": "nm"})
    uneven = as_micrograph(StandInDataArray(GREY, ("y", "x"), coords))
    assert any("x are not evenly spaced" in note for note in uneven.notes)


def test_a_copy_is_kept():
    for wrap in (lambda a: a, signal, StandInTensor, lambda a: StandInDataArray(a, ("y", "x"))):
        array = GREY.copy()
        image = as_micrograph(wrap(array))
        array[:] = -1
        assert image.pixels.min() >= 0


@pytest.mark.parametrize(
    "source",
    [
        None,
        3.0,
        "no such file.tif",
        object(),
        np.ones(5),
        np.ones((2, 2, 9)),
        np.ones((2, 2, 2, 2)),
        np.array([["a", "b"]]),
        np.zeros((0, 4)),
        [[1], [1, 2]],
        {"pixels": GREY},
        signal(np.zeros((3, 4, 5))),
        signal(np.array([["a", "b"]])),
        StandInDataArray(np.zeros((3, 4, 5)), ("time", "y", "x")),
        StandInDataArray(np.zeros(3), ("x",)),
        StandInTensor(np.zeros((2, 3, 4, 5))),
    ],
    ids=lambda source: type(source).__name__,  # the same in every process
)
def test_other_input_is_refused_in_one_sentence(source):
    with pytest.raises(InputError) as error:
        as_micrograph(source)
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 300


def test_measuring_and_drawing_accept_them_too():
    labels = np.zeros((6, 8), np.int32)
    labels[1:4, 2:6] = 1
    expected = float(GREY[1:4, 2:6].mean())
    for source in (GREY, signal(GREY), as_micrograph(GREY), StandInDataArray(GREY, ("y", "x"))):
        assert measure_particles(labels, pixels=source)["mean_intensity"][0] == pytest.approx(expected)
        np.testing.assert_array_equal(lm.draw_overlay(source, labels), lm.draw_overlay(GREY, labels))
    with pytest.raises(InputError, match="same image"):
        measure_particles(labels, pixels=signal(GREY[:3]))
    assert pixels_of(GREY) is GREY


def test_videos_in_memory():
    stack = rng.random((4, 6, 8)).astype(np.float32)
    coords = {
        "t": coordinates(4, 500.0, "ms"),
        "y": coordinates(6, 1.5, "nm"),
        "x": coordinates(8, 1.5, "nm"),
    }
    for source, size, seconds in (
        (stack, None, None),
        (list(stack), None, None),
        (StandInTensor(stack), None, None),
        ([as_micrograph(frame, 0.7) for frame in stack], 0.7, None),
        (signal(stack), 0.25, 0.5),
        (StandInDataArray(stack, ("t", "y", "x"), coords), 1.5, 0.5),
    ):
        video = read_video(source)
        np.testing.assert_array_equal(np.stack(list(video)), stack)
        assert video.pixel_size_nm == (None if size is None else pytest.approx(size))
        assert video.frame_time_s == (None if seconds is None else pytest.approx(seconds))
    colour = np.stack([RGB, RGB[::-1]])
    np.testing.assert_array_equal(next(iter(read_video(colour))), as_micrograph(RGB).pixels)
    for bad in (signal(GREY), StandInDataArray(GREY, ("y", "x")), object(), [], [np.zeros(3)]):
        with pytest.raises(InputError):
            read_video(bad)


def test_xarray_itself():
    xarray = pytest.importorskip("xarray")
    array = xarray.DataArray(GREY, dims=("y", "x"), coords={"y": 0.3 * np.arange(6), "x": 0.3 * np.arange(8)})
    array.x.attrs["units"] = array.y.attrs["units"] = "nm"
    image = as_micrograph(array)
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.pixel_size_nm == pytest.approx(0.3)
    with pytest.raises(InputError):
        as_micrograph(xarray.Dataset({"a": array}))


@pytest.mark.filterwarnings("ignore")
def test_hyperspy_itself():
    hyperspy = pytest.importorskip("hyperspy.api")
    film = hyperspy.signals.Signal2D(GREY)
    for axis in film.axes_manager.signal_axes:
        axis.scale, axis.units = 0.3, "nm"
    image = as_micrograph(film)
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.pixel_size_nm == pytest.approx(0.3)
    np.testing.assert_array_equal(as_micrograph(film.T).pixels, GREY)
    colour = hyperspy.signals.Signal1D(RGB)
    colour.change_dtype("rgb8")
    np.testing.assert_array_equal(as_micrograph(colour).pixels, as_micrograph(RGB).pixels)
    stack = hyperspy.signals.Signal2D(np.stack([GREY, GREY + 1]))
    with pytest.raises(InputError, match="inav"):
        as_micrograph(stack)
    np.testing.assert_array_equal(list(read_video(stack))[1], GREY + 1)


def test_torch_itself():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(as_micrograph(torch.from_numpy(GREY)).pixels, GREY)
    learnt = torch.from_numpy(GREY).requires_grad_()
    np.testing.assert_array_equal(as_micrograph(learnt).pixels, GREY)
    half = torch.from_numpy(GREY).to(torch.bfloat16)
    np.testing.assert_array_equal(as_micrograph(half).pixels, half.float().numpy())


@pytest.mark.slow
def test_the_assistant_accepts_arrays_and_signals():
    assistant = lm.load_assistant("micro", device="cpu")
    scene = lm.simulate_sintering(seed=2, shape=(160, 192), n_particles=6)
    image = lm.Micrograph(scene.pixels.astype(np.float32), 0.25)
    expected = assistant.ask(image, "segment all particles")
    answer = assistant.ask(signal(image.pixels), "segment all particles")
    assert answer.text == expected.text
    np.testing.assert_array_equal(answer.labels(image.shape), expected.labels(image.shape))
    box = [[20, 20, 90, 90]]
    for call in (assistant.segment_boxes, lambda source, boxes: assistant.segment_points(source, [[50, 50]])):
        np.testing.assert_array_equal(call(image.pixels, box).labels, call(image, box).labels)
    assert assistant.segment_everything(image.pixels).labels.shape == image.shape
    assert "data:image/png" in answer._repr_html_() and "data:image/png" in answer.segments[0]._repr_html_()
    with pytest.raises(InputError):
        assistant.ask(np.zeros(3), "segment all particles")
