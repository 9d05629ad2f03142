"""Simulated volumes with exact truth: spheres, single, in contact and sintered, seen slice by slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.types import InputError

_TRIES = 400


@dataclass(frozen=True, eq=False)
class SimulatedVolume:
    """A stack of slices and what is in it. Lengths are in px; a slice is ``step`` px thick.

    Attributes:
        pixels: ``(Z, H, W)`` float32, 0..1.
        particles: ``(Z, H, W)`` int32, sphere k where the value is k. Spheres that overlap are divided by the plane of
            their common circle.
        necks: ``(Z, H, W)`` int32: voxels of two sintered spheres within half the neck radius of that plane and within
            the neck radius of its axis.
        spheres: ``(n, 4)`` x, y, z (px) and radius of sphere k in row k - 1.
        volumes: ``(n,)`` px3 of each sphere as a body: without the cap that its neighbour has.
        inside: ``(n,)`` bool: the sphere lies within the volume whole.
        neck_radii: ``(m,)`` px, of neck k in row k - 1.
        pixel_size_nm, step_nm: edge length of a pixel, distance of slices.
    """

    pixels: np.ndarray
    particles: np.ndarray
    necks: np.ndarray
    spheres: np.ndarray
    volumes: np.ndarray
    inside: np.ndarray
    neck_radii: np.ndarray
    pixel_size_nm: float
    step_nm: float


def simulate_volume(
    seed: int,
    shape: tuple[int, int, int] = (64, 256, 256),
    spheres: int = 30,
    radii: tuple[float, float] = (7.0, 16.0),
    sintered: float = 0.4,
    pixel_size_nm: float = 1.0,
    step_nm: float = 1.0,
    noise: float = 0.08,
) -> SimulatedVolume:
    """Spheres at random places that do not overlap, but for sintered pairs.

    Args:
        seed: the same seed and arguments give the same volume.
        shape: number of slices, H, W.
        spheres: how many, sintered ones included.
        radii: smallest and largest radius, px.
        sintered: share of the spheres that have a sintered neighbour, in any direction, 0..1.
        pixel_size_nm, step_nm: edge length of a pixel, distance of slices.
        noise: standard deviation of the noise; the contrast between particle and matrix is 0.45.

    Raises:
        InputError: arguments that cannot be, or more spheres than find room.
    """
    if min(shape) < 2 or spheres < 0 or not 0 < radii[0] <= radii[1] or not 0 <= sintered <= 1:
        raise InputError("A volume needs sizes of 2 or more, a count from 0, radii above 0 and a share from 0 to 1.")
    if not pixel_size_nm > 0 or not step_nm > 0:
        raise InputError("The pixel size and the distance of slices must be positive.")
    rng = np.random.default_rng(seed)
    step = step_nm / pixel_size_nm
    placed, bonds = _placed(rng, shape, spheres, radii, sintered, step)
    particles = np.zeros(shape, np.int32)
    best = np.full(shape, np.inf, np.float32)
    for k, (x, y, z, r) in enumerate(placed, 1):
        window, (dz, dy, dx) = _window(shape, x, y, z, r, step)
        power = (dx**2 + dy**2 + dz**2 - r**2).astype(np.float32)
        mine = (power <= 0) & (power < best[window])
        particles[window][mine] = k
        best[window][mine] = power[mine]
    necks = np.zeros(shape, np.int32)
    volumes = 4 / 3 * np.pi * placed[:, 3] ** 3
    neck_radii = []
    for number, (a, b) in enumerate(bonds, 1):
        ra, rb, centre, axis, d = placed[a, 3], placed[b, 3], placed[a, :3], placed[b, :3] - placed[a, :3], 0.0
        d = float(np.linalg.norm(axis))
        axis = axis / d
        along = (d**2 + ra**2 - rb**2) / (2 * d)
        radius = float(np.sqrt(max(ra**2 - along**2, 0)))
        neck_radii.append(radius)
        volumes[a] -= _cap(ra, ra - along)
        volumes[b] -= _cap(rb, rb - (d - along))
        x, y, z = centre + axis * along
        window, (dz, dy, dx) = _window(shape, x, y, z, 1.2 * radius, step)
        height = dx * axis[0] + dy * axis[1] + dz * axis[2]
        beside = np.sqrt(np.maximum(dx**2 + dy**2 + dz**2 - height**2, 0))
        near = (np.abs(height) <= radius / 2) & (beside <= radius) & np.isin(particles[window], (a + 1, b + 1))
        necks[window][near] = number
    low = placed[:, :3] - placed[:, 3:]
    high = placed[:, :3] + placed[:, 3:]
    last = np.array([shape[2] - 1, shape[1] - 1, (shape[0] - 1) * step])
    inside = (low >= 0).all(axis=1) & (high <= last).all(axis=1)
    return SimulatedVolume(
        _rendered(rng, best, noise),
        particles,
        necks,
        placed,
        volumes,
        inside,
        np.array(neck_radii),
        pixel_size_nm,
        step_nm,
    )


def _placed(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    count: int,
    radii: tuple[float, float],
    sintered: float,
    step: float,
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Spheres ``(n, 4)`` and the pairs that are sintered."""
    found: list[np.ndarray] = []
    bonds: list[tuple[int, int]] = []
    size = np.array([shape[2], shape[1], shape[0] * step])
    pairs = int(round(sintered * count / 2))
    while len(found) < count:
        pair = len(bonds) < pairs and len(found) + 2 <= count
        for _ in range(_TRIES):
            r = rng.uniform(*radii, 2)
            one = np.r_[rng.uniform(r[0], np.maximum(size - r[0], r[0] + 1e-6)), r[0]]
            new = [one]
            if pair:
                axis = rng.normal(size=3)
                x = rng.uniform(0.3, 0.75) * r.min()  # neck radius
                apart = np.sqrt(r[0] ** 2 - x**2) + np.sqrt(r[1] ** 2 - x**2)
                new.append(np.r_[one[:3] + axis / np.linalg.norm(axis) * apart, r[1]])
            clear = all(
                np.linalg.norm(other[:3] - this[:3]) > other[3] + this[3] + 0.5 for this in new for other in found
            )
            fits = all((this[:3] >= this[3]).all() and (this[:3] <= size - this[3]).all() for this in new)
            if clear and fits:
                if pair:
                    bonds.append((len(found), len(found) + 1))
                found += new
                break
        else:
            raise InputError(f"Only {len(found)} of {count} spheres find room; ask for fewer or smaller ones.")
    return np.array(found).reshape(-1, 4), bonds


def _window(
    shape: tuple[int, int, int], x: float, y: float, z: float, reach: float, step: float
) -> tuple[tuple[slice, slice, slice], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The voxels around a place, and their distances from it along z, y and x in px."""
    window, apart = [], []
    for axis, (centre, side, scale) in enumerate(zip((z, y, x), shape, (step, 1.0, 1.0), strict=True)):
        low = int(np.clip(np.floor((centre - reach) / scale), 0, side))
        high = int(np.clip(np.ceil((centre + reach) / scale) + 1, low, side))
        window.append(slice(low, high))
        distance = np.arange(low, high) * scale - centre
        apart.append(distance.reshape([-1 if k == axis else 1 for k in range(3)]))
    return (window[0], window[1], window[2]), (apart[0], apart[1], apart[2])


def _cap(radius: float, height: float) -> float:
    """Volume of a spherical cap."""
    return float(np.pi * height**2 * (3 * radius - height) / 3)


def _rendered(rng: np.random.Generator, power: np.ndarray, noise: float) -> np.ndarray:
    """Bright particles in a dark matrix, as in slices of a focused ion beam: blurred, with texture and noise."""
    from scipy import ndimage

    pixels = np.empty(power.shape, np.float32)
    for k, one in enumerate(power):
        bright = ndimage.gaussian_filter((one <= 0).astype(np.float32), 0.8)
        texture = ndimage.gaussian_filter(rng.normal(0, 1, one.shape), 12) * 0.35
        pixels[k] = 0.25 + 0.45 * bright + texture + rng.normal(0, noise, one.shape)
    return np.clip(pixels, 0, 1)
