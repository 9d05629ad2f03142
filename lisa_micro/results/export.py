"""Export of answers: all files of an answer, written together or not at all.

``overlay.png``, ``mask.png`` (0/255), ``labels.tif``, ``instances.csv``, ``coco.json`` and ``answer.json``. Further
segments add ``mask_2.png``, ``labels_2.tif`` and so on, and further rows and annotations in the tables. Plot k of the
reply adds ``plot_k.png`` and its numbers, ``plot_k.csv``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lisa_micro.extras import release
from lisa_micro.geometry import boxes_from_labels, rle_from_labels
from lisa_micro.io.cells import write_table
from lisa_micro.io.files import ANSWER_FILES, check_output, results_in, write_files, write_json
from lisa_micro.io.labels import write_labels
from lisa_micro.io.memory import MicrographLike
from lisa_micro.io.reader import as_micrograph
from lisa_micro.results.answer import Answer, Reading, Segmentation
from lisa_micro.types import CONCEPTS, Micrograph, Value
from lisa_micro.viz.answer_plots import plot_png, plot_record, plot_table
from lisa_micro.viz.overlay import draw_overlay

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES: tuple[dict[str, Any], ...] = tuple(
    {"id": i + 1, "name": name, "supercategory": "micrograph"} for i, name in enumerate((*CONCEPTS, "object"))
)
"""COCO categories, with the same IDs in every file, so that files can be joined.

Custom concepts follow in the order in which a file has them.
"""


# -------------------------------------------------------------------------------------------------- an answer


def save_answer(
    answer: Answer,
    image: MicrographLike,
    folder: str | os.PathLike[str],
    *,
    preset: str = "",
    weights_sha256: str | Mapping[str, str] | None = None,
    prompt_boxes: np.ndarray | None = None,
    details: Mapping[str, Any] | None = None,
    force: bool = False,
) -> list[Path]:
    """Write all results of one answer.

    Args:
        answer: the answer.
        image: the micrograph it is about.
        folder: created if missing.
        preset: name of the assistant's preset, for the record.
        weights_sha256: fingerprint of its weights, for the record.
        prompt_boxes: ``(N, 4)`` XYXY px, if boxes were given.
        details: further entries of ``answer.json`` (device, command line ...).
        force: whether existing results in the folder may be replaced, including those of a longer answer.

    Returns:
        the paths written, ``overlay.png`` first.

    Raises:
        InputError: the folder cannot be written, or holds results and ``force`` is false.
    """
    folder, image = check_output(folder, force), as_micrograph(image)
    segments = answer.segments
    shape = image.shape
    writers: dict[str, Callable[[Path], object]] = {
        "overlay.png": lambda path: _write_png(
            path,
            draw_overlay(
                image,
                [segment.labels for segment in segments] if segments else np.zeros(shape, np.int32),
                image.pixel_size_nm,
                [segment.phrase or segment.concept for segment in segments] or None,
            ),
        )
    }
    # an answer without segments has all files too, so that batches need no special cases
    for i, labels in enumerate([segment.labels for segment in segments] or [np.zeros(shape, np.int32)]):
        number = "" if i == 0 else f"_{i + 1}"
        writers[f"mask{number}.png"] = partial(_write_mask, labels=labels)
        writers[f"labels{number}.tif"] = partial(write_labels, labels=labels, pixel_size_nm=image.pixel_size_nm)
    writers["instances.csv"] = lambda path: write_table(path, instances_table(segments))
    writers["coco.json"] = lambda path: write_json(path, coco(segments, image))
    writers |= plot_writers(answer)
    record = answer_record(
        answer,
        image,
        preset=preset,
        weights_sha256=weights_sha256,
        prompt_boxes=prompt_boxes,
        details=details,
    )
    writers["answer.json"] = lambda path: write_json(path, record)
    stale = set(results_in(folder, ANSWER_FILES))
    written = write_files(folder, writers)
    for entry in stale - set(written):
        entry.unlink(missing_ok=True)
    return written


def plot_files(answer: Answer) -> list[tuple[str, str] | None]:
    """Names of the picture and the table of each plot of an answer; ``None`` for one that could not be drawn."""
    return [
        None if plot.problem else (f"plot_{number}.png", f"plot_{number}.csv")
        for number, plot in enumerate(answer.plots, start=1)
    ]


def plot_writers(answer: Answer) -> dict[str, Callable[[Path], object]]:
    """Names of the pictures and tables of the plots of an answer, each with what writes it."""
    writers: dict[str, Callable[[Path], object]] = {}
    for plot, names in zip(answer.plots, plot_files(answer), strict=True):
        if names is not None:
            picture, table = plot_png(plot, answer.plot_colours(plot)), plot_table(plot)
            writers[names[0]] = partial(Path.write_bytes, data=picture)
            writers[names[1]] = partial(write_table, table=table)
    return writers


def _write_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, format="PNG")


def _write_mask(path: Path, labels: np.ndarray) -> None:
    _write_png(path, np.where(labels > 0, np.uint8(255), np.uint8(0)))


def instances_table(segments: Sequence[Segmentation]) -> pd.DataFrame:
    """One row per instance of all segments.

    Returns:
        segment (1, 2 ...), concept and label of the instance, then its measured properties, or its area and box if
        nothing was measured.
    """
    import pandas as pd

    tables = []
    for i, segment in enumerate(segments):
        table = segment.table()
        if table.empty:
            table = _plain_table(segment)
        table = table.copy()
        table.insert(0, "segment", i + 1)
        table.insert(1, "concept", segment.concept)
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["segment", "concept", "label"])
    return pd.concat(tables, ignore_index=True)


def _plain_table(segment: Segmentation) -> pd.DataFrame:
    import pandas as pd

    boxes = boxes_from_labels(segment.labels)
    areas = np.bincount(segment.labels.ravel(), minlength=len(boxes) + 1)[1:]
    columns: dict[str, Any] = {"label": np.arange(1, len(boxes) + 1), "area_px": areas}
    if segment.pixel_size_nm is not None:
        columns["area_nm2"] = areas * segment.pixel_size_nm**2
    for i, name in enumerate(("x0_px", "y0_px", "x1_px", "y1_px")):
        columns[name] = boxes[:, i].astype(int)
    return pd.DataFrame(columns)


def coco(segments: Sequence[Segmentation], image: Micrograph) -> dict[str, Any]:
    """A COCO instance file.

    Masks are compressed run lengths, which pycocotools decodes to the same pixels; boxes are ``x, y, width, height``
    px. Beside the standard keys there are ``segment`` and ``label`` of each annotation, and the pixel size of the
    image.
    """
    from pycocotools import mask as coco_mask

    height, width = image.shape
    categories = list(CATEGORIES)
    numbers = {category["name"]: category["id"] for category in categories}
    for name in dict.fromkeys(segment.concept for segment in segments):
        if name not in numbers:
            numbers[name] = len(categories) + 1
            categories.append({"id": numbers[name], "name": name, "supercategory": "micrograph"})
    annotations: list[dict[str, Any]] = []
    for i, segment in enumerate(segments):
        boxes = boxes_from_labels(segment.labels)
        for label, rle in rle_from_labels(segment.labels).items():
            packed = coco_mask.frPyObjects(rle, height, width)
            x0, y0, x1, y1 = boxes[label - 1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 1,
                    "category_id": numbers[segment.concept],
                    "segmentation": {"size": [height, width], "counts": packed["counts"].decode("ascii")},
                    "area": int(coco_mask.area(packed)),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": 0,
                    "score": segment.score,
                    "segment": i + 1,
                    "label": label,
                }
            )
    name = Path(image.source).name or "image"
    return {
        "info": {"description": "lisa-micro"},
        "images": [
            {
                "id": 1,
                "file_name": name,
                "width": width,
                "height": height,
                "pixel_size_nm": image.pixel_size_nm,
            }
        ],
        "annotations": annotations,
        "categories": categories,
    }


def answer_record(
    answer: Answer,
    image: Micrograph,
    *,
    preset: str = "",
    weights_sha256: str | Mapping[str, str] | None = None,
    prompt_boxes: np.ndarray | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of ``answer.json``: enough to repeat and to check the run."""
    height, width = image.shape
    return {
        "prompt": answer.prompt,
        "prompt_boxes_px": None if prompt_boxes is None else np.asarray(prompt_boxes, dtype=float),
        "reply": answer.text,
        "raw": answer.raw,
        "understood": answer.understood,
        "confidence": answer.confidence,
        "alternative": reading_record(answer.alternative),
        "declined": answer.declined,
        "refusal": answer.refusal,
        "notes": answer.notes,
        "segments": [_segment_record(i, segment, answer) for i, segment in enumerate(answer.segments)],
        "values": [value_record(value) | {"target": value.target} for value in answer.values],
        "plots": [
            plot_record(plot) | {"files": names} for plot, names in zip(answer.plots, plot_files(answer), strict=True)
        ],
        "image": {
            "source": image.source,
            "width_px": width,
            "height_px": height,
            "pixel_size_nm": image.pixel_size_nm,
            "pixel_size_origin": image.pixel_size_origin,
            "field_px": image.field_box,
            "covered_px": image.covers,
            "scale_bar": None if image.scale_bar is None else asdict(image.scale_bar),
            "modality": image.modality,
            "notes": image.notes,
        },
        "preset": preset,
        "weights_sha256": weights_sha256,
        "version": release(),
        "seconds": answer.seconds,
        **(details or {}),
    }


def reading_record(reading: Reading | None) -> dict[str, str] | None:
    """Another reading of a request as plain data."""
    return None if reading is None else {"raw": reading.raw, "text": reading.text}


class Segment(Protocol):
    """What is told of a segment, however its labels are kept; see :class:`lisa_micro.results.answer.Segmentation`."""

    @property
    def target(self) -> int: ...
    @property
    def concept(self) -> str: ...
    @property
    def phrase(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def presence(self) -> float: ...
    @property
    def count(self) -> int: ...


def segment_facts(number: int, segment: Segment) -> dict[str, Any]:
    """What ``answer.json`` tells of segment ``number``, from 1, but for its outlines and values."""
    return {
        "segment": number,
        "target": segment.target,
        "concept": segment.concept,
        "phrase": segment.phrase,
        "where": segment.where,
        "score": segment.score,
        "presence": segment.presence,
        "instances": segment.count,
    }


def values_about(answer: Answer, target: int) -> list[dict[str, Any]]:
    """The values about a target as plain data; by its number, since some targets of a reply may have no segment."""
    return [value_record(value) for value in answer.values if value.target == target]


def _segment_record(i: int, segment: Segmentation, answer: Answer) -> dict[str, Any]:
    return {
        **segment_facts(i + 1, segment),
        "boxes_px": boxes_from_labels(segment.labels).astype(int),
        "mean_size": None if segment.mean_size is None else value_record(segment.mean_size),
        "values": values_about(answer, segment.target),
        "notes": segment.notes,
    }


def value_record(value: Value) -> dict[str, Any]:
    """A measured number as plain data."""
    return {
        "measure": value.measure,
        "value": value.value,
        "unit": value.unit,
        "standard_error": value.standard_error,
        "text": value.text,
    }
