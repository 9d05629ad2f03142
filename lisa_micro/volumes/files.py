"""Files of a volume: labels, table, record, a picture of some slices, OME-Zarr."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.extras import release
from lisa_micro.io import LabelStackWriter, check_output, write_files, write_json
from lisa_micro.io.lazy import Plane
from lisa_micro.results.formats.parts import Part, Parts, write_parts
from lisa_micro.viz.overlay import PALETTE, draw_overlay
from lisa_micro.volumes.volume import Volume

VOLUME_FILES = ("labels.tif", "volumes.csv", "volume.json", "slices.png")
"""Names of the files of a volume."""
SHOWN, SHOWN_SIDE = 6, 480
"""Number of slices in the picture, and the longer side of each, px."""


def save_volume(volume: Volume, folder: str | os.PathLike[str], force: bool = False) -> list[Path]:
    """Write all files of a volume; see :meth:`Volume.save`. With the planes of its stack also ``slices.png``."""
    folder = check_output(folder, force, VOLUME_FILES)
    writers: dict[str, Callable[[Path], object]] = {
        "labels.tif": partial(_write_labels, volume=volume),
        "volumes.csv": lambda path: volume.table().to_csv(path, index=False),
        "volume.json": lambda path: write_json(path, record_of(volume)),
    }
    if volume.planes:
        writers["slices.png"] = partial(_write_slices, volume=volume)
    return write_files(folder, writers)


def record_of(volume: Volume) -> dict[str, object]:
    """Content of ``volume.json``."""
    depth, height, width = volume.shape
    return {
        "reply": volume.text,
        "concept": volume.concept,
        "instances": volume.count,
        "notes": volume.notes,
        "slices": depth,
        "width_px": width,
        "height_px": height,
        "pixel_size_nm": volume.pixel_size_nm,
        "step_nm": volume.step_nm,
        "version": release(),
        **volume.record,
    }


def _write_labels(path: Path, volume: Volume) -> None:
    with LabelStackWriter(path, volume.pixel_size_nm, slices=True, step_nm=volume.step_nm) as writer:
        for k in range(len(volume.slices)):
            writer.append(volume.slices[k])


def _write_slices(path: Path, volume: Volume) -> None:
    """Some slices side by side; an instance has the same colour in all of them."""
    from PIL import Image

    depth = volume.shape[0]
    chosen = np.unique(np.linspace(0, depth - 1, min(SHOWN + 2, depth)).round().astype(int))
    chosen = chosen[1:-1] if len(chosen) > SHOWN else chosen
    numbers = np.arange(volume.count + 1)
    colours = np.array(PALETTE, np.uint8)[(numbers - 1) % len(PALETTE)]
    pictures = []
    for k in chosen.tolist():
        plane, labels = volume.planes[k], np.asarray(volume.slices[k], np.int32)
        step = max(1, -(-max(plane.shape) // SHOWN_SIDE))
        pixels = plane[::step, ::step]
        nm = None if volume.pixel_size_nm is None else volume.pixel_size_nm * step
        picture = draw_overlay(pixels, labels[::step, ::step], nm, [f"slice {k}"], enlarge=False, colours=colours)
        pictures.append(picture)
    columns = min(3, len(pictures))
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + 4), columns * (width + 4), 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + 4), number % columns * (width + 4)
        sheet[top : top + height, left : left + width] = picture
    Image.fromarray(sheet).save(path, format="PNG")


def write_omezarr(volume: Volume, path: Path) -> Path:
    """Write the slices and the labels as an OME-Zarr volume, part by part. A folder of that name is replaced.

    Raises:
        InputError: the package zarr is missing, or a slice is damaged.
    """
    planes = volume.planes
    assert planes  # a volume of a stack has them
    steps = (volume.step_nm, volume.pixel_size_nm, volume.pixel_size_nm)

    def read_labels(part: Part) -> np.ndarray:
        return np.stack([np.asarray(volume.slices[k], np.int32)[part[1:]] for k in range(part[0].start, part[0].stop)])

    write_parts(
        path,
        Parts(partial(_read_planes, planes), volume.shape, np.dtype(np.float32)),
        {volume.concept: Parts(read_labels, volume.shape, np.dtype(np.int32))},
        steps,
        Path(planes[0].source).stem or "stack",
    )
    return path


def _read_planes(planes: tuple[Plane, ...], part: Part) -> np.ndarray:
    return np.stack([planes[k][part[1:]] for k in range(part[0].start, part[0].stop)])
