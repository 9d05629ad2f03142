"""Thickness of layers and shells.

Definitions:

- Layer, ``thickness``: mean over its middle line of the section along the normal of that line, from interface to
  interface; ``thickness_min`` and ``thickness_max`` are the smallest and the largest section. The middle line is the
  longest path through the skeleton, smoothed over a quarter of the thickness on each side. Holes in the layer are
  filled first; sections that the border of the image cuts are left out.
- Shell, ``thickness``: twice its area over its perimeter (inner and outer contour), which for a ring is the difference
  of the radii.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import compact
from lisa_micro.measure.structures.centre_lines import branches_of, longest_path
from lisa_micro.measure.structures.sections import section_widths

SPECK = 0.02
"""Parts of a layer with a smaller share of its area are left out."""
FINE = 12.0
"""px: half thickness to which a thick layer is reduced before its middle line is looked for."""
SMOOTHED = 0.25
"""px over which the middle line is smoothed on each side, over the thickness."""


def layer_measures(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Thickness of every layer along its normal, in pixels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; numbers may be missing. A layer may have several parts.

    Returns
    -------
    dict of str to ndarray
        ``thickness`` (mean), ``thickness_min``, ``thickness_max``, ``(n,)`` px in ascending order of the labels; NaN
        where the image shows no section from interface to interface.

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> labels = np.zeros((60, 100), int)
    >>> labels[20:32] = 1
    >>> {name: values.round(1).tolist() for name, values in layer_measures(labels).items()}
    {'thickness': [12.0], 'thickness_min': [12.0], 'thickness_max': [12.0]}
    """
    numbered, originals = compact(labels)
    names = ("thickness", "thickness_min", "thickness_max")
    columns = {name: np.full(len(originals), np.nan) for name in names}
    for k in range(len(originals)):
        widths = sections_of_layer(numbered == k + 1)
        if len(widths):
            for name, value in zip(names, (widths.mean(), widths.min(), widths.max()), strict=True):
                columns[name][k] = value
    return columns


def sections_of_layer(mask: np.ndarray) -> np.ndarray:
    """Sections of a layer ``(H, W)`` bool, px, at even distances along its middle line."""
    filled = ndimage.binary_fill_holes(mask)
    parts, count = ndimage.label(filled, np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    found = [np.zeros(0)]
    for k in range(1, count + 1):
        if areas[k] >= SPECK * areas[1:].sum():
            found.append(_sections(parts == k))
    return np.concatenate(found)


def _sections(part: np.ndarray) -> np.ndarray:
    height, width = part.shape
    radius = float(ndimage.distance_transform_edt(np.pad(part, 1, mode="edge")).max())
    if not np.isfinite(radius) or part.all():
        return np.zeros(0)
    # continued beyond the image, a layer has no ends there, into whose corners the skeleton would turn
    step = max(1, int(radius / FINE))
    small = part[step // 2 :: step, step // 2 :: step]
    pad = int(np.ceil(2 * radius / step)) + 2
    path = step * (longest_path(branches_of(np.pad(small, pad, mode="edge"))) - pad) + step // 2
    if len(path) < 3:
        return np.zeros(0)
    widths = section_widths(part, path, 4 * radius + 4, max(2.0, SMOOTHED * 2 * radius / step))
    inside = (path >= 0).all(1) & (path[:, 0] <= width - 1) & (path[:, 1] <= height - 1)
    ends = np.zeros(len(path), bool)  # where the layer ends within the image, sections near its end are of the end
    near = int(radius / step) + 1
    ends[:near] |= inside[0]
    ends[-near:] |= inside[-1]
    return widths[inside & ~ends & np.isfinite(widths)]


def shell_measures(area: np.ndarray, perimeter: np.ndarray) -> dict[str, np.ndarray]:
    """Thickness of shells from their area and perimeter.

    Parameters
    ----------
    area, perimeter
        ``(n,)`` px^2 and px, as of :func:`lisa_micro.measure.particles.particle_properties`.

    Returns
    -------
    dict of str to ndarray
        ``thickness``, ``(n,)`` px.

    Examples
    --------
    >>> outer, inner = 20.0, 15.0
    >>> shell_measures(np.pi * (outer**2 - inner**2), 2 * np.pi * (outer + inner))["thickness"].round(2).item()
    5.0
    """
    return {"thickness": 2 * np.asarray(area, float) / np.maximum(perimeter, 1e-9)}
