"""How many particles, and how many images, are enough.

For a lognormal distribution with geometric standard deviation exp(sigma), a mean or median size that is computed as
exp(mu + c sigma^2) from n independent particles has the relative standard error sigma sqrt((1 + 2 c^2 sigma^2) / n)
(delta method). An interval of +- tolerance at 95 % therefore needs n = (1.96 sigma / tolerance)^2 (1 + 2 c^2 sigma^2)
particles (Masuda and Gotoh, Adv. Powder Technol. 10 (1999) 159; the approach of ISO 13322-1, annex A). c is 0 for the
median by number, 2 for the median by area and 3 for that by volume.

Particles of one image are not independent. How many images are enough therefore follows from the interval that was
found: its width falls with the square root of their number.
"""

from __future__ import annotations

import math

import numpy as np

from lisa_micro.measure.statistics.bootstrap import Estimate
from lisa_micro.measure.statistics.samples import POWERS, Basis
from lisa_micro.types import InputError

TOLERANCE = 0.05
"""Half width of the interval of D50 relative to its value that counts as enough."""
_Z = 1.959964


def particles_needed(gsd: float, basis: Basis = "number", tolerance: float = TOLERANCE) -> int:
    """Number of independent particles for a median size within +- ``tolerance`` at 95 %.

    Parameters
    ----------
    gsd
        Geometric standard deviation of the sizes, at least 1.
    basis
        Of the median.
    tolerance
        Relative, such as 0.05.

    Raises
    ------
    InputError
        A geometric standard deviation below 1, or a tolerance that is not positive.

    Examples
    --------
    >>> particles_needed(1.6), particles_needed(1.6, "volume")
    (340, 1690)
    """
    if not gsd >= 1:
        raise InputError(f"The geometric standard deviation must be at least 1, not {gsd}.")
    if not tolerance > 0:
        raise InputError(f"The tolerance must be positive, not {tolerance}.")
    sigma2 = math.log(gsd) ** 2
    return max(2, math.ceil((_Z / tolerance) ** 2 * sigma2 * (1 + 2 * POWERS[basis] ** 2 * sigma2)))


def images_needed(found: Estimate, images: int, tolerance: float = TOLERANCE) -> int | None:
    """Number of images like these for an interval of +- ``tolerance``; ``None`` where it cannot be told.

    Parameters
    ----------
    found
        The value with its interval.
    images
        Number of images that gave it.
    tolerance
        Relative half width.

    Examples
    --------
    >>> images_needed(Estimate(20.0, 18.0, 22.0), 10)
    40
    """
    width = found.relative_half_width
    if images < 2 or not np.isfinite(width) or width <= 0:
        return None
    return max(2, math.ceil(images * (width / tolerance) ** 2 - 1e-9))
