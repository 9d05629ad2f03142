"""Summary of an answer: the number and the size of the instances of each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import column, particle_table, statistics
from lisa_micro.results.answer import Segmentation

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
    if segment.concept in REGIONS:
        nothing = statistics(np.zeros(0))
        return InstanceSummary(number, name, count, fraction, "", "", *(nothing[key] for key in _STATISTICS))
    unit = "px" if segment.pixel_size_nm is None else "nm"
    table = segment.table()
    neck = column("neck_width", unit)
    quantity, key = ("width", neck) if segment.concept == "neck" and neck in table else ("diameter", _diameter(unit))
    if key not in table:
        table = particle_table(particle_properties(segment.labels), segment.pixel_size_nm)
    numbers = statistics(table[key].to_numpy(float))
    return InstanceSummary(number, name, count, fraction, quantity, unit, *(numbers[key] for key in _STATISTICS))


def _diameter(unit: str) -> str:
    return column("diameter", unit)


_STATISTICS = ("mean", "std", "median", "D10", "D90")
