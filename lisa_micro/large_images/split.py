"""Instances of large micrographs from maps of the whole, in bounded memory and without seams.

Each connected component of the mask is separated in a window that holds all of it, so no instance is cut at a seam.
Maps are uint8; 255 stands for a probability of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.targets import SUPPORT, ImageView, renumbered
from lisa_micro.datasets.derive import MIN_PORE_PX, close_gaps, enclosed_background, paint_agglomerates
from lisa_micro.measure import contacts, neck_labels
from lisa_micro.measure.contacts import agglomerates
from lisa_micro.models.lisa.instances import SplitConfig, separate
from lisa_micro.models.lisa.model import ImageFeatures

BUDGET = 4096 * 4096
"""Largest window, px, that is separated at full size. A component with a larger window (a film that percolates through
the micrograph) is separated at a reduced size, as large micrographs are when they are segmented at once."""
_SQUARE = np.ones((3, 3), bool)
_BAND = 1024


Separator = Callable[[np.ndarray, np.ndarray, np.ndarray, SplitConfig], np.ndarray]
"""Maps of mask, distance and border ``(H, W)`` 0..1 and settings -> labels."""


def separate_large(
    maps: np.ndarray, split: SplitConfig, budget: int = BUDGET, separator: Separator = separate
) -> np.ndarray:
    """Separate instances component by component.

    Args:
        maps: ``(3, H, W)`` uint8: mask, distance, border; 255 = 1.
        split: lengths in px of the maps.
        budget: see :data:`BUDGET`.
        separator: separates those of one component: :func:`lisa_micro.models.lisa.instances.separate` or
            :func:`lisa_micro.models.lisa.instances.bodies`.

    Returns:
        ``(H, W)`` int32 labels, 1..n without gaps.
    """
    # diagonal neighbours, too: a marker can reach across a corner where the mask itself does not
    labels, count = ndimage.label(maps[0] > 255 * split.threshold, _SQUARE)
    margin = int(np.ceil(4 * split.smooth)) + 2  # reach of the smoothing filter
    total = 0
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        window = grown(box, margin, labels.shape)
        component = labels[window] == number
        found = np.zeros(component.shape, np.int32)
        if np.count_nonzero(component) >= split.smallest:
            found = _separate_window(maps[(slice(None), *window)], component, split, budget, separator)
        # finished components are stored as negative numbers, so that no second label image is needed
        labels[window][component] = -np.where(found > 0, found + total, 0)[component]
        total += int(found.max(initial=0))
    return np.negative(labels, out=labels)


def _separate_window(
    maps: np.ndarray, component: np.ndarray, split: SplitConfig, budget: int, separator: Separator
) -> np.ndarray:
    """Labels 1..n of one ``component`` ``(h, w)`` bool; other components in the window are not labelled."""
    step = int(np.ceil(np.sqrt(component.size / budget)))
    if step == 1:
        mask, distance, border = maps.astype(np.float32) / 255
        found = separator(mask, distance, border, split)
        return _compact(np.where(component, found, 0))
    less = split.scaled(1 / step)
    less = replace(less, smallest=max(1, split.smallest // step**2))
    found = separator(_reduced(maps[0], step), _reduced(maps[1], step), _reduced(maps[2], step), less)
    found = np.repeat(np.repeat(found, step, 0), step, 1)[: component.shape[0], : component.shape[1]]
    found = np.where(component, found, 0)
    for _ in range(step):  # the contour is known to a pixel of the reduced size: grow to the contour of the mask
        np.copyto(found, ndimage.maximum_filter(found, 3), where=component & (found == 0))
    return _compact(found)


def _reduced(image: np.ndarray, step: int) -> np.ndarray:
    """uint8 ``(H, W)`` -> means of blocks of ``step`` px, float32 0..1; incomplete blocks repeat the edge."""
    padded = np.pad(image, [(0, -n % step) for n in image.shape], mode="edge")
    h, w = padded.shape[0] // step, padded.shape[1] // step
    return padded.reshape(h, step, w, step).mean(axis=(1, 3), dtype=np.float32) / np.float32(255)


def _compact(labels: np.ndarray) -> np.ndarray:
    present = np.bincount(labels.ravel()) > 0
    return renumbered(labels, present[1:])


def grown(box: tuple[slice, slice], margin: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """A box enlarged by ``margin`` px on all sides, within an image of ``shape``."""
    rows, columns = (slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, shape, strict=True))
    return rows, columns


def means(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``(n,)`` mean, 0..1, of the uint8 ``values`` over each instance 1..n; 0 for a number that does not occur."""
    found = np.zeros(int(labels.max(initial=0)))
    for k, box in enumerate(ndimage.find_objects(labels)):
        if box is not None:
            found[k] = values[box][labels[box] == k + 1].mean() / 255
    return found


def agglomerate_labels(particles: np.ndarray) -> np.ndarray:
    """``(H, W)`` int32 agglomerates of particles numbered 1..n, the same as of
    :func:`lisa_micro.datasets.derive.derive_truth`.

    They are painted in bands of rows: which particles belong together is known for the whole, and pixels of gaps depend
    on their nearest neighbours only.
    """
    group = agglomerates(int(particles.max(initial=0)), contacts(particles))
    out = np.zeros(particles.shape, np.int32)
    if not group.any():
        return out
    reach = 4  # closing depends on pixels 2 px away, the filters after it on 1 px
    for top in range(0, len(particles), _BAND):
        low, stop = max(top - reach, 0), min(top + _BAND, len(particles))
        band = particles[low : stop + reach]
        out[top:stop] = paint_agglomerates(band, group, close_gaps(band > 0))[top - low : stop - low]
    return out


class LargeView(ImageView):
    """A large micrograph whose particles are known.

    Args:
        engine, pixels, features: see :class:`lisa_micro.assistant.targets.ImageView`; the features are those of the
            micrograph as a whole.
        particles: ``(H, W)`` int32 at the size of the micrograph, 1..n.
    """

    def __init__(self, engine: Engine, pixels: np.ndarray, features: ImageFeatures, particles: np.ndarray | None):
        super().__init__(engine, pixels, features)
        self._particles = particles

    def structures(self, concept: str, probability: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Necks, pores or agglomerates of the particles, by the same rules as in a small micrograph.

        Args:
            probability: ``(H, W)`` uint8, the mask that the words prompted.

        Returns:
            ``(H, W)`` int32 labels 1..n, and for necks the columns ``neck_width`` (px) and ``neck_ratio``.
        """
        return structures(concept, self.particles, probability)


def structures(
    concept: str, particles: np.ndarray, probability: np.ndarray, beside: bool | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Necks, pores or agglomerates of particles.

    Args:
        particles: ``(H, W)`` int32, 1..n.
        probability: ``(H, W)`` uint8, the mask that the words prompted.
        beside: whether pores are the mask beside the particles, or what the particles enclose; ``None``: the former
            where nothing is enclosed.

    Returns:
        ``(H, W)`` int32 labels 1..n, and for necks the columns ``neck_width`` (px) and ``neck_ratio``.
    """
    if concept == "neck":
        candidates, necks = neck_labels(particles)
        keep = means(candidates, probability) >= SUPPORT["neck"]
        measured = {
            "neck_width": np.array([2 * neck.x_px for neck in necks[: len(keep)]], float)[keep],
            "neck_ratio": np.array([neck.x_over_R for neck in necks[: len(keep)]], float)[keep],
        }
        return renumbered(candidates, keep), measured
    if concept == "agglomerate":
        candidates = agglomerate_labels(particles)
    else:
        candidates = np.zeros(particles.shape, np.int32) if beside else enclosed_background(particles)
        if beside or (beside is None and not candidates.any()):
            candidates, count = ndimage.label((probability > 127) & (particles == 0))
            boxes = ndimage.find_objects(candidates)
            areas = [np.count_nonzero(candidates[box] == k) for k, box in enumerate(boxes, 1)]
            return renumbered(candidates, np.array(areas, int).reshape(count) >= MIN_PORE_PX), {}
    if SUPPORT[concept] > 0:
        return renumbered(candidates, means(candidates, probability) >= SUPPORT[concept]), {}
    return candidates, {}
