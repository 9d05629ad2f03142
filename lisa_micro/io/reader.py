"""Read any micrograph: a path or an image in memory in, a :class:`~lisa_micro.types.Micrograph` out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from lisa_micro.io.arrays import MAX_SIDE
from lisa_micro.io.formats.ngff import metadata_file, read_image
from lisa_micro.io.formats.pictures import read_picture, readable
from lisa_micro.io.formats.tiff import read_tiff
from lisa_micro.io.formats.volumes import ROSETTASCIIO, is_mrc, read_mrc, read_rosettasciio
from lisa_micro.io.memory import MicrographLike, micrograph_from_memory
from lisa_micro.io.sidecar import AGREEMENT, read_sidecar
from lisa_micro.io.survey import EVERYTHING, NOTHING, WEAKER_ORIGINS, Looking, surveyed
from lisa_micro.io.units import check_pixel_size, format_length
from lisa_micro.types import InputError, Micrograph

TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
PICTURE_MAGIC = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"BM",
    b"GIF8",
    b"RIFF",
    b"P1",
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
)


def read_micrograph(
    source: MicrographLike,
    pixel_size_nm: float | None = None,
    page: int = 0,
    looking: Looking = EVERYTHING,
) -> Micrograph:
    """Read one 2-D image.

    The format is recognised by the content of a file, not by its name. Supported: TIFF (8, 16, 32 bit, float, colour,
    palette, stacks, with the tags of ImageJ, OME, FEI / Thermo Fisher, Phenom, Zeiss, TESCAN, JEOL, Gatan, TVIPS and
    Olympus), PNG, JPEG, BMP, GIF, WebP, PGM and MRC; with the extra ``[formats]`` also DM3, DM4, EMD, SER, EMI,
    TVIPS and Bruker's BCF, and with ``[zarr]`` OME-Zarr.

    Args:
        source: path of a file; array ``(H, W)`` or ``(H, W, 1 to 4)`` of any numeric type; HyperSpy signal, xarray
            ``DataArray``, torch tensor or Pillow image; or a micrograph.
        pixel_size_nm: edge length of a pixel in nm; takes precedence over the file's own (origin ``"user"``).
        page: image of a stack, from 0; negative numbers count from the end.
        looking: what is looked for in the picture of a file: its data bar, its scale bar. Images in memory and raw data
            (MRC, DM, EMD ...) are taken as they are.

    Returns:
        a micrograph with ``pixels`` ``(H, W)`` float32, intensities as in the file; colour as luminance, without alpha.
        Its ``notes`` say what was changed or ignored.

    Raises:
        InputError: the file is missing, empty, damaged, truncated or unreadable, is a folder or no image, has no pixels
            or a side longer than 16384 px, or has no such page; or the pixel size is not positive.
    """
    given = check_pixel_size(pixel_size_nm)
    drawn = False
    if isinstance(source, Micrograph):
        micrograph = source
    elif isinstance(source, str | os.PathLike):
        micrograph, drawn = _read_path(Path(source), page)
        micrograph = _with_sidecar(micrograph, Path(source)) if drawn else micrograph
    else:
        micrograph = micrograph_from_memory(source)
    if given is not None:
        micrograph = replace(micrograph, pixel_size_nm=given, pixel_size_origin="user")
    if not drawn:  # a field that the user gives holds for every image
        looking = replace(looking, banner=False, scale_bar=False)
    return surveyed(micrograph, looking)


def read_plain(source: MicrographLike, pixel_size_nm: float | None = None, page: int = 0) -> Micrograph:
    """:func:`read_micrograph` without looking for what is burnt into the picture.

    For frames of videos and training pictures, whose labels cover the whole picture.
    """
    return read_micrograph(source, pixel_size_nm, page, NOTHING)


def as_micrograph(image: MicrographLike, pixel_size_nm: float | None = None) -> Micrograph:
    """Convert any image to a micrograph; a micrograph is returned as it is.

    This is how every function of the library that takes a micrograph reads its argument.

    Args:
        image: micrograph, path, array ``(H, W)`` or ``(H, W, 1 to 4)``, HyperSpy signal, xarray ``DataArray``, torch
            tensor or Pillow image.
        pixel_size_nm: edge length of a pixel in nm; takes precedence over the image's own.

    Raises:
        InputError: as :func:`read_micrograph`.
    """
    return read_micrograph(image, pixel_size_nm)


def pixels_of(image: MicrographLike) -> np.ndarray:
    """``(H, W)`` intensities of any image, for functions that need nothing else.

    A 2-D array is returned as it is, without conversion to float32.

    Raises:
        InputError: as :func:`read_micrograph`.
    """
    if isinstance(image, np.ndarray) and image.ndim == 2 and image.dtype.kind in "biuf":
        return image
    return as_micrograph(image).pixels


def _read_path(path: Path, page: int) -> tuple[Micrograph, bool]:
    """The micrograph of a file, and whether it is a picture, into which a microscope or a person may have drawn."""
    if _is_ome_zarr(path):
        return read_image(path, page), False
    head = file_head(path)
    if head[:4] in TIFF_MAGIC:
        return read_tiff(path, page), True
    if path.suffix.lower() in ROSETTASCIIO:
        return read_rosettasciio(path, page), False
    if not head.startswith(PICTURE_MAGIC) and is_mrc(path, head):
        return read_mrc(path, page), False
    return read_picture(path, page), True


def _is_ome_zarr(path: Path) -> bool:
    """Whether a path is a folder with an OME-Zarr image; a path that cannot be looked up is none."""
    try:
        return path.is_dir() and metadata_file(path) is not None
    except OSError:
        return False


def _with_sidecar(image: Micrograph, path: Path) -> Micrograph:
    """The micrograph with what its side-car file states and its own tags do not; a contradiction is told."""
    facts = read_sidecar(path, image.shape[1])
    if image.modality is None and facts.modality is not None:
        image = replace(image, modality=facts.modality)
    if facts.tilt_deg is not None and "stage_tilt_deg" not in image.metadata:
        image = replace(image, metadata={**image.metadata, "stage_tilt_deg": facts.tilt_deg})
    size = facts.size
    if image.pixel_size_nm is not None and image.pixel_size_origin not in WEAKER_ORIGINS:
        if size.nm is None or abs(size.nm / image.pixel_size_nm - 1) <= AGREEMENT:
            return image
        note = (
            f"The side-car file states {format_length(size.nm)} per pixel, but the pixel size "
            f"({image.pixel_size_origin}) is {format_length(image.pixel_size_nm)}; the latter is used."
        )
        return replace(image, notes=(*image.notes, note))
    if size.nm is None:
        return replace(image, notes=(*image.notes, *size.notes)) if size.notes else image
    notes = tuple(note for note in image.notes if "print setting" not in note)  # what the side-car file settles
    return replace(image, pixel_size_nm=size.nm, pixel_size_origin=size.origin, notes=(*notes, *size.notes))


def file_head(path: Path) -> bytes:
    """The first 256 bytes of a file.

    Raises:
        InputError: missing, a folder, empty, or not readable.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the path of one image.")
        if path.exists() and not path.is_file():
            # a pipe, for example, might never end
            raise InputError(f"{path} is not a regular file; give the path of an image.")
        with path.open("rb") as file:
            head = file.read(256)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path of the image.") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{str(path)[:200]} cannot be read: {reason}.") from error
    if not head:
        raise InputError(f"{path} is empty (0 bytes).")
    return head


__all__ = ["MAX_SIDE", "as_micrograph", "pixels_of", "read_micrograph", "read_plain", "readable"]
