"""Read OME-Zarr (NGFF 0.4 and 0.5): images, fields of plates, and collections of images, with zarr (extra ``[zarr]``).

A folder with ``multiscales`` is an image; its finest resolution is read. Planes other than x and y (time, channel, z)
are its pages, in the order of the axes. Listing images and counting pages reads metadata files only and needs no
package.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.extras import missing_extra
from lisa_micro.io.arrays import check_page, check_size, to_plane
from lisa_micro.io.pixelsize import PixelSize, combine
from lisa_micro.io.units import to_nm
from lisa_micro.types import InputError, Micrograph

METADATA = (".zattrs", "zarr.json")
_DEPTH = 4


def metadata_file(folder: str | Path) -> Path | None:
    """The file that makes a folder a Zarr group or array; ``None`` for any other folder."""
    for name in (*METADATA, ".zgroup", ".zarray"):
        path = Path(folder) / name
        if path.is_file():
            return path
    return None


def list_images(folder: str | Path) -> list[str]:
    """Paths of all images in a Zarr folder, sorted as its metadata lists them: fields of plates, series, or itself.

    Raises:
        InputError: it holds no OME-Zarr image, or its metadata cannot be read.
    """
    found = list(_images(Path(folder), 0))
    if not found:
        raise InputError(f"{folder} holds no OME-Zarr image: no metadata names 'multiscales'.")
    return found


def _images(folder: Path, depth: int) -> Iterator[str]:
    attributes = attributes_of(folder)
    if "multiscales" in attributes:
        yield str(folder)
        return
    if depth == _DEPTH:
        return
    plate, well = attributes.get("plate"), attributes.get("well")
    if isinstance(plate, dict):
        names = _paths(plate.get("wells"))
    elif isinstance(well, dict):
        names = _paths(well.get("images"))
    else:  # series of bioformats2raw, or any group of images
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
        names.sort(key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    for name in names:
        inner = folder / name
        if _is_inside(inner, folder) and metadata_file(inner) is not None:
            yield from _images(inner, depth + 1)


def _paths(entries: object) -> list[str]:
    """The paths of a list of wells or fields; entries without one are left out."""
    listed = entries if isinstance(entries, list) else []
    return [str(one["path"]) for one in listed if isinstance(one, dict) and "path" in one]


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path from the metadata lies in a folder, links followed; a path that no system allows does not."""
    try:
        return folder.resolve() in path.resolve().parents
    except (OSError, ValueError, RuntimeError):
        return False


def attributes_of(folder: Path) -> dict[str, Any]:
    """Attributes of a group: those under ``ome`` in version 0.5."""
    for name in METADATA:
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no valid JSON, so {folder.name} cannot be read as OME-Zarr.") from error
        if name == "zarr.json" and isinstance(content, dict):
            content = content.get("attributes", {})
        found = content.get("ome", content) if isinstance(content, dict) else None
        return found if isinstance(found, dict) else {}
    return {}


def count_planes(folder: str | Path) -> int:
    """Number of planes of an image: the product of its axes other than x and y.

    Raises:
        InputError: it is no image.
    """
    path, axes, _ = finest(Path(folder))
    shape = _shape(path)
    return int(np.prod([side for name, side in zip(axes, shape, strict=False) if name not in "xy"], dtype=int))


def _shape(path: Path) -> list[int]:
    for name in (".zarray", "zarr.json"):
        try:
            return [int(side) for side in json.loads((path / name).read_bytes())["shape"]]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{path} is no readable Zarr array.") from error
    raise InputError(f"{path} is no Zarr array.")


def finest(folder: Path) -> tuple[Path, list[str], list[tuple[float, str] | None]]:
    """Path of the finest array, names of its axes, and (step, unit) of each axis."""
    try:
        scales = attributes_of(folder)["multiscales"][0]
        data = scales["datasets"][0]
        axes = scales.get("axes") or list("tczyx")
        names = [str(axis["name"] if isinstance(axis, dict) else axis) for axis in axes]
        units = [str(axis.get("unit") or "") if isinstance(axis, dict) else "" for axis in axes]
        path = folder / str(data["path"])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} is no OME-Zarr image: its metadata names no 'multiscales'.") from error
    if not _is_inside(path, folder) or not {"x", "y"} <= set(names):
        raise InputError(f"{folder} is no readable OME-Zarr image.")
    steps = np.ones(len(names))
    known = False
    try:
        for holder in (data, scales):
            for one in holder.get("coordinateTransformations") or []:
                if isinstance(one, dict) and one.get("type") == "scale" and len(one.get("scale", [])) == len(names):
                    steps, known = steps * np.asarray(one["scale"], float), True
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{folder} is no readable OME-Zarr image: its scale does not consist of numbers.") from error
    return (
        path,
        names,
        [(float(step), unit) if known and unit else None for step, unit in zip(steps, units, strict=True)],
    )


def resolutions(folder: Path) -> tuple[tuple[int, int], ...]:
    """``(H, W)`` px of each resolution of an image, the finest first; empty of a single one. Only metadata is read; a
    level whose metadata cannot be read is left out."""
    _, axes, _ = finest(folder)
    found = []
    for data in attributes_of(folder)["multiscales"][0]["datasets"]:
        with contextlib.suppress(InputError, KeyError, TypeError, IndexError):
            shape = _shape(folder / str(data["path"]))
            found.append((shape[axes.index("y")], shape[axes.index("x")]))
    return tuple(found) if len(found) > 1 else ()


def read_image(folder: Path, page: int) -> Micrograph:
    """Read one plane of an image at its finest resolution.

    Raises:
        InputError: the folder holds no image or several, there is no such plane, or zarr is not installed.
    """
    images = list_images(folder)
    if len(images) > 1:
        raise InputError(f"{folder} holds {len(images)} images; give the path of one of them, such as {images[0]}.")
    path, axes, steps = finest(Path(images[0]))
    count = count_planes(images[0])
    index = check_page(page, count, folder.name)
    try:
        import zarr
    except ImportError as error:
        raise missing_extra("Reading OME-Zarr", "zarr") from error
    try:
        array = zarr.open_array(str(path), mode="r")
        others = [k for k, name in enumerate(axes) if name not in "xy"]
        place = np.unravel_index(index, [array.shape[k] for k in others]) if others else ()
        chosen: list[Any] = [slice(None)] * len(axes)
        for k, number in zip(others, place, strict=True):
            chosen[k] = int(number)
        rows, columns = array.shape[axes.index("y")], array.shape[axes.index("x")]
        check_size(rows, columns, folder.name)
        absent = missing_chunk(path, array, chosen)
        plane = np.asarray(array[tuple(chosen)])
        dtype = str(array.dtype)
    except InputError:
        raise
    except Exception as error:  # zarr and its codecs raise many types of errors on damaged files
        raise InputError(f"{folder.name} is damaged or cannot be decoded ({type(error).__name__}).") from error
    if axes.index("x") < axes.index("y"):
        plane = plane.T
    pixels, notes = to_plane(plane, folder.name)
    size = pixel_size_of(steps[axes.index("x")], steps[axes.index("y")])
    if absent is not None:
        notes.append(f"Chunks of the image have no file, such as {absent}; they are {array.fill_value} throughout.")
    if count > 1:
        notes.append(f"The image has {count} planes; plane {index} is used.")
    return Micrograph(
        pixels=pixels,
        pixel_size_nm=size.nm,
        source=str(folder),
        pixel_size_origin=size.origin,
        notes=(*notes, *size.notes),
        metadata={"format": "OME-Zarr", "pages": count, "dtype": dtype},
    )


def missing_chunk(path: Path, array: Any, part: list[Any]) -> str | None:
    """The first chunk of a part of an array that has no file; ``None``: all have.

    Args:
        path: of the array. array: opened with zarr.
        part: an index or a slice for each axis.
    """
    spans = []
    for one, side, whole in zip(part, array.shards or array.chunks, array.shape, strict=True):
        low, high, _ = one.indices(whole) if isinstance(one, slice) else (one, one + 1, 1)
        spans.append((low // side, -(-high // side)))
    for offset in np.ndindex(*[stop - start for start, stop in spans]):
        key = array.metadata.encode_chunk_key(tuple(start + k for k, (start, _) in zip(offset, spans, strict=True)))
        if not (path / key).is_file():
            return str(key)
    return None


def pixel_size_of(x: tuple[float, str] | None, y: tuple[float, str] | None) -> PixelSize:
    """Pixel size from the (step, unit) of the axes x and y."""
    if x is None or y is None:
        return PixelSize(None)
    return combine(to_nm(*x), to_nm(*y), "ome")
