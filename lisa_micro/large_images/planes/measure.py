"""Properties of the instances of a plane, measured in windows that hold them whole."""

from __future__ import annotations

import numpy as np

from lisa_micro.io.lazy import CompactLabels, Plane
from lisa_micro.large_images.stitching import Steps
from lisa_micro.measure import contacts
from lisa_micro.measure.contacts import agglomerates
from lisa_micro.measure.structures import concept_properties

BLOCK = 2048
"""px: instances are measured in groups, by the block of this side in which the middle of their box lies."""
MARGIN = 128
"""px around a group. Gaps to neighbours are measured up to here; larger ones are NaN."""
LARGEST = 8192
"""px: of an instance whose box has a longer side, area, place and equivalent diameter alone are measured."""

_FROM_WHOLE = frozenset(
    ("label", "area", "diameter", "x", "y", "x0", "y0", "x1", "y1", "touches_border", "agglomerate", "contacts")
)
"""Columns that runs, or pairs of the whole plane, give."""


def plane_properties(
    labels: CompactLabels, concept: str, plane: Plane, step: Steps | None = None
) -> dict[str, np.ndarray]:
    """Measure every instance, in pixels, with the definitions of
    :func:`lisa_micro.measure.structures.concept_properties`.

    Args:
        labels: instances 1..n.
        concept: what they are.
        plane: for the mean intensities.
        step: called after each group.

    Returns:
        columns ``(n,)``. What cannot be measured part by part is NaN: see :data:`MARGIN` and :data:`LARGEST`.
    """
    found = _from_runs(labels)
    boxes = labels.boxes()
    middle = (boxes[:, :2] + boxes[:, 2:]) // 2 // BLOCK
    small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) <= LARGEST
    groups = np.unique(middle[small], axis=0)
    pairs, order = [np.zeros((0, 2), np.int64)], list(found)
    for number, (across, down) in enumerate(groups.tolist()):
        mine = np.flatnonzero(small & (middle[:, 0] == across) & (middle[:, 1] == down))
        x0, y0 = np.maximum(boxes[mine, :2].min(axis=0) - MARGIN, 0).tolist()
        x1, y1 = (boxes[mine, 2:].max(axis=0) + MARGIN).tolist()
        window = labels.read(y0, y1, x0, x1)
        one = concept_properties(window, concept, plane.read(y0, y1, x0, x1))
        rows, order = np.searchsorted(one["label"], mine + 1), list(one)
        for name, values in one.items():
            if name in _FROM_WHOLE:
                continue
            found.setdefault(name, np.full(labels.count, np.nan))[mine] = values[rows]
        present = one["label"].astype(np.int64)
        near = contacts(window)
        near = near[np.isin(near, mine + 1).any(axis=1)]
        pairs.append(near[np.isin(near, present).all(axis=1)])
        if step:
            step(number + 1, len(groups))
    if "gap" in found:
        found["gap"] = np.where(found["gap"] > MARGIN, np.nan, found["gap"])
    joined = np.unique(np.concatenate(pairs), axis=0)
    found["agglomerate"] = agglomerates(labels.count, joined)
    found["contacts"] = np.bincount(joined.ravel() - 1, minlength=labels.count)
    return {name: found[name] for name in sorted(found, key=lambda name: order.index(name) if name in order else 99)}


def _from_runs(labels: CompactLabels) -> dict[str, np.ndarray]:
    """What runs alone tell of each instance."""
    areas, boxes, centres = labels.areas().astype(float), labels.boxes(), labels.centroids()
    height, width = labels.shape
    x0, y0, x1, y1 = boxes.T
    return {
        "label": np.arange(1, labels.count + 1),
        "x": centres[:, 0],
        "y": centres[:, 1],
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "area": areas,
        "diameter": np.sqrt(4 * areas / np.pi),
        "touches_border": (x0 == 0) | (y0 == 0) | (x1 == width) | (y1 == height),
    }
