"""Execute clauses on measured instances.

The language model only writes the clause. Which instances it keeps is computed here, exactly, from properties in px as
:func:`lisa_micro.measure.particle_properties` gives them. Clauses are applied in order: "isolated; largest 3" keeps the
three largest of the isolated instances.

Conventions: the position of an instance is its centroid; a point on the line between two halves belongs to the right or
the bottom half; "centre" is the middle half of the width and of the height; of equal instances the one with the lower
label comes first; an instance whose property could not be measured (NaN) satisfies no comparison and no rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lisa_micro.language import Between, Clause, Compare, Flag, Nearest, Rank, Region, render_clause
from lisa_micro.language.words import NM_PER_UNIT, PROPERTIES, RANKS, TOLERANCE

_EQUAL = 1e-9
"""Relative difference below which numbers are equal, so that rounding does not make 3 px of 0.1 nm more than 0.3 nm."""
NO_PIXEL_SIZE = "The pixel size is unknown, so '{clause}' was not applied; give the pixel size or a value in px."


def apply(
    clauses: Sequence[Clause],
    props: Mapping[str, np.ndarray],
    shape: tuple[int, int],
    pixel_size_nm: float | None,
    concept: str = "particle",
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Find the instances that satisfy a constraint.

    Args:
        clauses: the constraint, applied in order.
        props: columns of n values each, in px; ``x``, ``y`` and ``area`` are required, others only if a clause needs
            them.
        shape: ``(H, W)`` of the image, px.
        pixel_size_nm: edge of a pixel in nm; ``None``: unknown, and comparisons in nm are not applied, with a note.
        concept: what the instances are; necks are ranked by width.

    Returns:
        ``(n,)`` bool, and notes for the user, one sentence each.
    """
    n = len(props["area"])
    keep = np.ones(n, bool)
    notes: list[str] = []
    for clause in clauses:
        keep = keep & _one(clause, keep, props, shape, pixel_size_nm, concept, notes)
    return keep, tuple(notes)


def column(name: str, props: Mapping[str, np.ndarray], concept: str) -> np.ndarray | None:
    """A property of all instances, in px or without unit; ``None`` if it was not measured.

    If only the mask of a neck is known, its width follows from the area: the mask of a chord of length w is w by w/2,
    so w = sqrt(2 area).
    """
    if name in ("radius", "neck_radius"):
        whole = column("diameter" if name == "radius" else "neck_width", props, concept)
        return None if whole is None else whole / 2
    if concept == "neck" and name == "neck_width":
        widths = np.asarray(props.get("neck_width", np.zeros(0)), float)
        if not np.any(widths > 0):
            return np.sqrt(2 * np.asarray(props["area"], float))
    if name not in props:
        return None
    values = np.asarray(props[name], float)
    return None if len(values) and np.all(np.isnan(values)) else values


def _one(
    clause: Clause,
    keep: np.ndarray,
    props: Mapping[str, np.ndarray],
    shape: tuple[int, int],
    pixel_size_nm: float | None,
    concept: str,
    notes: list[str],
) -> np.ndarray:
    everything = np.ones_like(keep)
    if isinstance(clause, Rank):
        name, descending = RANKS[clause.by]
        if concept == "neck" and name == "area":
            name = "neck_width"
        values = column(name, props, concept)
        if values is None:
            return _unmeasured(clause, everything, notes)
        return _first(-values if descending else values, keep, clause, notes)
    if isinstance(clause, Nearest):
        x, y = _place(clause.to, shape)
        distance = np.hypot(np.asarray(props["x"], float) - x, np.asarray(props["y"], float) - y)
        return _first(distance, keep, clause, notes)
    if isinstance(clause, Region):
        return _inside(clause.name, props, shape)
    if isinstance(clause, Flag):
        return _flag(clause, props, everything, notes)
    return _compare(clause, keep, props, pixel_size_nm, concept, notes)


def _first(values: np.ndarray, keep: np.ndarray, clause: Rank | Nearest, notes: list[str]) -> np.ndarray:
    """The n instances with the smallest values among those kept so far."""
    usable = np.flatnonzero(keep & ~np.isnan(values))
    n = clause.n
    if isinstance(clause, Rank) and clause.percent:
        n = max(1, int(np.floor(len(usable) * clause.n / 100 + 0.5)))
    elif len(usable) < n:
        notes.append(f"Asked for {n}, but there {'is' if len(usable) == 1 else 'are'} only {len(usable)}.")
    chosen = usable[np.argsort(values[usable], kind="stable")[:n]]
    out = np.zeros_like(keep)
    out[chosen] = True
    return out


def _place(to: str | tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
    height, width = shape
    if not isinstance(to, str):
        return to
    if to == "centre":
        return (width - 1) / 2, (height - 1) / 2
    return (0.0 if "left" in to else width - 1.0), (0.0 if "top" in to else height - 1.0)


def _inside(name: str, props: Mapping[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    # pixel centres lie at integers, so the image extends from -0.5 to width - 0.5
    x, y = np.asarray(props["x"], float) + 0.5, np.asarray(props["y"], float) + 0.5
    if name == "centre":
        return (np.abs(x - width / 2) <= width / 4) & (np.abs(y - height / 2) <= height / 4)
    out = np.ones(len(x), bool)
    words = name.split()
    if "left" in words:
        out &= x < width / 2
    if "right" in words:
        out &= x >= width / 2
    if "top" in words:
        out &= y < height / 2
    if "bottom" in words:
        out &= y >= height / 2
    return out


def _flag(clause: Flag, props: Mapping[str, np.ndarray], everything: np.ndarray, notes: list[str]) -> np.ndarray:
    name = {"touching border": "touches_border", "in agglomerate": "agglomerate"}.get(clause.name, "contacts")
    if name not in props:
        return _unmeasured(clause, everything, notes)
    out = np.asarray(props[name]) > 0
    if clause.name == "isolated":
        out = ~out
    return ~out if clause.negated else out


def _compare(
    clause: Compare | Between,
    keep: np.ndarray,
    props: Mapping[str, np.ndarray],
    pixel_size_nm: float | None,
    concept: str,
    notes: list[str],
) -> np.ndarray:
    prop = PROPERTIES[clause.prop]
    values = column(prop.key, props, concept)
    if values is None:
        return _unmeasured(clause, np.ones_like(keep), notes)
    if isinstance(clause, Compare) and isinstance(clause.value, str):
        known = values[keep & np.isfinite(values)]
        if not len(known):
            return np.zeros_like(keep)
        limit = float(np.mean(known) if clause.value == "mean" else np.median(known))
        return _holds(values, clause.op, limit)
    if prop.dimension != "none":
        factor = _factor(clause.unit, prop.dimension, pixel_size_nm)
        if factor is None:
            notes.append(NO_PIXEL_SIZE.format(clause=render_clause(clause)))
            return np.ones_like(keep)
        if not clause.unit:
            unit = "nm" if pixel_size_nm else "px"
            power = "2" * (prop.dimension == "area")
            notes.append(f"'{render_clause(clause)}' has no unit and was read in {unit}{power}.")
        values = values * factor
    if isinstance(clause, Between):
        return _holds(values, ">=", clause.low) & _holds(values, "<=", clause.high)
    return _holds(values, clause.op, float(clause.value))


def _factor(unit: str, dimension: str, pixel_size_nm: float | None) -> float | None:
    """Factor from px (px2) to the unit; ``None`` if it needs an unknown pixel size."""
    if unit in ("px", "px2"):
        return 1.0
    if pixel_size_nm is None:
        return None if unit else 1.0
    scale = pixel_size_nm**2 if dimension == "area" else pixel_size_nm
    return scale / NM_PER_UNIT.get(unit, 1.0)


def _holds(values: np.ndarray, op: str, limit: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        if op == "~":
            return np.abs(values - limit) <= TOLERANCE * abs(limit) * (1 + _EQUAL)
        equal = np.isclose(values, limit, rtol=_EQUAL, atol=0)
        more = values > limit
        less = values < limit
    return {">": more & ~equal, ">=": more | equal, "<": less & ~equal, "<=": less | equal}[op]


def _unmeasured(clause: Clause, everything: np.ndarray, notes: list[str]) -> np.ndarray:
    notes.append(f"'{render_clause(clause)}' was not applied, because that property was not measured.")
    return everything
