"""Grain size by intercept and by area, length of boundaries per area, phase fraction.

Definitions:

- Mean intercept length (ASTM E112-13, lineal intercept procedure): test lines along every row, column and diagonal of
  the image; the length of them that lies in grains over the number of intercepts, an intercept that ends at the border
  of the image counting half (one that both borders end: not at all). The mean of the four directions is taken of the
  numbers per length.
- Mean grain area (ASTM E112-13, planimetric procedure of Jeffries): area of all grains over their number, grains that
  the border of the image cuts counting half.
- ASTM grain size number G: -6.643856 lg(intercept in mm) - 3.288, or -3.321928 lg(area in mm^2) - 2.954.
- Line density: length of the centre lines of a mask over the area of the image.
- Boundary length per area from grains: pi/2 times the number of boundaries that test lines of unit length cross
  (Underwood, Quantitative Stereology, 1970: L_A = pi/2 P_L), the same test lines.

Lines of unlabelled pixels up to :data:`BOUNDARY_PX` wide between two grains are their boundary and belong half to each.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import compact
from lisa_micro.measure.structures.strands import centre_line_length
from lisa_micro.types import InputError

BOUNDARY_PX = 6
"""Greatest width of an unlabelled line between two grains that counts as their boundary. Wider gaps are pores."""
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _closed(labels: np.ndarray) -> np.ndarray:
    """Grains that meet: int32, numbered 1..n, boundaries given to the nearest grain."""
    numbered, _ = compact(labels)
    if not numbered.any():
        return numbered
    # a gap between two grains is closed; the free side of a grain beside a pore stays
    gap = numbered == 0
    reach = BOUNDARY_PX / 2 + 0.5
    distance, (rows, columns) = ndimage.distance_transform_edt(gap, return_indices=True)
    nearest = numbered[rows, columns]
    other = ndimage.maximum_filter(nearest, 3) != ndimage.minimum_filter(nearest, 3)
    ridge = other & gap & (distance <= reach)
    # only what lies between a grain and a ridge to another one is boundary
    near_ridge = ndimage.distance_transform_edt(~ridge) <= reach if ridge.any() else np.zeros(gap.shape, bool)
    return np.where(gap & (distance <= reach) & near_ridge, nearest, numbered).astype(np.int32)


def _ends(labels: np.ndarray) -> list[tuple[float, float, float]]:
    """For each direction: length of the test lines in grains (px), ends of intercepts within the image, and crossings
    from one grain straight into another."""
    found = []
    for down, right in _DIRECTIONS:
        step = float(np.hypot(down, right))
        height, width = labels.shape
        one = labels[: height - down, max(0, -right) : width - max(0, right)]
        two = labels[down:, max(0, right) : width + min(0, right)]
        differ = one != two
        both = float((differ & (one > 0) & (two > 0)).sum())
        ends = float((differ & ((one > 0) | (two > 0))).sum()) + both
        found.append((step * float(np.count_nonzero(labels)), ends, both))
    return found


def mean_intercept(labels: np.ndarray) -> float:
    """Mean intercept length of grains (ASTM E112), px; NaN without a boundary in the image.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; grains may be separated by thin unlabelled lines.

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> rows, columns = np.mgrid[:120, :120]
    >>> chequered = 1 + rows // 12 * 10 + columns // 12
    >>> round(mean_intercept(chequered), 1)
    11.4
    """
    per_length = []
    for length, ends, _ in _ends(_closed(labels)):
        if not length or not ends:
            continue
        per_length.append(0.5 * ends / length)
    return 1 / float(np.mean(per_length)) if per_length else float("nan")


def mean_grain_area(labels: np.ndarray) -> float:
    """Mean area of grains by the planimetric procedure of ASTM E112, px^2; NaN without grains.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; grains may be separated by thin unlabelled lines.

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> rows, columns = np.mgrid[:120, :120]
    >>> round(mean_grain_area(1 + rows // 12 * 10 + columns // 12), 1)  # 64 whole grains and 36 at the border
    175.6
    """
    grains = _closed(labels)
    n = int(grains.max(initial=0))
    if not n:
        return float("nan")
    at_border = np.unique(np.r_[grains[0], grains[-1], grains[:, 0], grains[:, -1]])
    cut = int((at_border > 0).sum())
    return float(np.count_nonzero(grains) / (n - cut / 2))


def boundary_density(labels: np.ndarray) -> float:
    """Length of the boundaries between grains per area of the image, 1/px.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; grains may be separated by thin unlabelled lines.

    Raises
    ------
    InputError
        Unusable labels, or an image without pixels.

    Examples
    --------
    >>> labels = np.ones((200, 200), int)
    >>> labels[:, 100:] = 2
    >>> round(boundary_density(labels) * 200, 2)  # one line of 200 px: off by 5 % along the grid
    0.95
    """
    grains = _closed(labels)
    if not grains.size:
        raise InputError("The label image has no pixels.")
    # crossings per length of all test lines of the image, in grains or not
    ends = zip(_DIRECTIONS, _ends(grains), strict=True)
    crossings = [both / (grains.size * np.hypot(*way)) for way, (_, _, both) in ends]
    return float(np.pi / 2 * np.mean(crossings))


def line_density(mask: np.ndarray) -> float:
    """Length of the centre lines of a mask per area of the image, 1/px.

    Parameters
    ----------
    mask
        ``(H, W)``; not 0 is inside: boundaries, cracks.

    Raises
    ------
    InputError
        Not two-dimensional, or without pixels.

    Examples
    --------
    >>> mask = np.zeros((100, 100), bool)
    >>> mask[40:43] = True
    >>> round(line_density(mask), 3)
    0.01
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or not mask.size:
        raise InputError(f"A mask must be a 2-D array (H, W) with pixels, not one of shape {mask.shape}.")
    return centre_line_length(mask != 0) / mask.size


def phase_fraction(mask: np.ndarray, field: np.ndarray | None = None) -> float:
    """Area fraction of a phase, 0..1; of an even section it estimates the volume fraction (Delesse).

    Parameters
    ----------
    mask
        ``(H, W)``; not 0 is inside.
    field
        ``(H, W)``; not 0 belongs to the field of view (for example without the banner). The whole image by default.

    Raises
    ------
    InputError
        Shapes that differ, or an empty field of view.

    Examples
    --------
    >>> mask = np.zeros((10, 10), int)
    >>> mask[:2] = 3
    >>> phase_fraction(mask)
    0.2
    """
    inside = np.asarray(mask) != 0
    seen = np.ones(inside.shape, bool) if field is None else np.asarray(field) != 0
    if seen.shape != inside.shape:
        raise InputError(f"The mask has shape {inside.shape} but the field of view {seen.shape}.")
    if not seen.any():
        raise InputError("The field of view has no pixels.")
    return float((inside & seen).sum() / seen.sum())


def grain_size_number(intercept_nm: float | None = None, area_nm2: float | None = None) -> float:
    """ASTM E112 grain size number G from a mean intercept length or a mean grain area.

    Parameters
    ----------
    intercept_nm
        Mean intercept length in nm.
    area_nm2
        Mean grain area in nm^2; one of the two is given.

    Raises
    ------
    InputError
        Both or none given, or a size that is not positive.

    Examples
    --------
    >>> round(grain_size_number(intercept_nm=56_600), 1), round(grain_size_number(area_nm2=4.03e9), 1)
    (5.0, 5.0)
    """
    given = [value for value in (intercept_nm, area_nm2) if value is not None]
    if len(given) != 1:
        raise InputError("Give either a mean intercept length or a mean grain area.")
    if not (np.isfinite(given[0]) and given[0] > 0):
        raise InputError(f"A grain size must be positive, not {given[0]:g}.")
    if intercept_nm is not None:
        return float(-6.643856 * np.log10(intercept_nm * 1e-6) - 3.288)
    return float(-3.321928 * np.log10(given[0] * 1e-12) - 2.954)
