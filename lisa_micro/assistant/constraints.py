"""Clauses executed on measured instances.

The language model only writes the clause; which instances it keeps is computed here, exactly, from
properties in px as :func:`lisa_micro.measure.particle_properties` gives them. Clauses are applied one after
the other: "isolated; largest 3" keeps the three largest of the isolated ones.

Conventions: an instance is where its centroid is; a point on the line between two halves belongs to the
right or the bottom one; "centre" is the middle half of the width and of the height; ties go to the lower
label; an instance whose property could not be measured (NaN) fulfils no comparison and no rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lisa_micro.language import Between, Clause, Compare, Flag, Nearest, Rank, Region, render_clause
from lisa_micro.language.words import NM_PER_UNIT, PROPERTIES, RANKS, TOLERANCE

_EQUAL = 1e-9  # relative: 3 px of 0.1 nm are not "more than 0.3 nm" by a rounding error
NO_PIXEL_SIZE = "The pixel size is unknown, so '{clause}' could not be applied; give the pixel size or say it in px."


def apply(
    clauses: Sequence[Clause],
    props: Mapping[str, np.ndarray],
    shape: tuple[int, int],
    pixel_size_nm: float | None,
    concept: str = "particle",
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which instances a constraint keeps.

    Args:
        clauses: the constraint, applied in order.
        props: columns of n values each, in px; ``x``, ``y``, ``area`` are required, others only where a
            clause needs them.
        shape: ``(H, W)`` of the image, px.
        pixel_size_nm: edge of a pixel in nm, None where unknown: comparisons in nm are then left out, with
            a note.
        concept: for a neck, "largest" goes by its width.

    Returns:
        ``(n,)`` bool, and notes for the user, one sentence each.
    """
    n = len(props["area"])
    keep, notes = np.ones(n, bool), []
    for clause in clauses:
        keep = keep & _one(clause, keep, props, shape, pixel_size_nm, concept, notes)
    return keep, tuple(notes)


def column(name: str, props: Mapping[str, np.ndarray], concept: str) -> np.ndarray | None:
    """A property of all instances, px or without unit; None where it was not measured.

    The width of a neck of which only the mask is known is taken from its area: the mask of a chord of
    length w is w by w/2, so w = sqrt(2 area).
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
    """The first n of those kept, smallest value first."""
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
    # pixel centres lie at integers, so the image runs from -0.5 to width - 0.5
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
            notes.append(f"'{render_clause(clause)}' was taken in {unit}{'2' * (prop.dimension == 'area')}.")
        values = values * factor
    if isinstance(clause, Between):
        return _holds(values, ">=", clause.low) & _holds(values, "<=", clause.high)
    return _holds(values, clause.op, float(clause.value))


def _factor(unit: str, dimension: str, pixel_size_nm: float | None) -> float | None:
    """What turns px (px2) into the unit; None where that needs an unknown pixel size."""
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
    notes.append(f"'{render_clause(clause)}' could not be applied: that property was not measured.")
    return everything
