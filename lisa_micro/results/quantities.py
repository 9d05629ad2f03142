"""The measured properties of instances that are shown, with their names and units, and as text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from lisa_micro.measure import column

if TYPE_CHECKING:
    from lisa_micro.results.answer import Segmentation


@dataclass(frozen=True)
class Quantity:
    """A measured property.

    Attributes:
        key: for :func:`lisa_micro.measure.column`.
        name: for display.
        dimension: ``"length"``, ``"area"`` or ``""``.
    """

    key: str
    name: str
    dimension: str = ""


BODY = (
    Quantity("diameter", "diameter", "length"),
    Quantity("area", "area", "area"),
    Quantity("length", "length", "length"),
    Quantity("width", "width", "length"),
    Quantity("circularity", "circularity"),
    Quantity("aspect_ratio", "aspect ratio"),
    Quantity("intensity", "mean intensity"),
    Quantity("contacts", "contacts"),
    Quantity("touches_border", "at border"),
)
NECK = (
    Quantity("neck_width", "neck width", "length"),
    Quantity("neck_ratio", "x/R"),
    Quantity("area", "area", "area"),
    Quantity("length", "length", "length"),
    Quantity("width", "width", "length"),
    Quantity("touches_border", "at border"),
)
HOVERED = 4
"""Number of measurements shown beside the pointer."""
_UNITS = {"length": {"nm": "nm", "px": "px"}, "area": {"nm": "nm²", "px": "px²"}, "": {"nm": "", "px": ""}}


def quantities(segment: Segmentation) -> tuple[Quantity, ...]:
    """The measured properties of a segment's instances, the most important first."""
    table, unit = segment.table(), unit_of(segment)
    candidates = NECK if segment.concept == "neck" else BODY
    return tuple(q for q in candidates if column(q.key, unit) in table)


def unit_of(segment: Segmentation) -> str:
    """``"nm"`` if the pixel size is known, else ``"px"``."""
    return "px" if segment.pixel_size_nm is None else "nm"


def unit_text(quantity: Quantity, unit: str) -> str:
    """The unit of a property, such as ``nm²``; ``""`` without one. unit: ``"nm"`` or ``"px"``."""
    return _UNITS[quantity.dimension][unit]


def header(quantity: Quantity, unit: str) -> str:
    """The column header of a property, such as ``diameter (nm)``."""
    shown = unit_text(quantity, unit)
    return f"{quantity.name} ({shown})" if shown else quantity.name


def number(value: SupportsFloat) -> str:
    """Format a number for a table: four significant digits, an exponent only from 1e7; booleans as yes or no."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    value = float(value)
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(digits, 6)}f}" if abs(value) < 1e7 else f"{value:.3e}"


def instance_lines(segment: Segmentation, most: int = 5000) -> dict[str, list[list[str]]]:
    """The measurements shown beside the pointer, ``[[name, value with unit], ...]`` by instance number.

    Args:
        segment: whose instances.
        most: maximum number of instances.
    """
    table, unit = segment.table(), unit_of(segment)
    if table.empty:
        return _sizes(segment, most)
    shown = quantities(segment)[:HOVERED]
    lines: dict[str, list[list[str]]] = {}
    for row in table.head(most).to_dict("records"):
        lines[str(int(row["label"]))] = [
            [q.name, f"{number(row[column(q.key, unit)])} {unit_text(q, unit)}".rstrip()] for q in shown
        ]
    return lines


def _sizes(segment: Segmentation, most: int) -> dict[str, list[list[str]]]:
    """Diameter and area of instances that were not measured, such as those of boxes and points."""
    areas = np.bincount(segment.labels.ravel())
    scale, unit = (1.0, "px") if segment.pixel_size_nm is None else (segment.pixel_size_nm, "nm")
    return {
        str(label): [
            ["diameter", f"{number(math.sqrt(4 * areas[label] / math.pi) * scale)} {unit}"],
            ["area", f"{number(areas[label] * scale**2)} {unit}²"],
        ]
        for label in (np.flatnonzero(areas[1:]) + 1)[:most].tolist()
    }
