"""Label images, written so that ImageJ and tifffile reopen them with the same pixels and pixel size."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lisa_micro.io.arrays import check_size
from lisa_micro.io.reader import read_micrograph
from lisa_micro.types import InputError, Micrograph


def write_labels(path: str | os.PathLike[str], labels: np.ndarray, pixel_size_nm: float | None = None) -> None:
    """Instance labels as a TIFF that ImageJ opens calibrated in nm.

    Args:
        labels: ``(H, W)`` integer, 0 = background; stored as uint16, or as uint32 above 65535 instances.
        pixel_size_nm: ``None`` leaves the image uncalibrated.

    Raises:
        InputError: a negative label.
    """
    import tifffile

    if labels.min(initial=0) < 0:
        raise InputError("Labels must not be negative.")
    dtype = np.uint16 if labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    per_nm = None if pixel_size_nm is None else (1.0 / pixel_size_nm, 1.0 / pixel_size_nm)
    unit = "" if pixel_size_nm is None else "unit=nm\n"
    # tifffile's own ImageJ mode refuses 32-bit integers, which ImageJ itself reads; so the description, which
    # is all that the convention consists of, is written here for both types.
    top = int(labels.max(initial=0))
    tifffile.imwrite(
        path,
        labels.astype(dtype),
        photometric="minisblack",
        description=f"ImageJ=1.54f\n{unit}min=0.0\nmax={float(top)}\n",
        metadata=None,
        resolution=per_nm,
        # ImageJ inflates too, but other readers of its files may not; so only where it saves a gigabyte
        compression="zlib" if labels.size > 2**24 else None,
        resolutionunit=1,
        software="lisa-micro",
    )


def read_labels(path: str | os.PathLike[str], page: int = 0) -> Micrograph:
    """Instance labels from any image that holds whole numbers, or from a ``.npy`` array.

    An image with the two values 0 and 255, or 0 and 65535, or 0 and 1, is a mask: each of its connected
        regions (8-neighbours) becomes an instance, and a note says so.

    Returns:
        A micrograph whose ``pixels`` ``(H, W)`` are **int32** instance labels, 0 = background, with the pixel
        size of the file.

    Raises:
        InputError: as :func:`~lisa_micro.io.read_micrograph`; or values that are negative or no whole
            numbers, or colour.
    """
    from dataclasses import replace

    path = Path(path)
    if path.suffix.lower() == ".npy":
        image = _read_npy(path)
    else:
        image = read_micrograph(path, page=page)
        if any("colour" in note for note in image.notes):
            raise InputError(f"{path.name} is a colour picture; labels must be grey, with the number of an instance.")
    pixels, notes = image.pixels, list(image.notes)
    if not np.isfinite(pixels).all() or (pixels < 0).any() or (pixels != np.floor(pixels)).any():
        raise InputError(f"{path.name} holds no labels: they must be whole numbers from 0 up.")
    # float32 holds whole numbers exactly up to here
    if pixels.max(initial=0) > 2**24:
        raise InputError(f"{path.name} holds no labels: there are numbers above {2**24}.")
    labels = pixels.astype(np.int32)
    values = np.unique(labels)
    if len(values) <= 2 and values[-1] in (1, 255, 65535) and (len(values) == 1 or values[0] == 0):
        from scipy import ndimage

        labels, count = ndimage.label(labels > 0, structure=np.ones((3, 3), dtype=int), output=np.int32)
        if count > 1 or values[-1] != 1:
            regions = "1 connected region" if count == 1 else f"{count} connected regions"
            notes.append(f"The labels are a mask; its {regions} became the instances.")
    return replace(image, pixels=labels, notes=tuple(notes))


def _read_npy(path: Path) -> Micrograph:
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path of the labels.")
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        raise InputError(f"{path.name} is not a readable .npy array of numbers.") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "bui":
        raise InputError(f"{path.name} must hold one (H, W) array of whole numbers.")
    check_size(array.shape[0], array.shape[1], path.name)
    return Micrograph(pixels=array, source=str(path))
