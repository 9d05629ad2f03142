"""Read MRC with mrcfile, and DM3, DM4, EMD, SER, EMI, TVIPS and Bruker's BCF with rosettasciio (``[formats]``)."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io.arrays import check_page, check_size, to_plane
from lisa_micro.io.formats.bruker import check_bcf
from lisa_micro.io.pixelsize import PixelSize, combine
from lisa_micro.io.tags.stated import tilt_in_degrees
from lisa_micro.io.units import to_nm
from lisa_micro.types import InputError, Micrograph

MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".ccp4")

ROSETTASCIIO = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emd": "emd",
    ".ser": "tia",
    ".emi": "tia",
    ".tvips": "tvips",
    ".bcf": "bruker",
}
"""File suffix -> module of rosettasciio; imported only when such a file is read (it is under GPL-3)."""
_OPTIONS: dict[str, dict[str, Any]] = {".bcf": {"select_type": "image"}}
"""File suffix -> further arguments of its reader: of Bruker's maps only the micrographs are needed, not the spectra."""


def is_mrc(path: Path, head: bytes) -> bool:
    """Whether a file is MRC; ``head`` holds its first 212 bytes or more."""
    return head[208:212] in (b"MAP ", b"MAP\x00") or path.suffix.lower() in MRC_SUFFIXES


def check_mrc_header(path: Path) -> None:
    """Check that the extended header lies within the file, since mrcfile takes as much memory as its length states.

    Raises:
        InputError: it does not.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        size = file.seek(0, 2)
    if len(head) < 1024:
        raise InputError(f"{path.name} is not a readable MRC file: it is damaged or cut short.")
    # the machine stamp states the order of bytes; without one it is the order in which the mode is small
    stamp, modes = head[212], (head[12:16], head[15:11:-1])
    big = stamp == 0x11 or (stamp != 0x44 and int.from_bytes(modes[1], "little") < int.from_bytes(modes[0], "little"))
    length = int.from_bytes(head[92:96], "big" if big else "little", signed=True)
    if not 0 <= length <= size - 1024:
        raise InputError(f"{path.name} is not a readable MRC file: its extended header reaches beyond its end.")


def read_mrc(path: Path, page: int) -> Micrograph:
    """Read one section of an MRC file; its voxel size is in angstrom.

    Raises:
        InputError: not a readable MRC file, no such section, or too large.
    """
    import mrcfile

    name = path.name
    try:
        check_mrc_header(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # permissive reading warns about each deviation from the standard
            # a memory map: only the requested section of a tilt series is read
            with mrcfile.mmap(path, mode="r", permissive=True) as file:
                if file.data is None:
                    raise InputError(f"{name} is not a readable MRC file: it is damaged or cut short.")
                data = file.data if file.data.ndim > 2 else file.data[None]
                data = data.reshape((-1, *data.shape[-2:]))  # (sections, H, W)
                index = check_page(page, data.shape[0], name)
                check_size(data.shape[1], data.shape[2], name)
                array = np.array(data[index])
                voxel = file.voxel_size
                x, y = float(voxel.x), float(voxel.y)
                count = data.shape[0]
                labels = [str(label).strip() for label in file.get_labels()]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} is not a readable MRC file: {str(error).strip() or type(error).__name__}.") from error
    plane, notes = to_plane(array, name)
    size = combine(to_nm(x, "angstrom"), to_nm(y, "angstrom"), "mrc")
    if size.nm is not None and abs(x - 1) < 1e-6 and abs(y - 1) < 1e-6:
        notes.append("The file states 1 Å per pixel, which many programs write if the pixel size is unknown; check it.")
    if count > 1:
        notes.append(f"The file has {count} sections; section {index} is used.")
    return Micrograph(
        pixels=plane,
        pixel_size_nm=size.nm,
        source=str(path),
        pixel_size_origin=size.origin,
        notes=(*notes, *size.notes),
        metadata={"format": "MRC", "pages": count, "labels": labels, "dtype": str(array.dtype)},
    )


def read_rosettasciio(path: Path, page: int) -> Micrograph:
    """Read the image of a DM3, DM4, EMD, SER, EMI, TVIPS or BCF file.

    Of several images the largest is read, and of a stack the frame ``page``.

    Raises:
        InputError: rosettasciio is not installed, or the file is damaged or holds no image.
    """
    name = path.name
    try:
        importlib.import_module("rsciio")
        # it prints warnings (mostly about packages that would make it faster) to the standard output
        logging.getLogger("rsciio").setLevel(logging.ERROR)
        importlib.import_module(f"rsciio.{ROSETTASCIIO[path.suffix.lower()]}")
    except ImportError as error:
        raise _missing(path) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signal = largest_image(signals_in(path))
            if signal is None:
                raise InputError(f"{name} holds no image (spectra and line profiles cannot be segmented).")
            array, index, count = read_frame(signal, page, name)
    except InputError:
        raise
    except ImportError as error:  # EMD files need h5py, which rosettasciio imports only for them
        raise _missing(path) from error
    except Exception as error:
        text = str(error).strip().splitlines()
        raise InputError(
            f"{name} is damaged or cut short ({text[0][:160] if text else type(error).__name__})."
        ) from error
    plane, notes = to_plane(array, name)
    size = axes_size(signal["axes"])
    if count > 1:
        notes.append(f"The file has {count} frames; frame {index} is used.")
    general = signal.get("metadata", {}).get("General", {})
    metadata = {"format": path.suffix[1:].upper(), "pages": count, "title": general.get("title", "")}
    tilt = tilt_in_degrees(signal.get("original_metadata", {}).get("Stage", {}).get("Tilt"))  # Bruker's, in degrees
    if tilt is not None:
        metadata["stage_tilt_deg"] = tilt
    return Micrograph(
        pixels=plane,
        pixel_size_nm=size.nm,
        source=str(path),
        pixel_size_origin=size.origin,
        modality=modality_of_signal(signal.get("metadata", {})),
        notes=(*notes, *size.notes),
        metadata=metadata,
    )


def signals_in(path: Path) -> list[dict[str, Any]]:
    """The signals of a file of one of the formats in :data:`ROSETTASCIIO`.

    They are read lazily, so that only the requested frame of a stack or 4-D data set is loaded.
    """
    suffix = path.suffix.lower()
    if suffix == ".bcf":
        check_bcf(path)
    reader = importlib.import_module(f"rsciio.{ROSETTASCIIO[suffix]}")
    return list(reader.file_reader(str(path), lazy=True, **_OPTIONS.get(suffix, {})))


def _missing(path: Path) -> InputError:
    command = "pip install 'lisa-micro[formats]'"
    return InputError(f"Reading {path.suffix} files needs rosettasciio; install it with: {command}.")


def image_axes(axes: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Indices of the two axes of the image: the last two signal axes.

    A scan stored as a map of single values has only navigation axes; if there are two, they are the image.
    """
    image = [i for i, axis in enumerate(axes) if not axis.get("navigate", False)]
    if not image and len(axes) == 2:
        image = [0, 1]
    return (image[-2], image[-1]) if len(image) >= 2 else None


def largest_image(signals: list[dict[str, Any]]) -> dict[str, Any] | None:
    best, best_size = None, 0
    for signal in signals:
        roles = image_axes(signal["axes"])
        if roles is None or signal["data"].ndim < 2:
            continue
        size = int(np.prod([signal["data"].shape[role] for role in roles]))
        if size > best_size:
            best, best_size = signal, size
    return best


def read_frame(signal: dict[str, Any], page: int, name: str) -> tuple[np.ndarray, int, int]:
    """One frame of a signal, counting over all navigation axes, the last one fastest.

    Returns:
        the frame, its index, and the number of frames.
    """
    data, roles = signal["data"], image_axes(signal["axes"])
    assert roles is not None  # largest_image chose a signal that has them
    others = [i for i in range(data.ndim) if i not in roles]
    counts = [data.shape[i] for i in others]
    count = int(np.prod(counts)) if counts else 1
    index = check_page(page, count, name)
    check_size(data.shape[roles[0]], data.shape[roles[1]], name)
    selection: list[Any] = [slice(None)] * data.ndim
    for axis, position in zip(others, np.unravel_index(index, counts) if counts else (), strict=True):
        selection[axis] = int(position)
    return np.asarray(data[tuple(selection)]), index, count


def axes_size(axes: list[dict[str, Any]]) -> PixelSize:
    """Pixel size from the axes of a signal that holds an image."""
    roles = image_axes(axes)
    assert roles is not None
    y, x = axes[roles[0]], axes[roles[1]]
    units = [str(axis.get("units") or "") for axis in (x, y)]
    # the scale is negative if an axis was flipped; the edge of a pixel is not
    edges = [to_nm(abs(float(axis.get("scale") or 0.0)), unit) for axis, unit in zip((x, y), units, strict=True)]
    size = combine(edges[0], edges[1], "rosettasciio")
    if size.nm is None and any("1/" in unit.replace(" ", "") or "rad" in unit for unit in units):
        note = f"The image is calibrated in {units[0]}: it is a diffraction pattern and has no pixel size in nm."
        return PixelSize(None, "none", (note,))
    return size


def modality_of_signal(metadata: dict[str, Any]) -> str | None:
    """Imaging mode, as far as the metadata of a signal tells."""
    tem = metadata.get("Acquisition_instrument", {}).get("TEM", {})
    if metadata.get("Acquisition_instrument", {}).get("SEM"):
        return "SEM"
    if "HAADF" in str(metadata.get("General", {}).get("title", "")).upper():
        return "HAADF-STEM"
    return "BF-TEM" if tem.get("acquisition_mode") == "TEM" else None
