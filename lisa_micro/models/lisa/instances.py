"""From the decoder's maps to instances (numpy and scikit-image, no torch)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed


@dataclass(frozen=True)
class SplitConfig:
    """How instances are separated; lengths in px of the maps.

    threshold: probability from which a pixel belongs to the mask.
    height: a maximum of the distance map starts an instance of its own where it rises at least this far above the
        saddle to a higher one (h-maxima).
    border: weight with which the border map lowers the distance map. smooth: sigma of the Gaussian on the result.
    smallest: instances below this area, px, are dropped.
    certainty, peak: so are those whose mean mask probability is below ``certainty``, or in which the distance map
        nowhere reaches ``peak``: a whole particle has 1 somewhere, a scrap of background has not. (Small and faint
        particles have less in the network's map; a higher ``peak`` loses them.)
    undivided: a connected piece of the mask below this area, px, is one instance, whatever the distance map says.
    """

    threshold: float = 0.5
    height: float = 0.2
    border: float = 0.6
    smooth: float = 1.0
    smallest: int = 12
    certainty: float = 0.85
    peak: float = 0.3
    undivided: float = 0.0

    def scaled(self, scale: float) -> SplitConfig:
        """The same for maps enlarged by ``scale``: smoothing and the areas follow."""
        areas = scale**2
        return replace(
            self,
            smooth=self.smooth * scale,
            smallest=round(self.smallest * areas),
            undivided=self.undivided * areas,
        )


def h_maxima(surface: np.ndarray, height: float) -> np.ndarray:
    """Markers of the maxima that rise at least ``height`` above their surroundings: regional maxima of the
    reconstruction of ``surface - height`` under ``surface`` (Soille, Morphological Image Analysis, 2003), labelled."""
    from skimage.morphology import reconstruction

    rebuilt = reconstruction(surface - height, surface, method="dilation", footprint=np.ones((3, 3)))
    tops = (surface - rebuilt) > height * 0.5
    # plateaus of the residue: each component that holds a point at full height is one maximum
    labels, count = ndimage.label(tops, np.ones((3, 3)))
    if count == 0:
        return labels
    best = ndimage.maximum(surface - rebuilt, labels, np.arange(1, count + 1))
    keep = np.concatenate([[0], np.where(best >= height * 0.999, np.arange(1, count + 1), 0)])
    return keep[labels]


def separate(
    mask: np.ndarray, distance: np.ndarray, border: np.ndarray, config: SplitConfig | None = None
) -> np.ndarray:
    """Watershed on the distance map, seeded by its h-maxima, within the mask.

    Args:
        mask, distance, border: ``(H, W)`` probabilities 0..1.

    Returns:
        ``(H, W)`` int32 labels, 1..n without gaps.
    """
    config = config or SplitConfig()
    inside = mask > config.threshold
    if not inside.any():
        return np.zeros(mask.shape, np.int32)
    surface = np.where(inside, distance - config.border * border, 0.0).astype(np.float32)
    if config.smooth > 0:
        surface = ndimage.gaussian_filter(surface, config.smooth)
    # numbered anew within the mask: on a flat map the plane around it belongs to the same maximum
    markers, _ = ndimage.label((h_maxima(surface, config.height) > 0) & inside, np.ones((3, 3)))
    # a component without a marker is an instance of its own
    parts, count = ndimage.label(inside)
    seeded = np.zeros(count + 1, bool)
    seeded[np.unique(parts[markers > 0])] = True
    if config.undivided > 0:
        seeded &= np.bincount(parts.ravel(), minlength=count + 1) >= config.undivided
        markers, _ = ndimage.label((markers > 0) & seeded[parts], np.ones((3, 3)))
    extra = inside & ~seeded[parts]
    if extra.any():
        more, _ = ndimage.label(extra)
        markers = np.where(extra, more + markers.max(initial=0), markers)
    labels = watershed(-surface, markers, mask=inside)
    if config.certainty > 0 or config.peak > 0:
        numbers = np.arange(labels.max() + 1)
        doubtful = (ndimage.mean(mask, labels, numbers) < config.certainty) | (
            ndimage.maximum(distance, labels, numbers) < config.peak
        )
        doubtful[0] = False
        labels = np.where(doubtful[labels], 0, labels)
    return drop_small(labels, config.smallest)


def connected(mask: np.ndarray, smallest: int = 12, threshold: float = 0.5) -> np.ndarray:
    """Connected components of a probability map, ``(H, W)`` int32."""
    labels, _ = ndimage.label(mask > threshold, np.ones((3, 3)))
    return drop_small(labels, smallest)


def drop_small(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Leave out instances below ``smallest`` px and number the rest 1..n."""
    areas = np.bincount(labels.ravel())
    keep = areas >= smallest
    keep[0] = False
    numbers = np.zeros(len(areas), np.int32)
    numbers[keep] = np.arange(1, int(keep.sum()) + 1)
    return numbers[labels]
