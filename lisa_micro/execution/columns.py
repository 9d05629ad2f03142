"""Columns of measured instances, their statistics, and comparisons with a limit."""

from __future__ import annotations

import numpy as np

from lisa_micro.execution.scene import Instances
from lisa_micro.language.program import terms
from lisa_micro.language.words import TOLERANCE

HALVES = {"radius": "diameter", "neck radius": "neck width"}
"""Properties that are half of another one."""
_EQUAL = 1e-9  # relative: 3 px of 0.1 nm are not "more than 0.3 nm" by a rounding error


def column(prop: str, instances: Instances, concept: str | None) -> np.ndarray | None:
    """A property of all instances, px or without unit; None where it was not measured.

    The width of a neck of which only the mask is known is taken from its area: the mask of a chord of length w is w by
    w/2, so w = sqrt(2 area).
    """
    if prop in HALVES:
        whole = column(HALVES[prop], instances, concept)
        return None if whole is None else whole / 2
    table = instances.table
    key = terms.PROPERTIES[prop].key
    if concept == "neck" and prop == "neck width":
        widths = table[key].to_numpy(float) if key in table else np.zeros(0)
        if not np.any(widths > 0):
            return np.sqrt(2 * table["area"].to_numpy(float))
    if key not in table:
        return None
    values = table[key].to_numpy(float)
    return None if len(values) and np.all(np.isnan(values)) else values


def statistic(name: str, values: np.ndarray) -> float:
    """A statistic of finite values, NaN where it is not defined. The standard deviation is that of a sample (n - 1),
    D10 and D90 are percentiles with linear interpolation."""
    if len(values) == 0 or (name == "std" and len(values) == 1):
        return float("nan")
    if name in ("D10", "D90"):
        return float(np.percentile(values, int(name[1:])))
    if name == "std":
        return float(np.std(values, ddof=1))
    functions = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max, "total": np.sum}
    return float(functions[name](values))


def holds(values: np.ndarray, op: str, limit: float) -> np.ndarray:
    """``(n,)`` bool: which values compare so with a limit; none with NaN. ``~`` is within 10 per cent."""
    if op == "~":
        return np.abs(values - limit) <= TOLERANCE * abs(limit) * (1 + _EQUAL)
    equal = np.isclose(values, limit, rtol=_EQUAL, atol=0)
    with np.errstate(invalid="ignore"):
        more, less = values > limit, values < limit
    return {
        ">": more & ~equal, ">=": more | equal, "<": less & ~equal, "<=": less | equal, "=": equal,
    }[op]  # fmt: skip


def scale_of(prop: str, pixel_size_nm: float | None) -> tuple[float, str]:
    """What turns px (px2) into the unit in which a property is told, and that unit.

    Args:
        prop: a key of ``terms.PROPERTIES``.
        pixel_size_nm: edge of a pixel in nm; None where unknown: px stay px.
    """
    dimension = terms.PROPERTIES[prop].dimension
    if dimension == "none":
        return 1.0, ""
    square = "2" if dimension == "area" else ""
    if pixel_size_nm is None:
        return 1.0, f"px{square}"
    return (pixel_size_nm**2 if square else pixel_size_nm), f"nm{square}"
