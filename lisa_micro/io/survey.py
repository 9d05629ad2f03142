"""Look at a picture for what is burnt into it: its data bar, boxes with letters, and its scale bar.

Pixel sizes count in this order: the user's, a scale bar that the user marked, the microscope's tags, OME and ImageJ, a
side-car file, the scale bar that is read, the plain resolution of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lisa_micro.io.scalebar.banner import Covered, find_covered, grey_levels
from lisa_micro.io.scalebar.marked import MarkedBar, marked_scale, with_surroundings
from lisa_micro.io.scalebar.reading import AGREEMENT, Reading, likely_bars, read_scale_bar, reduced
from lisa_micro.io.scalebar.text import text_reader
from lisa_micro.io.units import format_length
from lisa_micro.types import Box, BurntInScale, InputError, Micrograph

WEAKER_ORIGINS = ("none", "tiff resolution")
"""Origins of a pixel size that a scale bar replaces."""
NO_READER = (
    'The picture seems to have a scale bar; to read the pixel size from it, run: pip install "lisa-micro[scalebar]"'
)


@dataclass(frozen=True)
class Looking:
    """What is looked for in a picture.

    Attributes:
        field: the part that shows the specimen, ``x0, y0, x1, y1`` px; takes precedence over a data bar that is found.
        banner: whether a data bar and boxes with letters are looked for.
        scale_bar: whether the scale bar is read.
        mark: a scale bar that the user marked; takes precedence over one that is read, and over the file's pixel size.
    """

    field: Sequence[float] | None = None
    banner: bool = True
    scale_bar: bool = True
    mark: MarkedBar | None = None


EVERYTHING = Looking()
NOTHING = Looking(banner=False, scale_bar=False)


def surveyed(image: Micrograph, looking: Looking = EVERYTHING) -> Micrograph:
    """The micrograph with its field of view, and with the pixel size of its scale bar where it has no better one.

    Args:
        image: the micrograph as in its file.
        looking: what is looked for.

    Raises:
        InputError: a field that is no rectangle within the picture, or a marked scale bar that cannot be.
    """
    marked = None if looking.mark is None else marked_scale(looking.mark, image.shape)
    if looking.field is not None:
        image = replace(image, field=check_field(looking.field, image.shape), covers=())
    elif looking.banner:
        image = _with_field(image, find_covered(image.pixels))
    if marked is not None:
        return _with_mark(image, marked, looking.scale_bar)
    return _with_scale(image) if looking.scale_bar else image


def check_field(field: Sequence[float], shape: tuple[int, int]) -> Box:
    """A field of view given by a user.

    Args:
        field: ``x0, y0, x1, y1`` px, whole numbers. shape: ``(H, W)`` px of the picture.

    Raises:
        InputError: not four whole numbers, empty, or beyond the picture.
    """
    height, width = shape
    try:
        numbers = [float(value) for value in field]
        x0, y0, x1, y1 = (int(value) for value in numbers)
        whole = [x0, y0, x1, y1] == numbers
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise InputError(f"The field {field!r} is not x0,y0,x1,y1: four whole numbers in px.")
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"The field {x0},{y0},{x1},{y1} is no rectangle within the picture of {width} x {height} px; "
            "give x0,y0,x1,y1 with x0 < x1 and y0 < y1."
        )
    return x0, y0, x1, y1


def _with_field(image: Micrograph, covered: Covered) -> Micrograph:
    height, width = image.shape
    if covered.field == (0, 0, width, height) and not covered.boxes:
        return image
    x0, y0, x1, y1 = covered.field
    notes = list(image.notes)
    if covered.field != (0, 0, width, height):
        share = 1 - (y1 - y0) / height
        notes.append(
            f"A data bar of {height - (y1 - y0)} px ({100 * share:.0f} % of the picture) was found and is left out; "
            f"the field of view is {x1 - x0} x {y1 - y0} px."
        )
    field = None if covered.field == (0, 0, width, height) else covered.field
    return replace(image, field=field, covers=covered.boxes, notes=tuple(notes))


def _with_scale(image: Micrograph) -> Micrograph:
    grey = grey_levels(image.pixels)
    reader = text_reader()
    if reader is None:
        unknown = image.pixel_size_nm is None
        return replace(image, notes=(*image.notes, NO_READER)) if unknown and likely_bars(reduced(grey)[0]) else image
    reading = read_scale_bar(grey, reader)
    return _scaled(image, reading)


def _scaled(image: Micrograph, reading: Reading) -> Micrograph:
    scale = reading.scale
    notes = (*image.notes, *reading.notes)
    if scale is None:
        return image if notes == image.notes else replace(image, notes=notes)
    read = scale.pixel_size_nm
    image = replace(image, scale_bar=scale, notes=notes)
    if image.pixel_size_nm is None or image.pixel_size_origin in WEAKER_ORIGINS:
        told = tuple(note for note in notes if "print setting" not in note)  # what the bar settles
        how = (
            f"The pixel size was read from the scale bar ({scale.text} = {scale.length_px:.1f} px, from x = "
            f"{scale.x0:.1f} to {scale.x1:.1f}); check it, and correct it if it is wrong."
        )
        return replace(image, pixel_size_nm=read, pixel_size_origin="scale bar", notes=(*told, how))
    if abs(read / image.pixel_size_nm - 1) > AGREEMENT:
        note = (
            f"The scale bar ({scale.text}, {scale.length_px:.0f} px) gives {format_length(read)} per pixel, but "
            f"the pixel size ({image.pixel_size_origin}) is {format_length(image.pixel_size_nm)}; the latter is used."
        )
        return replace(image, notes=(*notes, note))
    return image


def _with_mark(image: Micrograph, scale: BurntInScale, look: bool) -> Micrograph:
    """The micrograph with a scale bar that the user marked.

    Args:
        look: whether the height of the bar and the place of its text are looked for in the picture, so that they can be
            hidden from the model.
    """
    if look:
        grey = grey_levels(image.pixels)
        small, factor = reduced(grey)
        reader = text_reader()
        reading = Reading() if reader is None else read_scale_bar(grey, reader)
        bars = [bar.times(factor) for bar in likely_bars(small)] if reading.scale is None else []
        scale = with_surroundings(scale, reading.scale, bars, reading.texts)
    read, other = scale.pixel_size_nm, image.pixel_size_nm
    notes = [note for note in image.notes if "print setting" not in note]  # what the bar settles
    if image.pixel_size_origin == "user" and other is not None:
        if abs(read / other - 1) > AGREEMENT:
            notes.append(
                f"The marked scale bar ({scale.text}, {scale.length_px:.1f} px) gives {format_length(read)} per pixel, "
                f"but the pixel size given is {format_length(other)}; the latter is used."
            )
        return replace(image, scale_bar=scale, notes=tuple(notes))
    note = f"The pixel size follows from the marked scale bar ({scale.text} = {scale.length_px:.1f} px)"
    if other is not None and image.pixel_size_origin not in WEAKER_ORIGINS and abs(read / other - 1) > AGREEMENT:
        note += (
            f": {format_length(read)}, while the file states {format_length(other)} per pixel "
            f"({image.pixel_size_origin})"
        )
    notes.append(f"{note}.")
    return replace(image, scale_bar=scale, pixel_size_nm=read, pixel_size_origin="user", notes=tuple(notes))


def view_of_field(pixels: np.ndarray, image: Micrograph) -> np.ndarray:
    """The field of view of a micrograph, with what is burnt into it replaced by the grey value around it.

    Args:
        pixels: ``(H, W)``, those of the micrograph.

    Returns:
        ``(h, w)``, see :attr:`lisa_micro.types.Micrograph.field_shape`; a copy.
    """
    x0, y0, x1, y1 = image.field_box
    view = np.array(pixels[y0:y1, x0:x1])
    for box in burnt_in_boxes(image):
        a, b, c, d = box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0
        a, b, c, d = max(a, 0), max(b, 0), min(c, view.shape[1]), min(d, view.shape[0])
        if a >= c or b >= d:
            continue
        ring = view[max(b - 3, 0) : d + 3, max(a - 3, 0) : c + 3].copy()
        inside = np.zeros(ring.shape, bool)
        inside[b - max(b - 3, 0) : d - max(b - 3, 0), a - max(a - 3, 0) : c - max(a - 3, 0)] = True
        around = ring[~inside]
        if around.size:
            view[b:d, a:c] = np.median(around)
    return view


def burnt_in_boxes(image: Micrograph) -> tuple[Box, ...]:
    """Boxes of what is burnt into a micrograph: those with letters, its scale bar and its length; XYXY px."""
    scale = image.scale_bar
    if scale is None:
        return image.covers
    half = (scale.height + abs(scale.drop)) / 2
    bar = (int(scale.x0) - 2, int(scale.y - half) - 2, int(np.ceil(scale.x1)) + 2, int(np.ceil(scale.y + half)) + 2)
    if scale.text_box is None:
        return (*image.covers, bar)
    a, b, c, d = scale.text_box
    return (*image.covers, bar, (a - 1, b - 1, c + 1, d + 1))
