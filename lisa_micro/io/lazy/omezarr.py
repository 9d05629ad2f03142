"""OME-Zarr 0.4 and 0.5: axes, channels and parts of planes, with zarr (extra ``[zarr]``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.extras import missing_extra
from lisa_micro.io.formats.ngff import attributes_of, finest, list_images, missing_chunk, pixel_size_of, resolutions
from lisa_micro.io.lazy.layout import Layout, Opened, Place
from lisa_micro.io.units import to_nm
from lisa_micro.types import InputError


def open_omezarr(path: Path, image: int | str | None, missing: str) -> Opened:
    """Open an OME-Zarr image at its finest resolution; each chunk is read when it is needed.

    Args:
        image: number or path (within the folder) of one of several images; ``None``: the only one.
        missing: ``"error"``: a chunk without a file is an error; ``"fill"``: it has the array's fill value.

    Raises:
        InputError: no image, several of which none was chosen, no such image, or zarr is not installed.
    """
    folder = Path(_chosen(path, image))
    data, axes, steps = finest(folder)
    try:
        import zarr
    except ImportError as error:
        raise missing_extra("Reading OME-Zarr", "zarr") from error
    try:
        array = zarr.open_array(str(data), mode="r")
        shape, dtype = tuple(array.shape), array.dtype
    except Exception as error:  # zarr raises many types of errors on damaged metadata
        raise InputError(f"{data} is no readable Zarr array ({type(error).__name__}).") from error
    if len(shape) != len(axes):
        raise InputError(f"{folder} names {len(axes)} axes, but its array has {len(shape)}.")
    y, x = axes.index("y"), axes.index("x")
    others = [k for k in range(len(axes)) if k not in (y, x)]
    size = pixel_size_of(steps[x], steps[y])
    along_z = steps[axes.index("z")] if "z" in axes else None
    layout = Layout(
        axes=tuple(axes[k] for k in others),
        sizes=tuple(int(shape[k]) for k in others),
        shape=(int(shape[y]), int(shape[x])),
        dtype=str(dtype),
        channels=_channels(folder, int(shape[axes.index("c")])) if "c" in axes else (),
        pixel_size=size,
        step_nm=None if along_z is None else to_nm(*along_z),
        format="OME-Zarr",
        chunk=(int(array.chunks[y]), int(array.chunks[x])),
        levels=resolutions(folder),
        notes=size.notes,
    )

    def read(place: Place, rows: slice, columns: slice) -> np.ndarray:
        part: list[Any] = [slice(None)] * len(shape)
        for k, number in zip(others, place, strict=True):
            part[k] = number
        part[y], part[x] = rows, columns
        absent = missing_chunk(data, array, part) if missing == "error" else None
        if absent is not None:
            raise InputError(
                f"The chunk {absent} of {data} is missing; copy the data again, or, if empty chunks were left out on "
                f'purpose, read them as {array.fill_value} with missing="fill" (--missing-chunks fill).'
            )
        found = np.asarray(array[tuple(part)])
        return found if y < x else found.T

    return Opened(layout, read)


def _chosen(path: Path, image: int | str | None) -> str:
    images = list_images(path)
    if image is None:
        if len(images) > 1:
            raise InputError(f"{path} holds {len(images)} images; give the path of one of them, such as {images[0]}.")
        return images[0]
    names = [Path(one).relative_to(path).as_posix() for one in images]
    if image in names:
        return images[names.index(str(image))]
    if str(image).isdecimal() and int(image) < len(images):
        return images[int(image)]
    raise InputError(f"{path.name} has no image {image!r}; it has {len(images)}, such as {names[0]}.")


def _channels(folder: Path, count: int) -> tuple[str, ...]:
    """Names of the channels as the viewer's settings (``omero``) give them."""
    omero = attributes_of(folder).get("omero")
    listed = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(listed, list) or len(listed) != count:
        return ("",) * count
    return tuple(str(one.get("label") or "") if isinstance(one, dict) else "" for one in listed)
