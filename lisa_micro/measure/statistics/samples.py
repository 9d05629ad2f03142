"""Sizes of the particles of many images, weighted by number, area or volume.

Definitions (ISO 9276-1: cumulative distributions Q_r, r = 0 by number, 2 by area, 3 by volume; ISO 13322-1):

- The size is the diameter d of the circle of equal area, unless another property is given.
- ``number``: every particle counts 1; ``area``: d^2; ``volume``: d^3, the volume of a sphere of this diameter. Volumes
  from projections assume spheres.
- D10, D50, D90: sizes below which 10, 50 and 90 % of the number, area or volume lie. A particle stands for the middle
  of its own share of the cumulative distribution, and sizes between two particles are interpolated linearly (for equal
  weights this is Hazen's definition of percentiles).
- The mean of a basis is sum(w d) / sum(w) with the weights of that basis: by number the arithmetic mean D[1,0], by area
  the Sauter mean D[3,2], by volume D[4,3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from lisa_micro.types import InputError

Basis: TypeAlias = Literal["number", "area", "volume"]
BASES: tuple[Basis, ...] = get_args(Basis)
POWERS: dict[Basis, int] = {"number": 0, "area": 2, "volume": 3}
PERCENTILES = (10, 50, 90)


@dataclass(frozen=True, eq=False)
class Sample:
    """Sizes of the particles of a group of images.

    Attributes
    ----------
    sizes
        ``(n,)`` positive sizes, all in one unit.
    images
        ``(n,)`` number of the image of each particle, 0..n_images - 1.
    n_images
        Number of images, those without particles included.
    weights
        ``(n,)`` number of particles that each one stands for: 1, or the edge correction of
        :func:`lisa_micro.measure.statistics.edge_weights`. ``None``: 1.

    Raises
    ------
    InputError
        Arrays of different lengths, sizes that are not positive, or negative weights.
    """

    sizes: np.ndarray
    images: np.ndarray
    n_images: int
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes, images = np.asarray(self.sizes, float), np.asarray(self.images, int)
        weights = np.ones(len(sizes)) if self.weights is None else np.asarray(self.weights, float)
        if not len(sizes) == len(images) == len(weights):
            raise InputError("Sizes, images and weights must have the same length.")
        if not (np.isfinite(sizes).all() and (sizes > 0).all()):
            raise InputError("Sizes must be positive numbers.")
        if (weights < 0).any() or not np.isfinite(weights).all():
            raise InputError("Weights must not be negative.")
        if len(images) and (images.min() < 0 or images.max() >= self.n_images):
            raise InputError(f"Numbers of images must lie between 0 and {self.n_images - 1}.")
        kept = weights > 0
        order = np.argsort(sizes[kept], kind="stable")
        for name, values in (("sizes", sizes), ("images", images), ("weights", weights)):
            object.__setattr__(self, name, values[kept][order])

    def __len__(self) -> int:
        """Number of particles with a weight."""
        return len(self.sizes)

    def weighted(self, basis: Basis) -> np.ndarray:
        """``(n,)`` weights of a basis, in the order of :attr:`sizes`, which is ascending."""
        assert self.weights is not None
        return self.weights * self.sizes ** POWERS[basis]

    def per_image(self, values: np.ndarray) -> np.ndarray:
        """``(n_images,)`` sums of ``(n,)`` values over the particles of each image."""
        return np.bincount(self.images, values, self.n_images)

    def image_medians(self) -> np.ndarray:
        """``(n_images,)`` median size of each image by number, NaN for an image without particles."""
        assert self.weights is not None
        medians = np.full(self.n_images, np.nan)
        order = np.argsort(self.images, kind="stable")  # sizes stay ascending within an image
        for part in np.split(order, np.flatnonzero(np.diff(self.images[order])) + 1):
            if len(part):
                medians[self.images[part[0]]] = quantiles(self.sizes[part], self.weights[part], [0.5])[0]
        return medians


def quantiles(sizes: np.ndarray, weights: np.ndarray, shares: list[float] | np.ndarray) -> np.ndarray:
    """Sizes below which the given shares of the weight lie; the module has the definition.

    Parameters
    ----------
    sizes
        ``(n,)``, ascending.
    weights
        ``(n,)``; particles of weight 0 do not count.
    shares
        ``(k,)``, 0..1.

    Returns
    -------
    numpy.ndarray
        ``(k,)``; NaN without particles.

    Examples
    --------
    >>> quantiles(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4), [0.5])
    array([2.5])
    """
    total = weights.sum() if len(weights) else 0.0
    if total <= 0:
        return np.full(len(shares), np.nan)
    if (weights == 0).any():
        sizes, weights = sizes[weights > 0], weights[weights > 0]
    middle = (np.cumsum(weights) - weights / 2) / total
    return np.interp(np.asarray(shares, float), middle, sizes)


def cumulative(sample: Sample, basis: Basis, points: np.ndarray) -> np.ndarray:
    """Share of the number, area or volume of all particles that lies at or below each of ``(k,)`` sizes."""
    weights = sample.weighted(basis)
    steps = np.concatenate([[0.0], np.cumsum(weights)])
    if steps[-1] <= 0:
        return np.full(len(points), np.nan)
    return steps[np.searchsorted(sample.sizes, points, side="right")] / steps[-1]


def density(sample: Sample, basis: Basis, edges: np.ndarray) -> np.ndarray:
    """Share of the number, area or volume in each of ``(k,)`` classes with ``(k + 1,)`` edges; the sum is 1.

    Sizes beyond the edges are counted in the outer classes.
    """
    counts = np.histogram(np.clip(sample.sizes, edges[0], edges[-1]), edges, weights=sample.weighted(basis))[0]
    return counts / counts.sum() if counts.sum() > 0 else np.zeros(len(counts))


def class_edges(sizes: np.ndarray, most: int = 40) -> np.ndarray:
    """Edges of classes of equal width on a logarithmic axis, by the rule of Freedman and Diaconis, 8 to ``most``."""
    logs = np.log(sizes)
    low, high = float(logs.min()), float(logs.max())
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    q25, q75 = np.percentile(logs, [25, 75])
    width = 2 * (q75 - q25) / len(logs) ** (1 / 3)
    number = int(np.clip(np.ceil((high - low) / width), 8, most)) if width > 0 else 8
    return np.exp(np.linspace(low, high, number + 1))
