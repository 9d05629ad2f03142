"""What a request found in an image, in the form in which the folder of an item keeps it: of a micrograph in memory, and
of a plane that is read part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.batch.picture import small_picture
from lisa_micro.io.labels import write_labels
from lisa_micro.results.answer import Answer
from lisa_micro.results.export import Segment, instances_table
from lisa_micro.results.summary import InstanceSummary, summarise_segments, summarise_table
from lisa_micro.types import Micrograph
from lisa_micro.viz.overlay import draw_overlay

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.large_images.planes import PlaneAnswer

Writer = Callable[[Path], object]
"""Writes to the path it is given."""


@dataclass(frozen=True, eq=False)
class Found:
    """What one request found.

    Attributes:
        answer: the reply, and notes.
        segments: content of ``item.json`` about each segment.
        table: one row per instance.
        labels: writes the labels of each segment.
        overlay: writes a picture of all of them.
        picture: writes the picture of the report, where the image is too large to be read again for it.
        notes: on the segments.
    """

    answer: Answer
    segments: tuple[dict[str, object], ...]
    table: pd.DataFrame
    labels: tuple[Writer, ...]
    overlay: Writer
    picture: Writer | None = None
    notes: tuple[str, ...] = ()

    def record(self, number: int, title: str) -> dict[str, object]:
        """Content of ``item.json`` about request ``number``, from 1."""
        return {
            "request": number,
            "title": title,
            "reply": self.answer.text,
            "declined": self.answer.declined,
            "notes": list(dict.fromkeys((*self.answer.notes, *self.notes))),
            "segments": list(self.segments),
        }


def found_in_image(answer: Answer, image: Micrograph) -> Found:
    """What an answer about a micrograph found."""
    summaries = summarise_segments(answer.segments)
    areas = [int(np.count_nonzero(segment.labels)) for segment in answer.segments]
    return Found(
        answer,
        _segment_records(answer.segments, summaries, areas),
        instances_table(answer.segments),
        tuple(
            partial(write_labels, labels=segment.labels, pixel_size_nm=image.pixel_size_nm, compress=True)
            for segment in answer.segments
        ),
        partial(_write_overlay, draw=partial(_overlay_of, image, answer)),
        notes=tuple(text for segment in answer.segments for text in segment.notes),
    )


def found_in_plane(found: PlaneAnswer) -> Found:
    """What an answer about a plane found; labels stay in runs and are written in tiles."""
    from lisa_micro.large_images.planes.files import overlay_picture, plane_table, reduced_labels, write_label_tiles

    height, width = found.plane.shape
    overview = found.overview.micrograph
    nm = found.plane.pixel_size_nm
    areas = [int(segment.labels.areas().sum()) for segment in found.segments]
    summaries = [
        summarise_table(
            number,
            segment.phrase or segment.concept,
            segment.concept,
            segment.table(),
            "px" if nm is None else "nm",
            segment.count,
            area / (height * width),
        )
        for number, (segment, area) in enumerate(zip(found.segments, areas, strict=True), start=1)
    ]
    return Found(
        found.answer,
        _segment_records(found.segments, summaries, areas),
        plane_table(found),
        tuple(partial(write_label_tiles, labels=segment.labels, pixel_size_nm=nm) for segment in found.segments),
        partial(_write_overlay, draw=partial(overlay_picture, found)),
        lambda path: path.write_bytes(small_picture(overview.pixels, reduced_labels(found), overview.pixel_size_nm)),
    )


def _segment_records(
    segments: Sequence[Segment], summaries: Sequence[InstanceSummary], areas: Sequence[int]
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "segment": summary.segment,
            "concept": segment.concept,
            "phrase": segment.phrase,
            "where": segment.where,
            "score": segment.score,
            "presence": segment.presence,
            "count": summary.count,
            "area_px2": area,
            "area_fraction": summary.area_fraction,
            "property": summary.property,
            "unit": summary.unit,
            "mean": summary.mean,
            "std": summary.std,
            "median": summary.median,
            "D10": summary.D10,
            "D90": summary.D90,
        }
        for segment, summary, area in zip(segments, summaries, areas, strict=True)
    )


def _overlay_of(image: Micrograph, answer: Answer) -> np.ndarray:
    segments = answer.segments
    return draw_overlay(
        image.pixels,
        [segment.labels for segment in segments] if segments else np.zeros(image.shape, np.int32),
        image.pixel_size_nm,
        [segment.phrase or segment.concept for segment in segments] or None,
    )


def _write_overlay(path: Path, draw: Callable[[], np.ndarray]) -> None:
    from PIL import Image

    Image.fromarray(draw()).save(path, format="JPEG", quality=88)
