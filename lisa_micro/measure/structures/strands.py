"""Fibres and cracks: bodies with an axis.

Definitions:

- Fibre, ``length``: along its axis, the longest path through its skeleton, continued at both ends to its contour. Parts
  of one fibre between which something covers it are connected straight.
- Fibre, ``width``: mean over the axis of the section along the normal of the axis; sections closer to an end than half
  the greatest width, and sections that the border of the image cuts, are left out.
- Crack, ``length``: of its centre line with all branches. ``opening``: its area over that length, which is the mean
  width. ``opening_max``: diameter of the largest disc that fits into it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import compact
from lisa_micro.measure.structures.centre_lines import branches_of, longest_path, smoothed
from lisa_micro.measure.structures.sections import extended, section_widths


def bodies(labels: np.ndarray, margin: int = 1) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """Instances 1..n without gaps one by one.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 1..n without gaps.
    margin
        px of background on each side.

    Yields
    ------
    tuple
        index from 0; ``(h, w)`` bool crop with the margin (False beyond the image); row and column of its corner.
    """
    for k, box in enumerate(ndimage.find_objects(labels)):
        if box is not None:
            yield k, np.pad(labels[box] == k + 1, margin), (box[0].start - margin, box[1].start - margin)


def fibre_measures(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Length and width of every fibre along its axis, in pixels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; numbers may be missing.

    Returns
    -------
    dict of str to ndarray
        ``length``, ``width``, ``(n,)`` px in ascending order of the labels. A body so short that it has no section
        away from its ends has its area over its length as width.

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> labels = np.zeros((20, 60), int)
    >>> labels[8:13, 5:50] = 1
    >>> {name: values.round(1).tolist() for name, values in fibre_measures(labels).items()}
    {'length': [45.5], 'width': [5.0]}
    """
    numbered, originals = compact(labels)
    length, width = np.zeros(len(originals)), np.zeros(len(originals))
    for k, body, corner in bodies(numbered):
        length[k], width[k] = _fibre(body, _frame(corner, numbered.shape))
    return {"length": length, "width": width}


def _frame(corner: tuple[int, int], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the image in coordinates of a crop with this corner."""
    return -0.5 - corner[1], -0.5 - corner[0], shape[1] - 0.5 - corner[1], shape[0] - 0.5 - corner[0]


def _fibre(body: np.ndarray, frame: tuple[float, float, float, float]) -> tuple[float, float]:
    radius = float(ndimage.distance_transform_edt(body).max())
    path = longest_path(branches_of(body))
    area = float(np.count_nonzero(body))
    if len(path) < 3:
        side = float(np.sqrt(area))
        return max(body.shape[0] - 2.0, body.shape[1] - 2.0, side), area / max(*body.shape, 1.0)
    end = int(radius)  # px in which the skeleton may turn into a corner of a square end
    path = path[end : len(path) - end] if len(path) > 6 * end else path
    half = max(2.0, radius)
    whole = extended(body, smoothed(path, half), radius)
    steps = np.hypot(*np.diff(whole, axis=0).T)
    length = float(steps.sum())
    widths = section_widths(body, path, 2.5 * radius + 2, half)
    place = np.cumsum(steps)[: len(path)] if len(whole) > len(path) else np.r_[0, np.cumsum(steps)]
    inner = (place > radius) & (place < length - radius) & np.isfinite(widths) & ~_cut(path, widths, frame)
    return length, float(widths[inner].mean()) if inner.sum() >= 3 else area / max(length, 1.0)


def _cut(path: np.ndarray, widths: np.ndarray, frame: tuple[float, float, float, float]) -> np.ndarray:
    """Whether the border of the image lies within half a width of a point of the path: it cuts the section there."""
    x0, y0, x1, y1 = frame
    near = np.minimum.reduce([path[:, 0] - x0, path[:, 1] - y0, x1 - path[:, 0], y1 - path[:, 1]])
    return near <= np.nan_to_num(widths) / 2


def crack_measures(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Length and opening of every crack, in pixels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; numbers may be missing.

    Returns
    -------
    dict of str to ndarray
        ``length`` (with all branches), ``opening`` (mean), ``opening_max``, ``(n,)`` px in ascending order of the
        labels.

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> labels = np.zeros((20, 60), int)
    >>> labels[8:11, 5:55] = 1
    >>> {name: values.round(1).tolist() for name, values in crack_measures(labels).items()}
    {'length': [49.2], 'opening': [3.1], 'opening_max': [3.0]}
    """
    numbered, originals = compact(labels)
    n = len(originals)
    length, area, widest = np.zeros(n), np.zeros(n), np.zeros(n)
    for k, body, _ in bodies(numbered):
        area[k] = np.count_nonzero(body)
        # at twice the size a width of w px is an even number of px, and so has a centre line
        fine = ndimage.distance_transform_edt(np.repeat(np.repeat(body, 2, 0), 2, 1))
        widest[k] = float(fine.max())
        length[k] = max(centre_line_length(body), widest[k])
    return {"length": length, "opening": area / np.maximum(length, 1e-9), "opening_max": widest}


def centre_line_length(mask: np.ndarray) -> float:
    """Length of the centre lines of a mask with all branches, px; free ends are continued to the contour.

    Parameters
    ----------
    mask
        ``(H, W)`` bool.

    Examples
    --------
    >>> mask = np.zeros((9, 40), bool)
    >>> mask[3:6, 5:35] = True
    >>> abs(centre_line_length(mask) - 30) < 1
    True
    """
    mask = np.pad(np.asarray(mask, bool), 1)
    branches = branches_of(mask)
    if not branches:
        return 0.0
    radius = ndimage.distance_transform_edt(mask)
    total = sum(branch.length for branch in branches)
    for branch in branches:
        for free, end in zip(branch.free, (0, -1), strict=True):
            if free:
                x, y = branch.points[end].astype(int)
                total += max(float(radius[y, x]) - 0.5, 0.0)
    return total
