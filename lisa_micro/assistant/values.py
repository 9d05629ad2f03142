"""Fill value slots: a measure of a set of instances as a number with unit and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lisa_micro.assistant.constraints import column
from lisa_micro.language import Measure, render_measure
from lisa_micro.language.words import PROPERTIES
from lisa_micro.types import Value

NOT_IN_NM = "The pixel size is unknown, so the numbers are in px."
ONE_IMAGE = "This is one micrograph; changes over time need a video (lisa-micro track)."
ONE_MOMENT = "This is one micrograph, so the numbers describe its only point in time."
_SUPERSCRIPT = {"nm2": "nm²", "px2": "px²", "1/um2": "per µm²", "1/px2": "per px²"}


def evaluate(
    measure: Measure,
    props: Mapping[str, np.ndarray],
    shape: tuple[int, int],
    pixel_size_nm: float | None,
    concept: str = "particle",
    target: int = 1,
) -> tuple[Value, tuple[str, ...]]:
    """Measure a set of instances.

    Args:
        measure: what to measure. A measure at a point in time of a video is that of this one image, with a note;
            changes, rates and events have no value here.
        props: columns of the instances that the target keeps, in px; see :func:`subset`.
        shape: ``(H, W)`` of the image, px.
        pixel_size_nm: edge of a pixel in nm; ``None``: unknown, and the value is in px, with a note.
        concept: what the instances are.
        target: number of the target in the reply, from 1.

    Returns:
        the value, and notes for the user. ``value`` is NaN if there is nothing to measure, and the text says so. The
        standard deviation is that of a sample (n - 1); D10 and D90 are linearly interpolated percentiles; infinite gaps
        (of a single particle) are left out.
    """
    name = render_measure(measure)
    if measure.of_video:
        if not measure.when.startswith("at "):
            return Value(name, float("nan"), "", "no value (it needs a video)", target), (ONE_IMAGE,)
        value, notes = evaluate(Measure(measure.stat, measure.prop), props, shape, pixel_size_nm, concept, target)
        return replace(value, measure=name), (ONE_MOMENT, *notes)
    n = len(props["area"])
    pixels = shape[0] * shape[1]
    if measure.stat == "count":
        return Value(name, float(n), "", str(n), target), ()
    if measure.stat == "area fraction":
        percent = 100 * float(np.sum(props["area"])) / pixels if pixels else float("nan")
        return Value(name, percent, "%", f"{significant(percent)} %", target), ()
    if measure.stat == "number density":
        if pixel_size_nm is None:
            return _value(name, n / pixels if pixels else float("nan"), "1/px2", target), (NOT_IN_NM,)
        return _value(name, n / (pixels * pixel_size_nm**2 * 1e-6), "1/um2", target), ()
    prop = PROPERTIES[measure.prop]
    values = column(prop.key, props, concept)
    if values is None and n:
        text = f"no value ({measure.prop} was not measured)"
        return Value(name, float("nan"), "", text, target), ()
    known = np.zeros(0) if values is None else values[np.isfinite(values)]
    number = statistic(measure.stat, known)
    unit, notes = "", ()
    if prop.dimension != "none":
        power = 2 if prop.dimension == "area" else 1
        unit = ("px" if pixel_size_nm is None else "nm") + ("2" if power == 2 else "")
        if pixel_size_nm is None:
            notes = (NOT_IN_NM,)
        else:
            number *= pixel_size_nm**power
    if np.isnan(number):
        why = "nothing was found" if n == 0 else "too few to tell"
        return Value(name, number, unit, f"no value ({why})", target), ()
    return _value(name, number, unit, target), notes


def subset(props: Mapping[str, np.ndarray], keep: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the instances with ``keep``, ``(n,)`` bool."""
    return {name: np.asarray(values)[keep] for name, values in props.items()}


def statistic(stat: str, values: np.ndarray) -> float:
    """A statistic of finite values; NaN if it is not defined."""
    if stat == "total":
        return float(np.sum(values)) if len(values) else float("nan")
    if len(values) == 0 or (stat == "std" and len(values) == 1):
        return float("nan")
    if stat in ("D10", "D90"):
        return float(np.percentile(values, int(stat[1:])))
    functions = {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max}
    return float(np.std(values, ddof=1) if stat == "std" else functions[stat](values))


def significant(value: float, digits: int = 3) -> str:
    """Format a number with at least ``digits`` significant digits and all digits before the point, without exponent
    unless it is below 0.001: ``12.4``, ``1240``, ``0.031``, ``1.2e-05``."""
    if not np.isfinite(value):
        return "no value"
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals > digits - 1 else text


def _value(name: str, number: float, unit: str, target: int) -> Value:
    text = f"{significant(number)} {_SUPERSCRIPT.get(unit, unit)}".rstrip()
    return Value(name, number, unit, text, target)
