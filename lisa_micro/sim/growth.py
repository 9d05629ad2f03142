"""How necks grow: the two-sphere law, and what happens to the shape after two particles have become one.

The law is (x / R)^n = B t / R^m with x the neck's half-chord, R the mean radius of the two particles, t the
time since contact, and B a constant of material and temperature. Exponents as tabulated for the initial stage
of two-sphere sintering (Frenkel 1945 for viscous flow; Kuczynski 1949, Kingery and Berg 1955, Coble 1961;
collected in German 1996). They are what the simulator uses; that a fit gives one of them back does not prove
a mechanism.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError

MAX_RATIO = 0.9
"""Largest x / R that is drawn: beyond it the two-sphere picture has lost its meaning."""


@dataclass(frozen=True)
class Mechanism:
    """Exponents of one transport path; ``densifies``: whether the centres approach while the neck grows."""

    name: str
    n: float
    m: float
    densifies: bool


MECHANISMS: dict[str, Mechanism] = {
    row.name: row
    for row in (
        Mechanism("viscous flow", 2, 1, True),
        Mechanism("evaporation-condensation", 3, 2, False),
        Mechanism("lattice diffusion", 5, 3, True),
        Mechanism("grain-boundary diffusion", 6, 4, True),
        Mechanism("surface diffusion", 7, 4, False),
    )
}


def mechanism_named(name: str) -> Mechanism:
    """The mechanism of that name.

    Raises:
        InputError: where there is none.
    """
    if name not in MECHANISMS:
        raise InputError(f"no mechanism {name!r}; choose one of {', '.join(MECHANISMS)}")
    return MECHANISMS[name]


def neck_ratio(
    time_s: np.ndarray | float, radius_nm: float, B: float, mechanism: str, limit: float = MAX_RATIO
) -> np.ndarray:
    """x / R after ``time_s`` of contact.

    Args:
        time_s: seconds since contact, any shape; before contact (negative) the ratio is 0.
        radius_nm: mean radius of the two particles in nm.
        B: nm^m / s, m as in the mechanism.
        mechanism: a key of :data:`MECHANISMS`.
        limit: the ratio is clipped to 0..limit.

    Returns:
        float64, shape of ``time_s``.

    Raises:
        InputError: for an unknown mechanism, or radius or B that are not positive.
    """
    law = mechanism_named(mechanism)
    if not (radius_nm > 0 and B > 0):
        raise InputError("radius and B must be positive")
    ratio = (B * np.maximum(np.asarray(time_s, dtype=np.float64), 0) / radius_nm**law.m) ** (1 / law.n)
    return np.minimum(ratio, limit)


def time_to_ratio(ratio: float, radius_nm: float, B: float, mechanism: str) -> float:
    """Seconds of contact until x / R is ``ratio``: the law solved for t."""
    law = mechanism_named(mechanism)
    return float(ratio**law.n * radius_nm**law.m / B)


def growth_constant(ratio: float, time_s: float, radius_nm: float, mechanism: str) -> float:
    """B in nm^m / s with which x / R is ``ratio`` after ``time_s``.

    Raises:
        InputError: where a value is not positive or the mechanism is unknown.
    """
    law = mechanism_named(mechanism)
    if not (ratio > 0 and time_s > 0 and radius_nm > 0):
        raise InputError("ratio, time and radius must be positive")
    return float(ratio**law.n * radius_nm**law.m / time_s)


def merged_radius(r1: float, r2: float) -> float:
    """Radius of the sphere that holds the volume of two spheres."""
    return float(np.cbrt(r1**3 + r2**3))


def relaxing_axes(long0: float, radius: float, time_s: float, tau_s: float) -> tuple[float, float]:
    """Half axes of two coalesced particles on their way to a sphere.

    The long half axis relaxes as da/dt = -(a - a_s) / tau (Koch and Friedlander 1990, who write it for the
    surface area),
    and the prolate spheroid keeps its volume: a b^2 = radius^3.

    Args:
        long0: long half axis at the start, at least ``radius``.
        radius: of the final sphere, same unit.
        time_s, tau_s: time since the start and relaxation time.

    Returns:
        ``(a, b)``, ``a >= b``.
    """
    a = radius + max(long0 - radius, 0.0) * float(np.exp(-time_s / tau_s))
    return a, float(np.sqrt(radius**3 / a))
