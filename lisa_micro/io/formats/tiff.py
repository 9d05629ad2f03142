"""Read TIFF pages as stored: any bit depth, colour, palettes, stacks, and the tags of microscopes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io.arrays import check_bytes, check_page, check_size, to_plane
from lisa_micro.io.formats.pictures import open_picture
from lisa_micro.io.pixelsize import read_tags
from lisa_micro.types import InputError, Micrograph

_KEPT_METADATA = ("fei_metadata", "sem_metadata", "imagej_metadata", "tvips_metadata", "sis_metadata")


def read_tiff(path: Path, page: int) -> Micrograph:
    """Read one page of a TIFF file. Of an ImageJ stack behind a single directory all images count as pages.

    Raises:
        InputError: not a readable TIFF file, no such page, no pixels, or too large.
    """
    import tifffile

    name = path.name
    try:
        # the constructor reads only the first directory, so a huge file costs nothing before its size is known
        with tifffile.TiffFile(path) as tif:
            virtual = virtual_stack(tif)
            count = virtual[0] if virtual else len(tif.pages)
            index = check_page(page, count, name)
            frame = tif.pages.first if virtual else tif.pages[index]
            directory = frame.aspage()
            check_size(directory.imagelength, directory.imagewidth, name)
            if virtual:
                array = read_virtual(tif, virtual, index)
            else:
                array = read_page(tif, directory, path, index)
            array = apply_photometry(array, directory)
            facts = read_tags(tif, directory)
            metadata = {key: value for key in _KEPT_METADATA if (value := _quietly(tif, key))}
            description = directory.description
            if description:
                metadata["description"] = description[:10_000]
            metadata["pages"] = count
            if facts.tilt_deg is not None:
                metadata["stage_tilt_deg"] = facts.tilt_deg
            dtype = str(directory.dtype)
    except InputError:
        raise
    except Exception as error:
        # tifffile raises a dozen types of errors on damaged files (its own, struct, index, memory, zlib ...)
        raise InputError(
            f"{name} is not a readable TIFF file: it is damaged or cut short ({_first_line(error)})."
        ) from error
    plane, notes = to_plane(array, name)
    if count > 1:
        notes.append(f"The file has {count} pages; page {index} is used.")
    metadata["dtype"] = dtype
    return Micrograph(
        pixels=plane,
        pixel_size_nm=facts.size.nm,
        source=str(path),
        pixel_size_origin=facts.size.origin,
        modality=facts.modality,
        notes=(*notes, *facts.size.notes),
        metadata=metadata,
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:160] if text else type(error).__name__


def _quietly(tif: Any, key: str) -> Any:
    try:
        return getattr(tif, key)
    except Exception:
        return None


def virtual_stack(tif: Any) -> tuple[int, int] | None:
    """Number of images and bytes of one, if ImageJ wrote more images than directories.

    ImageJ does so above 4 GB, and other programs imitate it: the images follow each other uncompressed behind the
    first.
    """
    metadata = _quietly(tif, "imagej_metadata") or {}
    images = metadata.get("images", 1)
    if not isinstance(images, int) or images < 2 or len(tif.pages) != 1:
        return None
    first = tif.pages.first
    if first.dtype is None or not first.is_contiguous:
        return None
    frame = int(np.prod(first.shape)) * first.dtype.itemsize
    available = (tif.filehandle.size - first.dataoffsets[0]) // max(frame, 1)
    images = min(images, int(available))
    return (images, frame) if images > 1 else None


def read_virtual(tif: Any, virtual: tuple[int, int], index: int) -> np.ndarray:
    first = tif.pages.first
    handle = tif.filehandle
    handle.seek(first.dataoffsets[0] + index * virtual[1])
    dtype = first.dtype.newbyteorder(tif.byteorder)
    return _to_yxs(np.frombuffer(handle.read(virtual[1]), dtype=dtype).reshape(first.shape), first.axes)


def read_page(tif: Any, directory: Any, path: Path, index: int) -> np.ndarray:
    for offset, length in zip(directory.dataoffsets, directory.databytecounts, strict=False):
        # tifffile fills strips beyond the end of the file with zeros; half an image is not accepted
        if length and offset + length > tif.filehandle.size:
            raise InputError(f"{path.name} is cut short: pixels are missing at its end.")
    if directory.dtype is not None:
        check_bytes(math.prod(directory.shape) * directory.dtype.itemsize, path.name)
    try:
        return _to_yxs(directory.asarray(), directory.axes)
    except (ImportError, KeyError, ValueError) as error:
        # some compressions (LZW, JPEG) need a package that may be missing; Pillow decodes them too
        array = _read_with_pillow(path, index)
        if array is None:
            raise error
        return array


def _to_yxs(array: np.ndarray, axes: str) -> np.ndarray:
    """Any page layout -> ``(H, W)`` or ``(H, W, samples)``; other axes (a volume in one page) give their first
    index."""
    for axis in [axis for axis in axes if axis not in "YXS"]:
        array = np.take(array, 0, axis=axes.index(axis))
        axes = axes.replace(axis, "", 1)
    return np.transpose(array, [axes.index(axis) for axis in "YXS" if axis in axes])


def _read_with_pillow(path: Path, index: int) -> np.ndarray | None:
    try:
        with open_picture(path, formats=("TIFF",)) as picture:
            picture.seek(index)
            return np.asarray(picture)
    except Exception:
        return None


def apply_photometry(array: np.ndarray, directory: Any) -> np.ndarray:
    """Replace palette indices by their colours, and invert images in which white is zero."""
    import tifffile

    if directory.photometric == tifffile.PHOTOMETRIC.PALETTE and directory.colormap is not None and array.ndim == 2:
        colours = np.asarray(directory.colormap)  # (3, 2**bits) uint16
        # 8-bit values stored in 16-bit entries, as x * 257 or (older programs) as x * 256
        colours = colours / 257.0 if (colours % 257 == 0).all() else colours / 256.0
        index = np.minimum(array, colours.shape[1] - 1).astype(np.intp)
        return np.stack([channel[index].astype(np.float32) for channel in colours], axis=-1)
    if directory.photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu":
        top = 2 ** int(directory.bitspersample) - 1
        return (top - array.astype(np.int64)).astype(np.float32)
    return array
