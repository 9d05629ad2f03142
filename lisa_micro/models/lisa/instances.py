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


@dataclass(frozen=True)
class BodyConfig:
    """How bodies of any shape are separated.

    seed: a component of the mask is kept where its probability reaches this somewhere (hysteresis, as in Canny, IEEE
        Trans. Pattern Anal. Mach. Intell. 8 (1986) 679).
    border: two pieces stay apart where the mean of the border map along their contact is at least this.
    neck: so they do where the contact is shorter than this share of the diameter of the largest disc in the smaller
        piece.
    """

    seed: float = 0.5
    border: float = 0.5
    neck: float = 0.6


def bodies(
    mask: np.ndarray,
    distance: np.ndarray,
    border: np.ndarray,
    split: SplitConfig | None = None,
    config: BodyConfig | None = None,
) -> np.ndarray:
    """Instances that need not be convex: connected components of the mask, split where the maps show a border or where
    the mask has a neck.

    The distance map of a large body that is not convex has several maxima, so its watershed (:func:`separate`) cuts it
    into pieces. Pieces in contact are joined again unless there is evidence between them; no piece is dropped for being
    unsure, since a component with one sure pixel is kept whole.

    Args:
        mask, distance, border: ``(H, W)`` probabilities 0..1.
        split: threshold of the mask and lengths of the watershed, px of the maps; its certainty and peak, which are
            those of particles, are not used.
        config: what counts as evidence.

    Returns:
        ``(H, W)`` int32 labels, 1..n without gaps.
    """
    split, config = split or SplitConfig(), config or BodyConfig()
    inside = hysteresis(mask, split.threshold, config.seed)
    if not inside.any():
        return np.zeros(mask.shape, np.int32)
    every = replace(split, certainty=0.0, peak=0.0, smallest=0)
    pieces = separate(np.where(inside, mask, 0), distance, border, every)
    return drop_small(join_pieces(pieces, border, config), split.smallest)


def hysteresis(mask: np.ndarray, low: float, high: float) -> np.ndarray:
    """``(H, W)`` bool: components of the pixels above ``low`` that have a pixel above ``high``; all where ``high`` is
    not above ``low``."""
    inside = mask > low
    if high <= low:
        return inside
    parts, count = ndimage.label(inside, np.ones((3, 3)))
    sure = np.zeros(count + 1, bool)
    sure[np.unique(parts[mask > high])] = True
    sure[0] = False
    return sure[parts]


def join_pieces(pieces: np.ndarray, border: np.ndarray, config: BodyConfig) -> np.ndarray:
    """Join pieces ``(H, W)`` int32, 1..n, that are in contact without a border or a neck between them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(pieces.max(initial=0))
    if n < 2:
        return pieces
    radius = np.r_[0.0, ndimage.maximum(ndimage.distance_transform_edt(pieces > 0), pieces, np.arange(1, n + 1))]
    keys, evidence, down = [], [], []
    for axis, (one, two) in enumerate(((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]))):
        a, b = pieces[one], pieces[two]
        meet = (a != b) & (a > 0) & (b > 0)
        a, b = a[meet].astype(np.int64), b[meet].astype(np.int64)
        keys.append(np.minimum(a, b) * (n + 1) + np.maximum(a, b))
        evidence.append(np.maximum(border[one][meet], border[two][meet]))
        down.append(np.full(len(a), axis))
    pair, which, count = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    low, high = pair // (n + 1), pair % (n + 1)
    mean = np.bincount(which, np.concatenate(evidence)) / np.maximum(count, 1)
    # length of a straight contact from its steps along the two axes of the grid
    steps = np.bincount(which, np.concatenate(down), minlength=len(pair))
    contact = np.hypot(steps, count - steps)
    joined = (mean < config.border) & (contact >= config.neck * 2 * np.minimum(radius[low], radius[high]))
    graph = coo_array((np.ones(int(joined.sum())), (low[joined], high[joined])), shape=(n + 1, n + 1))
    group = connected_components(graph, directed=False)[1].astype(np.int32)
    numbers = np.zeros(int(group.max()) + 1, np.int32)
    numbers[np.unique(group[1:])] = np.arange(1, len(np.unique(group[1:])) + 1)
    return np.where(pieces > 0, numbers[group[pieces]], 0).astype(np.int32)


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
