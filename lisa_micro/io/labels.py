"""Read and write label images.

One rule decides whether an image holds instance numbers or a mask (:func:`is_mask`):

- A bool image, or an 8-bit image whose values are only 0 and 1, or only 0 and 255, is a mask.
- A 16-bit image whose values are only 0 and 65535 is a mask as well.
- Every other image holds instance numbers: 0 is the background, k is instance k. In particular, a 16- or 32-bit image
  with the values 0 and 1 holds one instance, even if it is made of several pieces.

The caller can overrule it with ``kind``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from lisa_micro.io.arrays import check_page, check_size
from lisa_micro.io.formats.pictures import open_picture
from lisa_micro.io.formats.tiff import read_page, read_virtual, virtual_stack
from lisa_micro.io.formats.volumes import ROSETTASCIIO, is_mrc
from lisa_micro.io.pixelsize import tiff_pixel_size
from lisa_micro.io.reader import TIFF_MAGIC, file_head, read_plain
from lisa_micro.types import InputError, Micrograph

LabelKind: TypeAlias = Literal["auto", "instances", "mask"]
MAX_LABEL = int(np.iinfo(np.int32).max)
"""Largest instance number."""


def write_labels(
    path: str | os.PathLike[str], labels: np.ndarray, pixel_size_nm: float | None = None, compress: bool | None = None
) -> None:
    """Write instance labels as a TIFF that ImageJ opens calibrated in nm.

    Args:
        path: file to write.
        labels: ``(H, W)`` integers, 0 = background; stored as uint16, or as uint32 above 65535 instances.
        pixel_size_nm: edge length of a pixel; ``None`` leaves the image uncalibrated.
        compress: whether the pixels are compressed; ``None``: only those of very large images.

    Raises:
        InputError: a negative label.
    """
    import tifffile

    if labels.min(initial=0) < 0:
        raise InputError("Labels must not be negative.")
    dtype = np.uint16 if labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    per_nm = None if pixel_size_nm is None else (1.0 / pixel_size_nm, 1.0 / pixel_size_nm)
    unit = "" if pixel_size_nm is None else "unit=nm\n"
    # tifffile's ImageJ mode refuses 32-bit integers, which ImageJ itself reads; the convention consists of the
    # description alone, so it is written here for both types
    top = int(labels.max(initial=0))
    tifffile.imwrite(
        path,
        labels.astype(dtype),
        photometric="minisblack",
        description=f"ImageJ=1.54f\n{unit}min=0.0\nmax={float(top)}\n",
        metadata=None,
        resolution=per_nm,
        # ImageJ reads zlib, but other readers of its files may not; used only if it saves a lot of space
        compression="zlib" if compress or (compress is None and labels.size > 2**24) else None,
        resolutionunit=1,
        software="lisa-micro",
    )


def read_labels(path: str | os.PathLike[str], page: int = 0, kind: LabelKind = "auto") -> Micrograph:
    """Read instance labels from an image file or a ``.npy`` array.

    Of a mask, each connected region (8-neighbours) becomes an instance, and a note says so. The module's description
    has the rule that tells masks from instance numbers.

    Args:
        path: TIFF, PNG, BMP, MRC or another format that :func:`lisa_micro.read_micrograph` reads, or NPY.
        page: page of a stack, from 0.
        kind: ``"instances"`` or ``"mask"`` to overrule the rule.

    Returns:
        a micrograph whose ``pixels`` ``(H, W)`` are **int32** instance labels, 0 = background, with the pixel size of
        the file.

    Raises:
        InputError: as :func:`read_label_image`.
    """
    found = read_label_image(path, page, kind)
    image, notes = found.image, list(found.image.notes)
    labels = image.pixels
    number = int(labels.max())
    if found.is_mask:
        labels, count = _regions(labels)
        regions = "1 connected region" if count == 1 else f"{count} connected regions"
        notes.append(f"The labels are a mask; its {regions} became the instances.")
    elif number and ((labels == 0) | (labels == number)).all():
        count = _regions(labels)[1]
        if count > 1:
            notes.append(
                f"The only instance, number {number}, consists of {count} separate regions; if the image is a mask, "
                "save it as an 8-bit image."
            )
    return replace(image, pixels=labels, notes=tuple(notes))


def _regions(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected regions (8-neighbours) as int32 labels, and their number."""
    from scipy import ndimage

    regions, count = ndimage.label(labels > 0, structure=np.ones((3, 3), dtype=int), output=np.int32)
    return regions, int(count)


@dataclass(frozen=True, eq=False)
class LabelImage:
    """The numbers of a label image.

    Attributes:
        image: ``pixels`` ``(H, W)`` int32 hold the file's numbers; of a mask 0 and 1. With the pixel size of the file.
        is_mask: whether the numbers are a mask instead of instance numbers.
    """

    image: Micrograph
    is_mask: bool


def read_label_image(path: str | os.PathLike[str], page: int = 0, kind: LabelKind = "auto") -> LabelImage:
    """Read the numbers of a label image without turning a mask into instances.

    Palette images of label editors (PASCAL VOC) give their indices. Colour images are accepted if all channels are
    equal; alpha is ignored.

    Args:
        path, page, kind: as for :func:`read_labels`.

    Raises:
        InputError: missing or damaged, not 2-D, colour, values that are negative, not whole or above
            :data:`MAX_LABEL`, no such page, or an unknown ``kind``.
    """
    path = Path(path)
    if kind not in get_args(LabelKind):
        raise InputError(f"Unknown kind of labels {kind!r}; choose {', '.join(get_args(LabelKind))}.")
    array, image = _read_file(path, page)
    array = _one_channel(array, path.name)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.round(array)).any():
            raise InputError(f"{path.name} holds no labels: they must be whole numbers.")
    elif array.dtype.kind not in "biu":
        raise InputError(f"{path.name} holds no labels: it holds {array.dtype}, not whole numbers.")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > MAX_LABEL:
        raise InputError(
            f"{path.name} holds no labels: its numbers reach from {low:.0f} to {high:.0f}, not 0 to {MAX_LABEL}."
        )
    mask = is_mask(array) if kind == "auto" else kind == "mask"
    labels = ((array != 0) if mask else array).astype(np.int32)
    return LabelImage(replace(image, pixels=labels), mask)


def is_mask(array: np.ndarray) -> bool:
    """Whether ``(H, W)`` numbers are a mask and not instance numbers; the module's description has the rule."""
    if array.dtype == bool:
        return True
    values = set(np.unique(array).tolist())
    if array.dtype.itemsize == 1:
        return values <= {0, 255} or values <= {0, 1}
    return array.dtype == np.uint16 and values <= {0, 65535} and 65535 in values


def _one_channel(array: np.ndarray, name: str) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` -> ``(H, W)``."""
    if array.ndim == 3 and array.shape[2] in (2, 4):
        array = array[:, :, :-1]  # alpha says nothing about instances
    if array.ndim == 3 and array.shape[2] in (1, 3):
        if (array != array[:, :, :1]).any():
            raise InputError(
                f"{name} is a colour image; labels must be numbers (0 = background, k = instance k) in one channel."
            )
        array = array[:, :, 0]
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"{name} is not a label image: its shape is {array.shape}, not (H, W).")
    check_size(array.shape[0], array.shape[1], name)
    return array


def _read_file(path: Path, page: int) -> tuple[np.ndarray, Micrograph]:
    """The numbers as stored, and a micrograph with what else the file says (its pixels are replaced later)."""
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file; check the path of the labels.")
    if path.suffix.lower() == ".npy":
        array = _read_npy(path)
        return array, Micrograph(array, source=str(path))
    head = file_head(path)
    if head[:4] in TIFF_MAGIC:
        return _read_tiff(path, page)
    if path.suffix.lower() in ROSETTASCIIO or is_mrc(path, head):
        image = read_plain(path, page=page)
        return image.pixels, image
    image = read_plain(path, page=page)
    with open_picture(path) as picture:
        picture.seek(page % int(image.metadata.get("pages", 1)))
        array = np.array(picture)  # of a palette image the indices
    return array, replace(image, notes=tuple(note for note in image.notes if "colour" not in note))


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        raise InputError(f"{path.name} is not a readable .npy array of numbers.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise InputError(f"{path.name} must hold one (H, W) array of whole numbers.")
    return array


def _read_tiff(path: Path, page: int) -> tuple[np.ndarray, Micrograph]:
    """A TIFF page without its colour map."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            stack = virtual_stack(tif)
            count = stack[0] if stack else len(tif.pages)
            index = check_page(page, count, path.name)
            directory = (tif.pages.first if stack else tif.pages[index]).aspage()
            check_size(directory.imagelength, directory.imagewidth, path.name)
            array = read_virtual(tif, stack, index) if stack else read_page(tif, directory, path, index)
            size = tiff_pixel_size(tif, directory)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path.name} is not a readable TIFF file: it is damaged or cut short.") from error
    notes = list(size.notes)
    if count > 1:
        notes.append(f"The file has {count} pages; page {index} is used.")
    return array, Micrograph(array, size.nm, str(path), size.origin, notes=tuple(notes), metadata={"pages": count})
