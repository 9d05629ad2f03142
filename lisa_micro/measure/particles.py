"""Properties of instances, measured on instance labels.

Definitions, for comparison with other programs:

- A pixel is a unit square around its integer coordinates; the area is the number of pixels.
- ``diameter``: of the circle of equal area, sqrt(4 A / pi).
- ``length`` and ``width``: largest and smallest caliper (Feret) diameter of the convex hull of the midpoints of the
  outer pixel edges, so w pixels side by side are w px wide (ImageJ uses pixel corners and gives up to 0.4 px more).
- ``perimeter``: Cauchy-Crofton formula with four directions, P = pi/8 * sum over directions of (line spacing * number
  of crossings of the contour) (Legland, Kieu, Devaux, Image Anal. Stereol. 26 (2007) 83; the same as
  ``skimage.measure.perimeter_crofton(directions=4)``). It is unbiased over orientations; a straight edge may deviate by
  5 %.
- ``circularity``: 4 pi A / P^2 with that perimeter. It is not clipped at 1, which small round particles exceed by a few
  hundredths.
- ``aspect_ratio``: length / width, at least 1.
- Particles cut by the border of the image are measured as far as they are visible; ``touches_border`` marks them.
"""

from __future__ import annotations

import numpy as np

from lisa_micro.io import MicrographLike, pixels_of
from lisa_micro.measure.contacts import Facing, agglomerates, bands, border_pixels, compact, facing
from lisa_micro.measure.necks import necks_between
from lisa_micro.types import InputError


def particle_properties(labels: np.ndarray, pixels: MicrographLike | None = None) -> dict[str, np.ndarray]:
    """Measure every instance, in pixels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; numbers may be missing.
    pixels
        ``(H, W)`` intensities, or any other micrograph; NaN and infinities are ignored in the mean.

    Returns
    -------
    dict of str to ndarray
        Arrays of length n in ascending order of the labels: ``label``; ``x``, ``y`` (centroid; pixel centres are
        integers); ``x0``, ``y0``, ``x1``, ``y1`` (box, far edge exclusive); ``area`` (px^2); ``diameter``, ``length``,
        ``width``, ``perimeter`` (px); ``circularity``, ``aspect_ratio``; ``intensity`` (mean, NaN without pixels);
        ``touches_border`` (bool); ``contacts`` (number of particles at most 2 px away); ``agglomerate`` (numbered from
        1 for particles in groups of three or more in contact, otherwise 0); ``gap`` (px, edge-to-edge distance to the
        nearest other particle, inf for a single one); ``neck_width`` (px, chord 2x of the widest neck, 0 without neck)
        and ``neck_ratio`` (x/R of that neck, 0 without neck).

    Raises
    ------
    InputError
        Unusable labels, or pixels of another shape than the labels.

    Examples
    --------
    >>> labels = np.zeros((12, 12), int)
    >>> labels[2:6, 2:10] = 4
    >>> found = particle_properties(labels)
    >>> {name: found[name].tolist() for name in ("label", "area", "length", "width", "x", "touches_border")}
    {'label': [4], 'area': [32.0], 'length': [8.54...], 'width': [4.0], 'x': [5.5], 'touches_border': [False]}
    """
    numbered, originals = compact(labels)
    n, (height, width) = len(originals), numbered.shape
    values = None if pixels is None else pixels_of(pixels)
    if values is not None and values.shape != numbered.shape:
        raise InputError(
            f"The intensities have shape {values.shape} but the labels {numbered.shape}; "
            "both must belong to the same image."
        )
    (area, sum_x, sum_y, intensity), (x0, y0, x1, y1) = _sums(numbered, values, n)
    safe = np.maximum(area, 1)
    perimeter = _crofton_perimeter(numbered, n)
    border = border_pixels(numbered)
    owner = numbered[border[:, 0], border[:, 1]] - 1
    order = np.argsort(owner, kind="stable")
    contours = np.split(border[order][:, ::-1], np.cumsum(np.bincount(owner, minlength=n))[:-1]) if n else []
    length, breadth = _feret(contours)
    face = facing(numbered)
    pairs = np.unique(face.pair, axis=0)
    neck_width, neck_ratio = np.zeros(n), np.zeros(n)
    for neck in necks_between(numbered, np.arange(1, n + 1), face):
        for k in (neck.a - 1, neck.b - 1):
            if 2 * neck.x_px > neck_width[k]:
                neck_width[k], neck_ratio[k] = 2 * neck.x_px, neck.x_over_R
    return {
        "label": originals.astype(np.int64),
        "x": sum_x / safe,
        "y": sum_y / safe,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "area": area,
        "diameter": np.sqrt(4 * area / np.pi),
        "length": length,
        "width": breadth,
        "perimeter": perimeter,
        "circularity": 4 * np.pi * area / np.maximum(perimeter, 1e-9) ** 2,
        "aspect_ratio": length / np.maximum(breadth, 1e-9),
        "intensity": intensity,
        "touches_border": (x0 == 0) | (y0 == 0) | (x1 == width) | (y1 == height),
        "contacts": np.bincount(pairs.ravel() - 1, minlength=n) if len(pairs) else np.zeros(n, np.int64),
        "agglomerate": agglomerates(n, pairs),
        "gap": _nearest_gap(contours, np.stack([x0, y0, x1, y1], 1), face),
        "neck_width": neck_width,
        "neck_ratio": neck_ratio,
    }


def _sums(
    numbered: np.ndarray, pixels: np.ndarray | None, n: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Of labels 1..n: area, sums of x and of y, mean intensity, and boxes (x0, y0, x1, y1; far edge exclusive)."""
    far = np.iinfo(np.int64).max
    x0, y0, x1, y1 = np.full(n, far), np.full(n, far), np.zeros(n, np.int64), np.zeros(n, np.int64)
    area, sum_x, sum_y, count, total = (np.zeros(n) for _ in range(5))
    for band in bands(numbered.shape):
        part = numbered[band]
        rows, columns = np.nonzero(part)
        which = part[rows, columns] - 1
        values = None if pixels is None else pixels[band][rows, columns].astype(float)
        rows += band.start
        area += np.bincount(which, minlength=n)
        sum_x += np.bincount(which, columns, minlength=n)
        sum_y += np.bincount(which, rows, minlength=n)
        np.minimum.at(x0, which, columns)
        np.minimum.at(y0, which, rows)
        np.maximum.at(x1, which, columns + 1)
        np.maximum.at(y1, which, rows + 1)
        if values is not None:
            good = np.isfinite(values)
            count += np.bincount(which[good], minlength=n)
            total += np.bincount(which[good], values[good], minlength=n)
    intensity = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (area, sum_x, sum_y, intensity), (x0, y0, x1, y1)


def _crofton_perimeter(numbered: np.ndarray, n: int) -> np.ndarray:
    """Perimeter of labels 1..n in px; the module's description has the formula."""
    padded = np.pad(numbered, 1)
    total = np.zeros(n + 1)
    lines = (
        (padded[:, :-1], padded[:, 1:], 1.0),
        (padded[:-1], padded[1:], 1.0),
        (padded[:-1, :-1], padded[1:, 1:], np.sqrt(0.5)),
        (padded[:-1, 1:], padded[1:, :-1], np.sqrt(0.5)),
    )
    for one, other, spacing in lines:
        crossed = one != other
        total += spacing * np.bincount(one[crossed], minlength=n + 1)
        total += spacing * np.bincount(other[crossed], minlength=n + 1)
    return np.pi / 8 * total[1:]


def _feret(contours: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Largest and smallest caliper diameter of each contour, px."""
    from scipy.spatial import ConvexHull

    step = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    longest, shortest = np.zeros(len(contours)), np.zeros(len(contours))
    for k, contour in enumerate(contours):
        points = (contour[:, None] + step).reshape(-1, 2)
        hull = points[ConvexHull(points).vertices]
        edge = np.roll(hull, -1, axis=0) - hull
        normal = np.stack([-edge[:, 1], edge[:, 0]], 1) / np.linalg.norm(edge, axis=1, keepdims=True)
        # the smallest caliper lies flat on an edge of the hull (Freeman and Shapira 1975)
        shortest[k] = np.ptp(hull @ normal.T, axis=0).min()
        longest[k] = np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max())
    return longest, shortest


def _nearest_gap(contours: list[np.ndarray], boxes: np.ndarray, face: Facing) -> np.ndarray:
    """Edge-to-edge distance of each particle to the nearest other one, px; inf if there is no other.

    For particles in contact it is known already. For the others, contours are compared in order of the distance between
    boxes, a lower bound, until that exceeds the best distance found.
    """
    from scipy.spatial import cKDTree

    n = len(contours)
    best = np.full(n, np.inf)
    np.minimum.at(best, face.pair.ravel() - 1, np.repeat(face.gap, 2))
    if n < 2:
        return best
    trees: list[cKDTree | None] = [None] * n
    for k in np.flatnonzero(np.isinf(best)):
        # boxes have exclusive far edges: pixel centres are 1 px farther apart than the box edges
        apart_x = np.maximum(np.maximum(boxes[:, 0] - boxes[k, 2], boxes[k, 0] - boxes[:, 2]) + 1, 0)
        apart_y = np.maximum(np.maximum(boxes[:, 1] - boxes[k, 3], boxes[k, 1] - boxes[:, 3]) + 1, 0)
        bound = np.hypot(apart_x, apart_y) - 1
        bound[k] = np.inf
        for other in np.argsort(bound, kind="stable"):
            if bound[other] >= best[k] or other == k:
                break
            if trees[other] is None:
                trees[other] = cKDTree(contours[other])
            distance = trees[other].query(contours[k], distance_upper_bound=best[k] + 1 + 1e-9)[0].min()
            best[k] = min(best[k], float(distance) - 1)
    return best
