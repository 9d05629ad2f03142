"""Number of images in a file, from its header alone."""

from __future__ import annotations

from pathlib import Path

from lisa_micro.io.formats.ngff import count_planes, metadata_file
from lisa_micro.io.formats.tiff import virtual_stack
from lisa_micro.io.formats.volumes import ROSETTASCIIO, is_mrc
from lisa_micro.io.reader import PICTURE_MAGIC, TIFF_MAGIC, file_head, read_plain
from lisa_micro.types import InputError

SINGLE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
"""Beginnings of files that hold one image each."""


def count_pages(path: Path) -> int:
    """Number of images that :func:`lisa_micro.read_plain` offers as pages of a file.

    Pixels are read only of formats without a header of their own for it (DM3, DM4, EMD, SER ...).

    Raises:
        InputError: the file cannot be read.
    """
    if path.is_dir() and metadata_file(path) is not None:
        return count_planes(path)
    head = file_head(path)
    if head[:4] in TIFF_MAGIC:
        return _tiff_pages(path)
    if path.suffix.lower() in ROSETTASCIIO:
        return int(read_plain(path).metadata.get("pages", 1))
    if head.startswith(SINGLE_MAGIC):
        return 1
    if not head.startswith(PICTURE_MAGIC) and is_mrc(path, head):
        return _mrc_sections(path)
    return int(read_plain(path).metadata.get("pages", 1))


def _tiff_pages(path: Path) -> int:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            virtual = virtual_stack(tif)
            return virtual[0] if virtual else len(tif.pages)
    except Exception as error:  # tifffile raises a dozen types of errors on damaged files
        raise InputError(f"{path.name} is not a readable TIFF file: it is damaged or cut short.") from error


def _mrc_sections(path: Path) -> int:
    import warnings

    import mrcfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with mrcfile.mmap(path, mode="r", permissive=True) as file:
                if file.data is None:
                    raise ValueError("no data")
                shape = file.data.shape
    except Exception as error:
        raise InputError(f"{path.name} is not a readable MRC file: it is damaged or cut short.") from error
    count = 1
    for side in shape[:-2]:
        count *= side
    return count
