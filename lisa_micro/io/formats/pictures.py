"""Read PNG, JPEG and similar files with Pillow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from lisa_micro.io.arrays import check_page, check_size, to_plane
from lisa_micro.io.pixelsize import PixelSize, plain_resolution
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:
    from PIL import Image

# Pillow would otherwise try all its readers, some of which start other programs (EPS)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")

_lock = threading.Lock()


@runtime_checkable
class Animated(Protocol):
    """A Pillow image of a format with several frames."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""


@contextmanager
def open_picture(path: Path, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image file with Pillow without reading its pixels.

    Pillow's own guard against decompression bombs has a lower limit than this library, and only warns up to twice that
    limit. It is replaced by :func:`lisa_micro.io.arrays.check_size`, which checks the size in the header before
    anything is decompressed.
    """
    from PIL import Image

    _check_png(path)
    with _lock:  # the guard is a global variable
        guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = guard
    with picture:
        check_size(picture.height, picture.width, path.name)
        yield picture


def _check_png(path: Path) -> None:
    """Check that no chunk of a PNG file states more bytes than the file has, since Pillow takes memory for all of them.

    Raises:
        InputError: one does.
    """
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return
        size = path.stat().st_size
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            if length > size:
                raise InputError(
                    f"{path.name} is damaged or cut short: a part of it states more bytes than the file has."
                )
            file.seek(length + 4, 1)


def read_picture(path: Path, page: int) -> Micrograph:
    """Read a picture file; ``page`` is the frame of an animation.

    Raises:
        InputError: unknown format, damaged, cut short, no such frame, or too large.
    """
    from PIL import UnidentifiedImageError

    name = path.name
    try:
        with open_picture(path) as picture:
            count = int(picture.n_frames) if isinstance(picture, Animated) else 1
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
        raise InputError(f"{name} is not an image in a supported format ({readable()}).") from error
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
    """Formats that :func:`lisa_micro.read_micrograph` reads, for messages."""
    return "TIFF, PNG, JPEG, BMP, GIF, WebP, PGM, MRC, DM3, DM4, EMD, SER, TVIPS, BCF"


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
            notes.append("The PNG has 16 bits per colour channel; only 8 are used.")
    orientation = picture.getexif().get(0x0112, 1)
    if orientation not in (0, 1):
        notes.append("The file asks for the picture to be rotated for display; its pixels are used as stored.")
    return notes


def _resolution(picture: Image.Image) -> PixelSize:
    """Pixel size from the dots per inch of the header, unless they are a print setting."""
    try:
        x, y = (float(value) for value in picture.info["dpi"])
    except (KeyError, TypeError, ValueError):
        return PixelSize(None)
    return plain_resolution(1 / x if x > 0 else None, 1 / y if y > 0 else None, "inch")
