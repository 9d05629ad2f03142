"""Standard errors of measured sizes: a model's own error, and the scatter of the instances.

The relative error of the size of instance i in micrograph j is e_ij = b + u_j + w_ij. The *bias* b is common to all
micrographs, u_j with standard deviation s_u to all instances of one micrograph (its contrast, focus, noise), and w_ij
with standard deviation s_w is that of the instance alone. b, s_u and s_w depend on the size of the instance in pixels.
They are estimated where sizes are known exactly, in simulated micrographs (one-way random effects, method of moments:
Searle, Casella and McCulloch, Variance Components (1992), 3.6).

The standard error of the mean of n sizes d_i is the root of the sum of squares of three parts:

- mean of b_i d_i: results are not corrected for the bias, so it is a part of the error;
- mean of s_u,i d_i: it does not become smaller with more instances;
- s / sqrt(n), with s the standard deviation of the measured sizes, which holds both the scatter of the true sizes and
  w. Of particular instances, such as a single one, there is no scatter to be estimated; the part is
  sqrt(sum of (s_w,i d_i)^2) / n then, and never less.

The number of instances N has the standard error sqrt((b N)^2 + v N), with the relative bias b of numbers and the
dispersion v, the mean of (found - (1 + b) true)^2 / true: 0 if all are found, 1 for a Poisson variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

BEYOND = 0.1
"""Share of instances that may lie outside the range of sizes of a curve; they take the error of its end."""


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """Relative error of one property against the size of the instance; the module has the definitions.

    Attributes
    ----------
    sizes
        ``(k,)`` px, positive, ascending.
    bias, between, within
        ``(k,)``: b, s_u and s_w, relative to the value.
    """

    sizes: np.ndarray
    bias: np.ndarray
    between: np.ndarray
    within: np.ndarray

    def standard_error(self, values: np.ndarray, sizes: np.ndarray, sample: bool = True) -> float | None:
        """Standard error of the mean of measured values.

        Parameters
        ----------
        values
            ``(n,)`` finite, in any unit.
        sizes
            ``(n,)`` px, of the same instances.
        sample
            Whether the instances are a sample of others alike, so that the scatter of their values counts.

        Returns
        -------
        float or None
            In the unit of the values; ``None`` without values, or if more than :data:`BEYOND` of the sizes lie outside
            the range of the curve.

        Examples
        --------
        >>> curve = ErrorCurve(*(np.array(v) for v in ([10, 100], [0.03, 0.03], [0.04, 0.04], [0.12, 0.12])))
        >>> one = np.array([20.0])
        >>> round(curve.standard_error(one, one), 2), curve.standard_error(one, np.array([5.0]))
        (2.6, None)
        """
        n = len(values)
        if n == 0 or not _covers(self.sizes, sizes):
            return None
        bias, between, within = (_at(self.sizes, curve, sizes) for curve in (self.bias, self.between, self.within))
        own = float(np.sqrt(np.sum((within * values) ** 2))) / n
        if sample and n > 1:
            own = max(own, float(np.std(values, ddof=1)) / np.sqrt(n))
        return float(np.sqrt(np.mean(bias * values) ** 2 + np.mean(between * values) ** 2 + own**2))


@dataclass(frozen=True, eq=False)
class CountError:
    """Error of the number of instances against their mean size; the module has the definitions.

    Attributes
    ----------
    sizes
        ``(k,)`` px, positive, ascending.
    bias, dispersion
        ``(k,)``: b and v.
    """

    sizes: np.ndarray
    bias: np.ndarray
    dispersion: np.ndarray

    def standard_error(self, sizes: np.ndarray) -> float | None:
        """Standard error of the number of instances with ``(n,)`` sizes in px; ``None`` as for an error curve."""
        n = len(sizes)
        if n == 0 or not _covers(self.sizes, sizes):
            return None
        bias, dispersion = (float(np.mean(_at(self.sizes, c, sizes))) for c in (self.bias, self.dispersion))
        return float(np.sqrt((bias * n) ** 2 + dispersion * n))


@dataclass(frozen=True, eq=False)
class MeasuringError:
    """What is known of a model's error in measuring the instances of one concept.

    Attributes
    ----------
    size
        Column by which errors are looked up.
    properties
        Column -> its curve; the error of the other columns is not known.
    count
        Of the number of instances; ``None``: not known.
    scale
        Pixels of the curves per pixel of the micrograph: below 1 where the model saw it scaled down.
    """

    size: str
    properties: Mapping[str, ErrorCurve] = field(default_factory=dict)
    count: CountError | None = None
    scale: float = 1.0

    def scaled(self, scale: float) -> MeasuringError:
        """The same for a micrograph that the model saw at ``scale``. One that was scaled up has no finer pixels."""
        return replace(self, scale=min(scale, 1.0))


def error_components(errors: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Bias, and standard deviations between and within groups, of relative errors.

    Parameters
    ----------
    errors
        ``(n,)`` measured / true - 1.
    groups
        ``(n,)`` number of the micrograph of each.

    Returns
    -------
    bias, between, within
        The mean, and the roots of the variance components by the method of moments (a negative one counts as 0); the
        standard deviations are NaN where there is one group only, or no group with two members.

    Examples
    --------
    >>> error_components(np.array([0.1, 0.3, 0.5, 0.7]), np.array([1, 1, 2, 2]))
    (0.4, 0.26..., 0.14...)
    """
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n, k = len(errors), len(sizes)
    bias = float(np.mean(errors)) if n else float("nan")
    if k < 2 or n == k:
        return bias, float("nan"), float("nan")
    means = np.bincount(index, errors) / sizes
    within = float(np.sum((errors - means[index]) ** 2)) / (n - k)
    mean_square = float(np.sum(sizes * (means - bias) ** 2)) / (k - 1)
    typical = (n - float(np.sum(sizes.astype(float) ** 2)) / n) / (k - 1)  # instances of a group, for uneven groups
    return bias, float(np.sqrt(max((mean_square - within) / typical, 0.0))), float(np.sqrt(within))


def _covers(known: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether almost all sizes, in px of the curve, lie in its range."""
    outside = (sizes < known[0]) | (sizes > known[-1])
    return float(np.mean(outside)) <= BEYOND


def _at(known: np.ndarray, curve: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A curve at some sizes, linear in the logarithm of the size, constant beyond its ends."""
    return np.interp(np.log(np.maximum(sizes, 1e-9)), np.log(known), curve)
