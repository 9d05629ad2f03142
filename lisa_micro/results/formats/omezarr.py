"""A micrograph with its labels as OME-Zarr 0.5 (Zarr 3), which napari, Fiji and many others open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.extras import require
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import Micrograph

VERSION = "0.5"
CHUNK = 1024
"""px: side of a chunk."""
SMALLEST = 512
"""px: the pyramid ends at the first level whose longer side is at most this."""


def write_omezarr(path: Path, segments: Sequence[Segmentation], image: Micrograph) -> None:
    """Write ``path`` as a Zarr folder: the micrograph as a pyramid, and below ``labels`` one pyramid for each segment.

    Axes are y and x with the pixel size in nanometres where it is known. Labels keep their numbers.

    Raises:
        InputError: the package zarr is missing.
    """
    require("Writing OME-Zarr", "zarr")
    import zarr

    root = zarr.open_group(str(path), mode="w", zarr_format=3)
    name = Path(image.source).stem or "image"
    root.attrs["ome"] = {
        "version": VERSION,
        "multiscales": [_pyramid(root, np.asarray(image.pixels), image, name, True)],
    }
    if not segments:
        return
    names = _names(segments)
    labels = root.create_group("labels")
    labels.attrs["ome"] = {"version": VERSION, "labels": names}
    for key, segment in zip(names, segments, strict=True):
        group = labels.create_group(key)
        group.attrs["ome"] = {
            "version": VERSION,
            "multiscales": [_pyramid(group, segment.labels.astype(np.int32), image, key, False)],
            "image-label": {"source": {"image": "../../"}},
        }


def _names(segments: Sequence[Segmentation]) -> list[str]:
    names: list[str] = []
    for segment in segments:
        name, number = segment.concept, 2
        while name in names:
            name, number = f"{segment.concept}-{number}", number + 1
        names.append(name)
    return names


def _pyramid(group: Any, array: np.ndarray, image: Micrograph, name: str, smooth: bool) -> dict[str, Any]:
    """Write the levels of an array ``(H, W)``, each half of the one before; returns their metadata."""
    nm = image.pixel_size_nm
    datasets = []
    level, step = 0, 1
    while True:
        group.create_array(
            str(level), data=array, chunks=tuple(min(CHUNK, side) for side in array.shape), dimension_names=["y", "x"]
        )
        scale = [step * (nm or 1.0)] * 2
        # the first pixel of a level is centred between those that it stands for
        move = [(step - 1) / 2 * (nm or 1.0) if smooth else 0.0] * 2
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if smooth and step > 1:
            transforms.append({"type": "translation", "translation": move})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
        if max(array.shape) <= SMALLEST or min(array.shape) < 2:
            break
        array, level, step = _halved(array, smooth), level + 1, 2 * step
    axes = [{"name": axis, "type": "space"} | ({"unit": "nanometer"} if nm else {}) for axis in ("y", "x")]
    return {"name": name, "axes": axes, "datasets": datasets}


def _halved(array: np.ndarray, smooth: bool) -> np.ndarray:
    height, width = (side // 2 * 2 for side in array.shape)
    if not smooth:
        return np.ascontiguousarray(array[:height:2, :width:2])
    blocks = array[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return np.asarray(blocks.mean(axis=(1, 3)), array.dtype)
