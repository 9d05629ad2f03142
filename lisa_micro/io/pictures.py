"""PNG, JPEG and the like, through Pillow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.io.arrays import check_page, check_size, to_plane
from lisa_micro.io.pixelsize import PixelSize, plain_resolution
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:
    from PIL import Image

# Pillow would try all its readers, some of which start other programs (EPS); a micrograph comes in one of
# these.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")

_lock = threading.Lock()


@contextmanager
def open_picture(path: Path, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An image file opened by Pillow, its pixels not read yet. Pillow's own guard against decompression bombs
    has a lower limit than ours and only warns up to twice that; so it is replaced by :func:`check_size`,
    which looks at the size in the header before anything is decompressed."""
    from PIL import Image

    with _lock:  # the guard is a module variable
        guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = guard
    with picture:
        check_size(picture.height, picture.width, path.name)
        yield picture


def read_picture(path: Path, page: int) -> Micrograph:
    """A picture file; ``page`` is the frame of an animation.

    Raises:
        InputError: no image in a known format, damaged, cut short, no such frame, too large.
    """
    from PIL import UnidentifiedImageError

    name = path.name
    try:
        with open_picture(path) as picture:
            count = getattr(picture, "n_frames", 1)
            index = check_page(page, count, name)
            if index:
                picture.seek(index)
            notes = _notes(picture, path)
            resolution = _resolution(picture)
            array = picture_array(picture)
            metadata = {"format": picture.format, "mode": picture.mode, "pages": count}
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not an image, or not in a format that can be read ({readable()}).") from error
    except Exception as error:
        # Pillow reports damage as OSError, SyntaxError, ValueError, EOFError, zlib and struct errors
        raise InputError(f"{name} is damaged or cut short: {str(error).strip() or type(error).__name__}.") from error
    plane, more = to_plane(array, name)
    if count > 1:
        notes.append(f"The file has {count} pages; page {index} is used.")
    return Micrograph(
        pixels=plane,
        pixel_size_nm=resolution.nm,
        source=str(path),
        pixel_size_origin=resolution.origin,
        notes=(*more, *notes, *resolution.notes),
        metadata=metadata,
    )


def readable() -> str:
    """The formats that :func:`lisa_micro.io.read_micrograph` knows, for messages."""
    return "TIFF, PNG, JPEG, BMP, GIF, WebP, PGM, MRC, DM3, DM4, EMD, SER, TVIPS"


def picture_array(picture: Image.Image) -> np.ndarray:
    """Pixels of an open picture: ``(H, W)``, or ``(H, W, C)`` in colour; palettes are applied."""
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "HSV", "LAB"):
        return np.asarray(picture.convert("RGB"))
    if picture.mode == "1":
        return np.asarray(picture, dtype=np.uint8)
    if picture.mode in ("LA", "La"):
        return np.asarray(picture)[..., 0]
    return np.asarray(picture)


def _notes(picture: Image.Image, path: Path) -> list[str]:
    notes = []
    if picture.format == "PNG":
        with path.open("rb") as file:
            header = file.read(26)
        if len(header) == 26 and header[24] == 16 and header[25] in (2, 6):
            notes.append("The PNG has 16 bits a colour channel; 8 of them are used.")
    orientation = picture.getexif().get(0x0112, 1)
    if orientation not in (0, 1):
        notes.append("The camera asks for the picture to be shown turned; its pixels are used as they are stored.")
    return notes


def _resolution(picture: Image.Image) -> PixelSize:
    """The dots per inch of the header, which are a microscope's pixel size only where they are finer than any
    printer's."""
    dpi = picture.info.get("dpi")
    try:
        x, y = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, IndexError):
        return PixelSize(None)
    return plain_resolution(1 / x if x > 0 else None, 1 / y if y > 0 else None, "inch")
