"""Checks on the values in annotation files. All limits on coordinates, run lengths and image sizes are set here.

Annotation files come from other programs and other people: any value may be missing, of the wrong type or absurdly
large. Each check returns the value in its proper type or raises an :class:`~lisa_micro.types.InputError` that names the
value.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping

import numpy as np
from pydantic_core import ErrorDetails

from lisa_micro.io.arrays import MAX_SIDE
from lisa_micro.io.units import PIXEL_SIZES_NM
from lisa_micro.types import InputError

MARGIN = 1.0
"""How far coordinates may lie outside the image, in longer sides of the image."""
MIN_MARGIN_PX = 100
"""px, the same for small images."""
MAX_PERIMETER_PX = 1_000_000
"""Longest perimeter of a polygon in px; rasterising takes about 100 bytes a px."""
MAX_MESSAGE = 200
"""Characters of a message taken from another program."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxlong = 2, 4, 4, 40, 40


def shown(value: object) -> str:
    """A value for an error message: one line, shortened to at most about 60 characters.

    >>> shown("a" * 10_000)
    "'aaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaa'"
    """
    try:
        text = _SHORT.repr(value)
    except (RecursionError, ValueError):  # of integers beyond 4300 digits Python gives no text
        text = f"a value of type {type(value).__name__}"
    return one_line(text, 60)


def one_line(text: object, longest: int = MAX_MESSAGE) -> str:
    """A text in one line of at most ``longest`` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def check_number(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from ``low`` to ``high``.

    Args:
        name: what it is, for the message, such as ``"the height"``.

    Raises:
        InputError: another type, not finite, or out of range.
    """
    number = math.nan
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be a finite number, not {shown(value)}")
    if not low <= number <= high:
        raise InputError(f"{name} must be {low:g} to {high:g}, not {shown(value)}")
    return number


def check_integer(value: object, name: str, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``; 3.0 counts as one.

    Raises:
        InputError: anything else.
    """
    number = check_number(value, name, low, high)
    if number != math.floor(number):
        raise InputError(f"{name} must be a whole number, not {shown(value)}")
    return int(number)


def check_text(value: object, name: str, longest: int = 500) -> str:
    """A text of 1 to ``longest`` characters that is not blank.

    Raises:
        InputError: anything else.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} must be a text, not {shown(value)}")
    if len(value) > longest:
        raise InputError(f"{name} has {len(value)} characters, more than {longest}: {shown(value)}")
    return value


def check_id(value: object, name: str) -> int | float | str:
    """A number or a text that identifies an entry of a file.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, str):
        return check_text(value, name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return check_number(value, name)


def check_pixel_size(value: object, name: str = "the pixel size in nm") -> float:
    """A pixel size in nm.

    Raises:
        InputError: not a number within :data:`PIXEL_SIZES_NM`.
    """
    return check_number(value, name, *PIXEL_SIZES_NM)


def check_image_size(height: object, width: object) -> tuple[int, int]:
    """The size ``(H, W)`` of an image in px.

    Raises:
        InputError: a side that is not a whole number from 1 to :data:`~lisa_micro.io.arrays.MAX_SIDE`.
    """
    return check_integer(height, "the height", 1, MAX_SIDE), check_integer(width, "the width", 1, MAX_SIDE)


def check_same_size(size: object, shape: tuple[int, int], name: str) -> None:
    """Check that a size stated in a file is that of the image, ``[H, W]``.

    Raises:
        InputError: it is not.
    """
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InputError(f"{name} must be [height, width], not {shown(size)}")
    if check_image_size(*size) != shape:
        raise InputError(f"{name} is {shown(list(size))}, but its image is {list(shape)}")


def check_points(points: object, least: int, shape: tuple[int, int]) -> np.ndarray:
    """Points near an image, as an array.

    Args:
        points: list of ``[x, y]`` in px.
        least: smallest number of points.
        shape: ``(H, W)`` of the image.

    Returns:
        ``(N, 2)`` float64 XY px.

    Raises:
        InputError: fewer points, no pairs of finite numbers, or a point further from the image than :data:`MARGIN`.
    """
    if not isinstance(points, list | tuple | np.ndarray):
        raise InputError(f"its points must be a list of [x, y], not {shown(points)}")
    if len(points) < least:
        raise InputError(f"it has {len(points)} points where at least {least} are needed")
    margin = max(MIN_MARGIN_PX, MARGIN * max(shape))
    array = _as_plain_array(points)
    if array is not None and (array >= -margin).all() and (array <= np.array(shape[::-1]) + margin).all():
        return array
    return np.array([_check_point(point, number, shape, margin) for number, point in enumerate(points, start=1)])


def _as_plain_array(points: object) -> np.ndarray | None:
    """Points as ``(N, 2)`` float64 where they are pairs of plain numbers, else None: a quick test of large polygons."""
    try:
        array = np.array(points)
    except (ValueError, OverflowError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" and array.ndim == 2 and array.shape[1] == 2 else None


def _check_point(point: object, number: int, shape: tuple[int, int], margin: float) -> tuple[float, float]:
    """One point; the message says which and why."""
    if not isinstance(point, list | tuple | np.ndarray) or len(point) != 2:
        raise InputError(f"point {number} must be [x, y], not {shown(point)}")
    x, y = (check_number(value, f"{axis} of point {number}") for axis, value in zip("xy", point, strict=True))
    for axis, value, side in (("x", x, shape[1]), ("y", y, shape[0])):
        if not -margin <= value <= side + margin:
            far = f"more than {margin:g} px outside its image of {shape[1]} x {shape[0]} px"
            raise InputError(f"{axis} of point {number} is {value:g}, {far}")
    return x, y


def check_polygon(points: object, shape: tuple[int, int]) -> np.ndarray:
    """The corners of a polygon, as for :func:`check_points`.

    Raises:
        InputError: as :func:`check_points`; or a perimeter above :data:`MAX_PERIMETER_PX`.
    """
    array = check_points(points, 3, shape)
    perimeter = float(np.hypot(*(array - np.roll(array, 1, axis=0)).T).sum())
    if perimeter > MAX_PERIMETER_PX:
        raise InputError(f"its perimeter of {perimeter:.0f} px is above the limit of {MAX_PERIMETER_PX} px")
    return array


def check_runs(counts: object, shape: tuple[int, int]) -> np.ndarray:
    """Uncompressed COCO run lengths of a mask.

    Args:
        counts: list of whole numbers. shape: ``(H, W)`` that they must fill.

    Returns:
        ``(n,)`` int64.

    Raises:
        InputError: no such list, or runs that do not add up to ``H * W``.
    """
    if not isinstance(counts, list | tuple | np.ndarray):
        raise InputError(f"its counts must be a list of run lengths, not {shown(counts)}")
    pixels = shape[0] * shape[1]
    array = np.fromiter(
        (check_integer(count, f"count {number}", 0, pixels) for number, count in enumerate(counts, start=1)), np.int64
    )
    if array.sum() != pixels:
        raise InputError(f"its run lengths add up to {array.sum()} px, but its image has {pixels} px")
    return array


def check_keys(entry: object, keys: tuple[str, ...]) -> Mapping[str, object]:
    """An entry of a JSON file as a mapping that has all the keys.

    Raises:
        InputError: no mapping, or a key missing.
    """
    if not isinstance(entry, Mapping):
        raise InputError(f"it must be an object with {', '.join(keys)}, not {shown(entry)}")
    missing = [key for key in keys if key not in entry]
    if missing:
        raise InputError(f"it has no {', '.join(missing)}")
    return entry


def validation_problem(fault: ErrorDetails) -> str:
    """Describe an entry of pydantic's ``ValidationError.errors()`` in one line: place, what is wrong, and the value."""
    where = one_line(".".join(str(part) for part in fault["loc"]), 80)
    if fault["type"] == "extra_forbidden":
        return f"unknown field {where}"
    message = one_line(fault["msg"].removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    if fault["type"] not in ("missing", "value_error"):
        message += f", not {shown(fault['input'])}"
    return f"{where}: {message}" if where else message
