"""MRC, and the formats of rosettasciio: DM3, DM4, EMD, SER, EMI and TVIPS."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.extras import missing_extra
from lisa_micro.io.formats.volumes import (
    ROSETTASCIIO,
    axes_size,
    check_mrc_header,
    image_axes,
    modality_of_signal,
    signals_in,
)
from lisa_micro.io.lazy.layout import Layout, Opened, Place, plain_rows
from lisa_micro.io.pixelsize import combine
from lisa_micro.io.units import to_nm, unit_in_nm
from lisa_micro.types import InputError


def open_mrc(path: Path) -> Opened:
    """Open an MRC file; its sections are slices along z, a voxel size in Å.

    Raises:
        InputError: not a readable MRC file.
    """
    import mrcfile

    check_mrc_header(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # permissive reading warns about each deviation from the standard
            with mrcfile.mmap(path, mode="r", permissive=True) as file:
                if file.data is None:
                    raise EOFError("no data")
                shape, dtype = tuple(int(side) for side in file.data.shape), file.data.dtype
                offset = 1024 + int(file.header.nsymbt)
                edges = [to_nm(float(file.voxel_size[axis]), "angstrom") for axis in "xyz"]
                # of a series of 2-D images the voxel size along z means nothing
                stack = len(shape) > 2 and not file.is_image_stack()
    except Exception as error:
        raise InputError(f"{path.name} is not a readable MRC file: it is damaged or cut short.") from error
    shape = shape if len(shape) > 2 else (1, *shape)
    sections = int(np.prod(shape[:-2], dtype=int))
    size = combine(edges[0], edges[1], "mrc")
    layout = Layout(
        axes=("z",),
        sizes=(sections,),
        shape=(shape[-2], shape[-1]),
        dtype=str(dtype),
        pixel_size=size,
        step_nm=edges[2] if stack else None,
        format="MRC",
        notes=size.notes,
    )
    return Opened(layout, plain_rows(str(path), offset, dtype, (sections, *shape[-2:])))


def open_rosettasciio(path: Path, image: int | str | None) -> Opened:
    """Open a DM3, DM4, EMD, SER, EMI or TVIPS file.

    Images of the size of the largest one are its channels, named by their titles (detectors, elements).

    Args:
        image: number or title of another image; ``None``: the largest, and its like.

    Raises:
        InputError: rosettasciio is not installed, the file is damaged or holds no image, or there is no such image.
    """
    module = ROSETTASCIIO[path.suffix.lower()]
    try:
        logging.getLogger("rsciio").setLevel(logging.ERROR)
        importlib.import_module(f"rsciio.{module}")
    except ImportError as error:
        raise missing_extra(f"Reading {path.suffix} files", "rsciio") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signals = signals_in(path)
    except ImportError as error:  # EMD files need h5py, which rosettasciio imports only for them
        raise missing_extra(f"Reading {path.suffix} files", "h5py") from error
    except Exception as error:
        raise InputError(f"{path.name} is damaged or cut short ({type(error).__name__}).") from error
    images = [one for one in signals if image_axes(one["axes"]) is not None and one["data"].ndim >= 2]
    if not images:
        raise InputError(f"{path.name} holds no image (spectra and line profiles cannot be segmented).")
    titles = [_title(one) for one in images]
    if image is None:
        largest = max(images, key=lambda one: int(np.prod(_plane_shape(one))))
        chosen = [one for one in images if one["data"].shape == largest["data"].shape]
    elif isinstance(image, str) and image in titles:
        chosen = [images[titles.index(image)]]
    elif str(image).isdecimal() and int(image) < len(images):
        chosen = [images[int(image)]]
    else:
        raise InputError(f"{path.name} has no image {image!r}; its images are {', '.join(titles)}.")
    return _signals(chosen, path)


def _title(signal: dict[str, Any]) -> str:
    return str(signal.get("metadata", {}).get("General", {}).get("title") or "")


def _plane_shape(signal: dict[str, Any]) -> tuple[int, int]:
    roles = image_axes(signal["axes"])
    assert roles is not None  # images were chosen by it
    return int(signal["data"].shape[roles[0]]), int(signal["data"].shape[roles[1]])


def _signals(signals: list[dict[str, Any]], path: Path) -> Opened:
    first = signals[0]
    roles = image_axes(first["axes"])
    assert roles is not None
    others = [k for k in range(first["data"].ndim) if k not in roles]
    names: list[str] = []
    for k in others:
        name = _axis_name(first["axes"][k])
        names.append(name if name not in names else f"{name}{k}")
    axes, sizes = tuple(names), tuple(int(first["data"].shape[k]) for k in others)
    several = len(signals) > 1
    size = axes_size(first["axes"])
    step = None
    if "z" in names:
        axis = first["axes"][others[names.index("z")]]
        step = to_nm(abs(float(axis.get("scale") or 0)), str(axis.get("units") or ""))
    layout = Layout(
        axes=("c", *axes) if several else axes,
        sizes=(len(signals), *sizes) if several else sizes,
        shape=_plane_shape(first),
        dtype=str(first["data"].dtype),
        channels=tuple(_title(one) for one in signals) if several else (),
        pixel_size=size,
        step_nm=step,
        format=path.suffix[1:].upper(),
        modality=modality_of_signal(first.get("metadata", {})),
        notes=size.notes,
    )

    def read(place: Place, rows: slice, columns: slice) -> np.ndarray:
        signal = signals[place[0]] if several else first
        selection: list[Any] = [slice(None)] * signal["data"].ndim
        for axis, k in zip(others, place[1:] if several else place, strict=True):
            selection[axis] = k
        selection[roles[0]], selection[roles[1]] = rows, columns
        part = np.asarray(signal["data"][tuple(selection)])
        return part if roles[0] < roles[1] else part.T

    return Opened(layout, read)


def _axis_name(axis: dict[str, Any]) -> str:
    unit = str(axis.get("units") or "")
    if unit_in_nm(unit) is not None:
        return "z"
    name = str(axis.get("name") or "").casefold()
    return "t" if unit.strip().casefold() in ("s", "ms", "us", "µs", "min") or name in ("t", "time") else "z"
