"""Necks between two spheres: the filleted union, its chord, and which spheres are in contact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.shapes import Body

CONTACT_GAP_PX = 4.5
"""Spheres of one sintering scene closer than this are joined by a neck. Labels at most 2 px apart count as in
contact; the simulator leaves no pair between 2 px and this, so that contact is never a matter of rounding."""


@dataclass(frozen=True)
class Bond:
    """A neck between discs ``i`` and ``j`` (indices into the bodies).

    Attributes:
        x: half the chord in px.
        u: where the chord crosses the line of centres, px from the centre of ``i``.
        rho: radius of the fillet in px, 0 where the discs overlap so far that no fillet is needed.
    """

    i: int
    j: int
    x: float
    u: float
    rho: float


def solve_neck(r1: float, r2: float, d: float, x: float) -> tuple[float, float, float]:
    """Fillet of a neck with half-chord ``x`` between circles ``r1`` and ``r2`` at centre distance ``d`` (px).

    A circle of radius rho that touches both circles from outside has its centre at ``u`` along the line of
    centres and at height ``v`` above it, with u = (d^2 + (r1 + rho)^2 - (r2 + rho)^2) / (2 d) and v^2 = (r1 +
    rho)^2 - u^2. The narrowest section of the union is at ``u`` and its half-width is v - rho = x, which is
    quadratic in rho. For equal spheres in point contact this is the classic rho = x^2 / (2 (R - x))
    (two-sphere model, Kuczynski 1949).

    Returns:
        ``(x, u, rho)``. ``x`` is raised to the half-chord of the circles' own intersection where that is
        larger, and lowered to the largest half-chord that a fillet can give where it is too large.

    Raises:
        ValueError: where radii or distance are not positive.
    """
    if min(r1, r2, d) <= 0:
        raise ValueError("radii and centre distance must be positive")
    at = (d * d + r1 * r1 - r2 * r2) / (2 * d)
    lens2 = r1 * r1 - at * at  # negative where the circles are apart
    if lens2 > 0 and x * x <= lens2:
        return float(np.sqrt(lens2)), float(at), 0.0
    slope = (r1 - r2) / d
    limit = min(r1, r2)
    x = min(x, 0.97 * limit)
    while True:
        b = 2 * (x - r1 + at * slope)
        c = x * x - lens2
        root = b * b - 4 * slope * slope * c
        if b < 0 and root >= 0:
            rho = 2 * c / (-b + np.sqrt(root))
            if rho < 20 * limit:
                return float(x), float(at + slope * rho), float(rho)
        x *= 0.96
        if lens2 > 0 and x * x <= lens2:
            return float(np.sqrt(lens2)), float(at), 0.0
        if x < 1e-3 * limit:
            raise ValueError(f"circles {r1:g} and {r2:g} at distance {d:g} cannot be bridged")


def centre_distance(r1: float, r2: float, x: float, shrink: float) -> float:
    """Distance of the centres in px after sintering to half-chord ``x``.

    Each sphere gives way by ``shrink * x^2 / (4 r)``: shrink = 1 is densifying sintering, dL/L0 = x^2 / (4
    R^2) for equal spheres (Kingery and Berg 1955), shrink = 0 a mechanism that does not densify (surface
    diffusion, evaporation-condensation).
    """
    return r1 + r2 - shrink * x * x * (0.25 / r1 + 0.25 / r2)


def find_bonds(
    bodies: list[Body], ratio: np.ndarray | float, rng: np.random.Generator | None = None, spread: float = 0.0
) -> list[Bond]:
    """Necks for all discs closer than :data:`CONTACT_GAP_PX`.

    Args:
        bodies: discs.
        ratio: x/R, with R the smaller radius of a pair.
        rng, spread: log-normal spread of the ratio from neck to neck (none without ``rng``).
    """
    if len(bodies) < 2:
        return []
    xy = np.array([(b.x, b.y) for b in bodies])
    r = np.array([b.a for b in bodies])
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    near = np.triu(distance - r[:, None] - r[None] < CONTACT_GAP_PX, 1)
    bonds = []
    for i, j in np.argwhere(near):
        factor = float(np.exp(rng.normal(0, spread))) if rng is not None and spread > 0 else 1.0
        smaller = min(r[i], r[j])
        wanted = float(np.clip(factor * ratio, 0.05, 0.9)) * smaller
        x, u, rho = solve_neck(r[i], r[j], float(distance[i, j]), max(wanted, min(2.0, 0.7 * smaller)))
        bonds.append(Bond(int(i), int(j), x, u, rho))
    return bonds


def chord(bonds_of: list[Body], bond: Bond) -> np.ndarray:
    """``(2, 2)`` float64: the two ends x, y of the chord of a bond."""
    one, other = bonds_of[bond.i], bonds_of[bond.j]
    axis = np.array([other.x - one.x, other.y - one.y])
    axis /= np.hypot(*axis)
    middle = np.array([one.x, one.y]) + bond.u * axis
    normal = np.array([-axis[1], axis[0]])
    return np.stack([middle + bond.x * normal, middle - bond.x * normal])


def components(n: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """``(n,)`` int: connected component of each of ``n`` particles under the contacts ``pairs`` (0-based)."""
    root = list(range(n))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, j in pairs:
        root[find(i)] = find(j)
    return np.array([find(i) for i in range(n)], dtype=np.int64)
