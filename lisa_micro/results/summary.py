"""Summary of an answer: the number and the size of the instances of each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import column, particle_table, statistics
from lisa_micro.results.answer import Segmentation

if TYPE_CHECKING:
    import pandas as pd

REGIONS = ("substrate",)
"""Concepts that are one region; it has an area and no size."""


@dataclass(frozen=True)
class InstanceSummary:
    """Statistics of the instances of one target.

    Attributes:
        segment: number of the segment in the answer, from 1.
        name: phrase of the reply that refers to it, or its concept.
        count: number of instances.
        area_fraction: part of the field of view that is in any instance, 0..1.
        property: what is summarised, ``"diameter"`` or, of necks, ``"width"``; ``""`` for a region.
        unit: ``"nm"``, or ``"px"`` where the pixel size is unknown; ``""`` for a region.
        mean, std, median, D10, D90: in ``unit``. ``std`` is that of a sample (n - 1), NaN for one instance; D10 and D90
            are percentiles by number, linearly interpolated. NaN of no instance.
    """

    segment: int
    name: str
    count: int
    area_fraction: float
    property: str
    unit: str
    mean: float
    std: float
    median: float
    D10: float
    D90: float


def summarise_segments(segments: Sequence[Segmentation]) -> list[InstanceSummary]:
    """Summarise the segments of an answer; the sizes are those of their tables."""
    return [_summarise(number, segment) for number, segment in enumerate(segments, start=1)]


def _summarise(number: int, segment: Segmentation) -> InstanceSummary:
    name = segment.phrase or segment.concept
    areas = np.bincount(segment.labels.ravel())[1:]
    count = int(np.count_nonzero(areas))  # instance k comes from box k, which may have given nothing
    image = segment.image
    # a data bar and boxes with letters are no part of the field of view
    whole = image.field_area if image is not None and image.shape == segment.labels.shape else segment.labels.size
    fraction = float(areas.sum() / whole) if whole else float("nan")
    unit = "px" if segment.pixel_size_nm is None else "nm"
    table = segment.table()
    if segment.concept not in REGIONS and size_column(segment.concept, table, unit)[1] not in table:
        table = particle_table(particle_properties(segment.labels), segment.pixel_size_nm)
    return summarise_table(number, name, segment.concept, table, unit, count, fraction)


def summarise_table(
    number: int, name: str, concept: str, table: pd.DataFrame, unit: str, count: int, area_fraction: float
) -> InstanceSummary:
    """Summarise the measured instances of one target.

    Args:
        number, name, count, area_fraction: as in :class:`InstanceSummary`.
        concept: what they are.
        table: their properties, with the column of :func:`size_column` unless the concept is a region.
        unit: ``"nm"`` or ``"px"``.
    """
    if concept in REGIONS:
        quantity, unit, numbers = "", "", statistics(np.zeros(0))
    else:
        quantity, key = size_column(concept, table, unit)
        numbers = statistics(table[key].to_numpy(float))
    return InstanceSummary(
        number, name, count, area_fraction, quantity, unit, *(numbers[statistic] for statistic in _STATISTICS)
    )


def size_column(concept: str, table: pd.DataFrame, unit: str) -> tuple[str, str]:
    """The size that is summarised, and its column: the width of necks where it was measured, else the diameter."""
    neck = column("neck_width", unit)
    return ("width", neck) if concept == "neck" and neck in table else ("diameter", column("diameter", unit))


_STATISTICS = ("mean", "std", "median", "D10", "D90")
