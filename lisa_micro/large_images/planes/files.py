"""Files of an answer about a plane, written part by part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io.files import ANSWER_FILES, check_output, results_in, write_files, write_json
from lisa_micro.io.lazy import CompactLabels, Plane
from lisa_micro.large_images.planes.answer import PlaneAnswer
from lisa_micro.results.export import answer_record, plot_writers, segment_facts, values_about
from lisa_micro.results.formats.parts import Part, Parts, write_parts
from lisa_micro.viz.overlay import draw_overlay

if TYPE_CHECKING:
    import pandas as pd

TILE = 512
"""px: side of a tile of a label file."""


def save_plane(
    found: PlaneAnswer,
    folder: str | os.PathLike[str],
    *,
    details: Mapping[str, Any] | None = None,
    force: bool = False,
) -> list[Path]:
    """Write all files of an answer about a plane; see :meth:`PlaneAnswer.save`."""
    folder = check_output(folder, force)
    plane, overview = found.plane, found.overview
    writers: dict[str, Callable[[Path], object]] = {"overlay.png": partial(_write_overlay, found=found)}
    for k, segment in enumerate(found.segments):
        writers["labels.tif" if k == 0 else f"labels_{k + 1}.tif"] = partial(
            write_label_tiles, labels=segment.labels, pixel_size_nm=plane.pixel_size_nm
        )
    writers["instances.csv"] = partial(_write_table, found=found)
    writers |= plot_writers(found.answer)
    # the record of an answer takes sizes from the micrograph; those of the plane replace those of the overview
    record = answer_record(found.answer, replace(overview.micrograph, pixel_size_nm=plane.pixel_size_nm))
    record |= {
        "segments": [
            segment_facts(k, segment) | {"values": values_about(found.answer, segment.target)}
            for k, segment in enumerate(found.segments, 1)
        ],
        "image": record["image"]
        | {
            "width_px": plane.shape[1],
            "height_px": plane.shape[0],
            "field_px": [0, 0, plane.shape[1], plane.shape[0]],
            "page": plane.number,
            "place": dict(zip(plane.layout.axes, plane.place, strict=True)),
            "notes": plane.notes,
            "overview_px_per_px": overview.step,
        },
        **(details or {}),
    }
    writers["answer.json"] = lambda path: write_json(path, record)
    stale = set(results_in(folder, ANSWER_FILES))
    written = write_files(folder, writers)
    for entry in stale - set(written):
        entry.unlink(missing_ok=True)
    return written


def write_label_tiles(path: Path, labels: CompactLabels, pixel_size_nm: float | None = None) -> None:
    """Write labels as a TIFF in compressed tiles that ImageJ and QuPath open calibrated in nm.

    Args:
        path: file to write. labels: instances; stored as uint16, or as uint32 above 65535.
        pixel_size_nm: edge length of a pixel; ``None`` leaves the image uncalibrated.
    """
    import tifffile

    dtype = np.uint16 if labels.count <= np.iinfo(np.uint16).max else np.uint32

    def parts() -> Iterator[np.ndarray]:
        for y in range(0, labels.shape[0], TILE):
            for x in range(0, labels.shape[1], TILE):
                part = np.zeros((TILE, TILE), dtype)
                found = labels.read(y, y + TILE, x, x + TILE)
                part[: found.shape[0], : found.shape[1]] = found
                yield part

    tifffile.imwrite(
        path,
        parts(),
        shape=labels.shape,
        dtype=dtype,
        bigtiff=labels.shape[0] * labels.shape[1] * np.dtype(dtype).itemsize > 2**31,
        tile=(TILE, TILE),
        compression="zlib",
        photometric="minisblack",
        metadata=None,
        description="ImageJ=1.54f\nunit=nm\n" if pixel_size_nm else None,
        resolution=None if pixel_size_nm is None else (1 / pixel_size_nm, 1 / pixel_size_nm),
        resolutionunit=1,
        software="lisa-micro",
    )


def write_omezarr(found: PlaneAnswer, path: Path) -> Path:
    """Write the plane and its labels as OME-Zarr 0.5, part by part. A folder of that name is replaced.

    Raises:
        InputError: the package zarr is missing, or the plane is damaged.
    """
    plane = found.plane
    names: dict[str, Parts] = {}
    for segment in found.segments:
        name = segment.concept if segment.concept not in names else f"{segment.concept}-{len(names) + 1}"
        names[name] = Parts(partial(_part_of, segment.labels), plane.shape, np.dtype(np.int32))
    image = Parts(partial(_part_of, plane), plane.shape, np.dtype(np.float32))
    write_parts(path, image, names, (plane.pixel_size_nm, plane.pixel_size_nm), Path(plane.source).stem)
    return path


def _part_of(whole: Plane | CompactLabels, part: Part) -> np.ndarray:
    rows, columns = part
    return whole.read(rows.start, rows.stop, columns.start, columns.stop)


def _write_overlay(path: Path, found: PlaneAnswer) -> None:
    from PIL import Image

    Image.fromarray(overlay_picture(found)).save(path, format="PNG")


def overlay_picture(found: PlaneAnswer) -> np.ndarray:
    """The instances over the reduced plane: ``(h, w, 3)`` uint8."""
    image, labels = found.overview.micrograph, reduced_labels(found)
    names = [segment.phrase or segment.concept for segment in found.segments]
    return draw_overlay(image, labels or np.zeros(image.shape, np.int32), image.pixel_size_nm, names or None)


def reduced_labels(found: PlaneAnswer) -> list[np.ndarray]:
    """Labels of each segment in the size of the overview: ``(h, w)`` int32."""
    height, width = found.overview.micrograph.shape
    return [segment.labels.sampled(found.overview.step)[:height, :width] for segment in found.segments]


def _write_table(path: Path, found: PlaneAnswer) -> None:
    plane_table(found).to_csv(path, index=False)


def plane_table(found: PlaneAnswer) -> pd.DataFrame:
    """One row per instance of all segments, as :func:`lisa_micro.results.export.instances_table`."""
    import pandas as pd

    tables = []
    for k, segment in enumerate(found.segments, 1):
        table = segment.table().copy()
        table.insert(0, "segment", k)
        table.insert(1, "concept", segment.concept)
        tables.append(table)
    empty = pd.DataFrame(columns=["segment", "concept", "label"])
    return pd.concat(tables, ignore_index=True) if tables else empty
