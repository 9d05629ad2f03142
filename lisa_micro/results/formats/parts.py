"""Arrays of any size as OME-Zarr 0.5, written part by part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.extras import require
from lisa_micro.results.formats.omezarr import CHUNK, SMALLEST, VERSION

SLAB_BYTES = 1 << 26
"""Bytes of a chunk of a volume, about."""

Part = tuple[slice, ...]
ReadPart = Callable[[Part], np.ndarray]


@dataclass(frozen=True)
class Parts:
    """An array that is read part by part.

    Attributes:
        read: slices along all axes -> that part.
        shape: of the whole; y and x are the last axes.
        dtype: of the parts.
    """

    read: ReadPart
    shape: tuple[int, ...]
    dtype: np.dtype


def write_parts(
    path: Path,
    image: Parts,
    labels: Mapping[str, Parts],
    steps_nm: Sequence[float | None],
    name: str,
) -> None:
    """Write an image as a pyramid, and below ``labels`` one pyramid for each label image.

    Args:
        path: folder that is written; it appears complete or not at all, and replaces one of that name.
        image: ``(H, W)`` or ``(Z, H, W)``.
        labels: name -> labels of the same shape.
        steps_nm: size of a pixel or distance of slices along each axis in nm; ``None``: unknown.
        name: of the image.

    Raises:
        InputError: the package zarr is missing.
    """
    require("Writing OME-Zarr", "zarr")
    draft = path.with_name(f".{path.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _write(draft, image, labels, steps_nm, name)
        if path.is_dir():
            shutil.rmtree(path)
        draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(path: Path, image: Parts, labels: Mapping[str, Parts], steps_nm: Sequence[float | None], name: str) -> None:
    import zarr

    root = zarr.open_group(str(path), mode="w", zarr_format=3)
    root.attrs["ome"] = {"version": VERSION, "multiscales": [_pyramid(root, image, steps_nm, name, True)]}
    if not labels:
        return
    group = root.create_group("labels")
    group.attrs["ome"] = {"version": VERSION, "labels": list(labels)}
    for key, one in labels.items():
        inner = group.create_group(key)
        inner.attrs["ome"] = {
            "version": VERSION,
            "multiscales": [_pyramid(inner, one, steps_nm, key, False)],
            "image-label": {"source": {"image": "../../"}},
        }


def _pyramid(group: Any, parts: Parts, steps_nm: Sequence[float | None], name: str, smooth: bool) -> dict[str, Any]:
    """Write the levels of an array, each half of the one before along y and x; returns their metadata."""
    axes = ("z", "y", "x")[-len(parts.shape) :]
    datasets, level, step, shape = [], 0, 1, parts.shape
    read: ReadPart = parts.read
    while True:
        chunks = _chunks(shape, parts.dtype)
        array = group.create_array(str(level), shape=shape, dtype=parts.dtype, chunks=chunks, dimension_names=axes)
        for part in blocks(shape, chunks):
            array[part] = read(part)
        factors = [1.0] * (len(shape) - 2) + [float(step)] * 2
        scale = [factor * (nm or 1.0) for factor, nm in zip(factors, steps_nm, strict=True)]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if smooth and step > 1:
            # the first pixel of a level is centred between those that it stands for
            move = [(factor - 1) / 2 * (nm or 1.0) for factor, nm in zip(factors, steps_nm, strict=True)]
            transforms.append({"type": "translation", "translation": move})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
        if max(shape[-2:]) <= SMALLEST or min(shape[-2:]) < 2:
            break
        read = _halving(array, smooth)
        shape = (*shape[:-2], shape[-2] // 2, shape[-1] // 2)
        level, step = level + 1, 2 * step
    named = [
        {"name": axis, "type": "space"} | ({"unit": "nanometer"} if nm else {})
        for axis, nm in zip(axes, steps_nm, strict=True)
    ]
    return {"name": name, "axes": named, "datasets": datasets}


def _chunks(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    plane = tuple(min(CHUNK, side) for side in shape[-2:])
    if len(shape) == 2:
        return plane
    depth = SLAB_BYTES // (shape[-2] * shape[-1] * np.dtype(dtype).itemsize)
    return (int(np.clip(depth, 1, min(16, shape[0]))), *plane)


def blocks(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[Part]:
    """The chunks of an array as slices, the last axis fastest."""
    spans = [
        [slice(low, min(low + side, whole)) for low in range(0, whole, side)]
        for whole, side in zip(shape, chunks, strict=True)
    ]
    return product(*spans)


def _halving(array: Any, smooth: bool) -> ReadPart:
    """Reads an array at half its size along y and x."""

    def read(part: Part) -> np.ndarray:
        twice = (*part[:-2], *(slice(2 * one.start, 2 * one.stop) for one in part[-2:]))
        found = np.asarray(array[twice])
        if not smooth:
            return found[..., ::2, ::2]
        height, width = found.shape[-2:]
        cells = found.reshape(*found.shape[:-2], height // 2, 2, width // 2, 2)
        mean = cells.mean(axis=(-3, -1), dtype=np.float32)
        return (np.rint(mean) if array.dtype.kind in "iu" else mean).astype(array.dtype)

    return read
