"""Necks: the bridges between particles in contact.

Definition: the common interface of two particles is where their labels are at most 2 px apart (edge to edge). The
*chord* is the straight line between the two ends of the interface, ``x`` is half its length, and ``R`` is the mean of
the two equivalent-circle radii, so ``x / R`` is the neck ratio of sintering theory (two equal spheres: Frenkel 1945,
Kuczynski 1949). The *neck mask* is the part of the two particles, including the gap pixels between them, within x/2 of
the chord along its normal and within the chord's extent.

Ends of an interface: beyond the neck the two contours diverge, but stay less than 2 px apart for a few pixels, which
would lengthen every chord between labels that truly touch. The interface therefore ends where the gap exceeds the
pair's typical gap (the median along the interface) by more than a quarter of a pixel, and 2 px at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.io.units import check_pixel_size
from lisa_micro.measure.contacts import MAX_GAP, Facing, areas, compact, facing

if TYPE_CHECKING:
    import pandas as pd

_WEDGE = 0.25  # px by which the gap within the interface may exceed the typical gap


@dataclass(frozen=True)
class Neck:
    """One neck, in pixels.

    Attributes
    ----------
    a, b
        Labels of the two particles, a < b.
    ends
        ``((x0, y0), (x1, y1))`` of the chord; pixel centres are integers.
    x_px
        Half the length of the chord.
    R_px
        Mean of the two equivalent-circle radii.
    """

    a: int
    b: int
    ends: tuple[tuple[float, float], tuple[float, float]]
    x_px: float
    R_px: float

    @property
    def x_over_R(self) -> float:
        """Neck ratio x/R, dimensionless."""
        return self.x_px / self.R_px

    @property
    def centre(self) -> tuple[float, float]:
        """``(x, y)`` px, midpoint of the chord."""
        (x0, y0), (x1, y1) = self.ends
        return (x0 + x1) / 2, (y0 + y1) / 2


def find_necks(labels: np.ndarray, max_gap: float = MAX_GAP) -> list[Neck]:
    """Find the necks of all particles in contact, without their masks.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background.
    max_gap
        px, edge to edge.

    Returns
    -------
    list of Neck
        One neck per pair in contact, ordered by (a, b).

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> labels = np.zeros((20, 40), int)
    >>> labels[5:15, 5:20], labels[5:15, 20:35] = 1, 2
    >>> neck, = find_necks(labels)
    >>> neck.a, neck.b, neck.centre, neck.x_px
    (1, 2, (19.5, 9.5), 5.0)
    """
    numbered, originals = compact(labels)
    return necks_between(numbered, originals, facing(numbered, max_gap), max_gap)


def necks_between(numbered: np.ndarray, originals: np.ndarray, face: Facing, max_gap: float = MAX_GAP) -> list[Neck]:
    """As :func:`find_necks`, for labels that are prepared already.

    Parameters
    ----------
    numbered, originals
        From :func:`lisa_micro.measure.contacts.compact`.
    face
        From :func:`lisa_micro.measure.contacts.facing` for ``numbered``.
    max_gap
        px, as for ``facing``.
    """
    if len(face.gap) == 0:
        return []
    radius = np.sqrt(areas(numbered, len(originals)) / np.pi)
    order = np.lexsort((face.pair[:, 1], face.pair[:, 0]))
    pair, middle, gap = face.pair[order], face.middle[order], face.gap[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(pair, axis=0) != 0).any(axis=1)])
    necks = []
    for start, stop in zip(starts, np.r_[starts[1:], len(pair)], strict=True):
        a, b = (int(v) for v in pair[start])
        limit = min(float(np.median(gap[start:stop])) + _WEDGE, max_gap + 1e-9)
        points = middle[start:stop][gap[start:stop] <= limit]
        ends, length = _chord(points)
        necks.append(
            Neck(
                int(originals[a - 1]),
                int(originals[b - 1]),
                ends,
                length / 2,
                float(radius[a] + radius[b]) / 2,
            )
        )
    return necks


def _chord(points: np.ndarray) -> tuple[tuple[tuple[float, float], tuple[float, float]], float]:
    """Ends and length of the line between the two points farthest apart.

    Points lie at pixel centres or between them and stand for one pixel width each, so the chord extends half a pixel
    farther on both sides: n pixels in a row give a chord of length n.
    """
    if len(points) > 64:  # only extreme points can be farthest apart: keep those along 32 directions
        angle = np.arange(32) * np.pi / 32
        along = points @ np.stack([np.cos(angle), np.sin(angle)])
        points = points[np.unique(np.r_[along.argmin(axis=0), along.argmax(axis=0)])]
    difference = points[:, None] - points[None]
    squared = (difference**2).sum(axis=2)
    farthest = np.unravel_index(int(squared.argmax()), squared.shape)
    i, j = sorted((int(k) for k in farthest), key=lambda k: tuple(points[k]))
    span = float(np.sqrt(squared[i, j]))
    direction = (points[j] - points[i]) / span if span > 0 else np.array([1.0, 0.0])
    p, q = points[i] - direction / 2, points[j] + direction / 2
    return ((float(p[0]), float(p[1])), (float(q[0]), float(q[1]))), span + 1


def neck_labels(labels: np.ndarray, max_gap: float = MAX_GAP) -> tuple[np.ndarray, list[Neck]]:
    """Neck masks as instance labels.

    A pixel within reach of several necks goes to the one whose chord is nearest. A mask extends at least 1 px to both
    sides of its chord, so the thinnest neck remains visible, and every neck has at least one pixel (except in tiny
    images with more necks than pixels).

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background.
    max_gap
        px, edge to edge.

    Returns
    -------
    labels : ndarray
        ``(H, W)`` int32 neck labels.
    necks : list of Neck
        Label k belongs to entry k - 1.

    Raises
    ------
    InputError
        Unusable labels.
    """
    numbered, originals = compact(labels)
    necks = necks_between(numbered, originals, facing(numbered, max_gap), max_gap)
    return paint_necks(numbered, originals, necks, max_gap), necks


def paint_necks(numbered: np.ndarray, originals: np.ndarray, necks: list[Neck], max_gap: float = MAX_GAP) -> np.ndarray:
    """``(H, W)`` int32 masks of necks that are known already; k is the k-th neck. See :func:`neck_labels`."""
    height, width = numbered.shape
    out = np.zeros((height, width), np.int32)
    nearest = np.full((height, width), np.inf, np.float32)
    for number, neck in enumerate(necks, start=1):
        (x0, y0), (x1, y1) = neck.ends
        cx, cy = neck.centre
        ux, uy = (x1 - x0) / (2 * neck.x_px), (y1 - y0) / (2 * neck.x_px)
        reach = max(neck.x_px / 2, 1.0)
        pad = reach + 2 + max_gap
        left, top = max(int(min(x0, x1) - pad), 0), max(int(min(y0, y1) - pad), 0)
        right, bottom = int(max(x0, x1) + pad) + 2, int(max(y0, y1) + pad) + 2
        crop = (slice(top, min(bottom, height)), slice(left, min(right, width)))
        dx = np.arange(left, min(right, width))[None, :] - cx
        dy = np.arange(top, min(bottom, height))[:, None] - cy
        along, across = np.abs(dx * ux + dy * uy), np.abs(dy * ux - dx * uy)
        a, b = np.searchsorted(originals, [neck.a, neck.b]) + 1
        union = _union_with_gap(numbered[crop], int(a), int(b), max_gap)
        inside = union & (across <= reach) & (along <= neck.x_px + 0.5)
        if not inside.any():  # a chord between two single pixels may fall between pixel centres
            inside = union & (np.hypot(along, across) <= np.hypot(along, across)[union].min() + 1e-6)
        distance = across.astype(np.float32)
        distance = np.broadcast_to(distance, inside.shape)
        take = inside & (distance < nearest[crop])
        out[crop][take] = number
        nearest[crop][take] = distance[take]
    for number in np.setdiff1d(np.arange(1, len(necks) + 1), out):
        _give_pixel(out, int(number), necks[number - 1].centre)
    return out


def _give_pixel(out: np.ndarray, number: int, centre: tuple[float, float]) -> None:
    """Give a neck that is covered by nearer ones the pixel nearest to its centre that is not another neck's last."""
    size = np.bincount(out.ravel(), minlength=number + 1)
    size[0] = 2  # background pixels may always be taken
    rows, columns = np.nonzero(size[out] > 1)
    if len(rows):
        k = int(np.hypot(columns - centre[0], rows - centre[1]).argmin())
        out[rows[k], columns[k]] = number


def _union_with_gap(labels: np.ndarray, a: int, b: int, max_gap: float) -> np.ndarray:
    """Both particles and the background pixels between them, as a bool mask of the crop."""
    from scipy.ndimage import distance_transform_edt

    first, second = labels == a, labels == b
    union = first | second
    if not first.any() or not second.any():
        return union
    # centre distances across a straight gap of g background pixels add up to g + 1; half a pixel for oblique gaps
    between = distance_transform_edt(~first) + distance_transform_edt(~second) <= max_gap + 1.5
    return union | (between & (labels == 0))


def measure_necks(labels: np.ndarray, pixel_size_nm: float | None = None) -> pd.DataFrame:
    """Measure the necks between particles in contact.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background, k = particle k.
    pixel_size_nm
        Edge length of a pixel in nm; without it there are no nm columns.

    Returns
    -------
    pandas.DataFrame
        One row per neck: ``neck`` (1..n, the label in :func:`neck_labels`), ``particle_a``, ``particle_b``,
        ``centre_x_px``, ``centre_y_px``, the ends of the chord ``x0_px, y0_px, x1_px, y1_px``, ``x_px`` (half the
        chord), ``width_px`` (the chord, 2x), ``R_px`` (mean equivalent-circle radius), ``x_over_R``; with a pixel size
        also ``x_nm``, ``width_nm``, ``R_nm``.

    Raises
    ------
    InputError
        Unusable labels, or a pixel size that is not a positive number.

    Examples
    --------
    >>> labels = np.zeros((20, 40), int)
    >>> labels[5:15, 5:20], labels[5:15, 20:35] = 1, 2
    >>> measure_necks(labels, pixel_size_nm=0.5)[["particle_a", "particle_b", "width_px",
    "width_nm"]].to_dict("records")
    [{'particle_a': 1, 'particle_b': 2, 'width_px': 10.0, 'width_nm': 5.0}]
    """
    import pandas as pd

    scale = check_pixel_size(pixel_size_nm)
    necks = find_necks(labels)
    ends = np.array([neck.ends for neck in necks], float).reshape(-1, 4)
    x, radius = np.array([n.x_px for n in necks], float), np.array([n.R_px for n in necks], float)
    table = {
        "neck": np.arange(1, len(necks) + 1),
        "particle_a": np.array([n.a for n in necks], np.int64),
        "particle_b": np.array([n.b for n in necks], np.int64),
        "centre_x_px": ends[:, [0, 2]].mean(axis=1),
        "centre_y_px": ends[:, [1, 3]].mean(axis=1),
        "x0_px": ends[:, 0],
        "y0_px": ends[:, 1],
        "x1_px": ends[:, 2],
        "y1_px": ends[:, 3],
        "x_px": x,
        "width_px": 2 * x,
        "R_px": radius,
        "x_over_R": x / radius,
    }
    if scale is not None:
        table |= {"x_nm": x * scale, "width_nm": 2 * x * scale, "R_nm": radius * scale}
    return pd.DataFrame(table)
