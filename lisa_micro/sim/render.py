"""From geometry to a micrograph: bright-field TEM, HAADF-STEM, SEM.

The renderers are not simulations of electron scattering. They reproduce what decides segmentation: which side
is bright, how soft and how doubled the edge is, what texture and noise lie over it, and what varies from
particle to particle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from lisa_micro.sim.raster import Maps
from lisa_micro.sim.texture import (
    blur,
    frequencies,
    jitter_rows,
    rough_noise,
    smooth_noise,
    through_lens,
    trail,
    unit_plane,
)
from lisa_micro.types import InputError

MODALITIES = ("BF-TEM", "HAADF-STEM", "SEM")


def render(
    maps: Maps,
    radius: float,
    modality: str,
    rng: np.random.Generator,
    noise: float | None = None,
    fresh: np.random.Generator | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """An image of the maps.

    Args:
        maps: geometry, ``(H, W)`` each.
        radius: typical particle radius in px; contrast and textures scale with it.
        modality: one of :data:`MODALITIES`.
        rng: all choices come from it.
        noise: factor on the detector noise, 1 where ``None``.
        fresh: what differs between two frames of one video (noise, scan jitter) comes from it; from ``rng``
            where ``None``. With the same ``rng`` seed and labels that are identities, the film and each
            particle's contrast stay the same from frame to frame.

    Returns:
        ``(pixels, settings)``: ``(H, W)`` float32 in 0..1, and what was drawn.

    Raises:
        InputError: for a modality that does not exist.
    """
    if modality not in RENDERERS:
        raise InputError(f"no modality {modality!r}; choose one of {', '.join(MODALITIES)}")
    fresh = rng if fresh is None else fresh
    image, settings = RENDERERS[modality](maps, max(radius, 3.0), rng, fresh)
    return _detector(image, rng, fresh, settings, 1.0 if noise is None else noise), settings


def _per_particle(rng: np.random.Generator, labels: np.ndarray, spread: float, strong: float = 0.0) -> np.ndarray:
    """``(H, W)`` float32 factor constant over each particle: log-normal, and a share ``strong`` of particles
    near a zone axis half as strong again or more."""
    # a stream for each quantity: particle k has the same contrast however many others there are
    streams = [np.random.default_rng(int(rng.integers(2**62))) for _ in range(3)]
    n = int(labels.max(initial=0)) + 1
    strength = np.where(streams[1].random(n) < strong, streams[2].uniform(1.3, 2.2, n), 1)
    factor = np.exp(streams[0].normal(0, spread, n)) * strength
    factor[0] = 1
    return factor.astype(np.float32)[labels]


def _bf_tem(
    maps: Maps, radius: float, rng: np.random.Generator, fresh: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    shape = maps.labels.shape
    stained = rng.random() < 0.05
    settings: dict[str, Any] = {
        "background": rng.uniform(0.5, 0.9),
        "density": float(np.exp(rng.uniform(np.log(0.25), np.log(2.5)))),
        "support": rng.uniform(0.0, 0.09) if rng.random() < 0.75 else rng.uniform(0, 0.015),
        "defocus_zero": float(np.exp(rng.uniform(np.log(0.05), np.log(0.35)))),
        "phase": rng.uniform(0, 0.5) if rng.random() < 0.7 else 0.0,
        "stained": stained,
    }
    if rng.random() < 0.3:
        # thin particles on a thick film at high magnification, as in heating experiments: the grain of the
        # film is as strong as the particles' contrast
        settings.update(
            background=rng.uniform(0.4, 0.65),
            density=float(rng.uniform(0.2, 0.6)),
            support=rng.uniform(0.06, 0.14),
            defocus_zero=float(rng.uniform(0.12, 0.25)),
            phase=rng.uniform(0.1, 0.5),
        )
    thickness = maps.projected / np.float32(radius)
    # thin edges absorb more than in proportion where particles are faceted or the beam is coherent
    absorbed = thickness ** np.float32(rng.uniform(0.45, 1.0))
    absorbed *= _per_particle(rng, maps.labels, rng.uniform(0.02, 0.3), rng.uniform(0, 0.25))
    if rng.random() < 0.35:
        absorbed *= 1 + np.float32(rng.uniform(0.05, 0.25)) * smooth_noise(rng, shape, max(2.5, 0.35 * radius))
    absorbed = np.maximum(absorbed, 0)
    if rng.random() < 0.3:
        _lattice(rng, maps.labels, absorbed)
    absorbed = blur(absorbed, rng.uniform(0.3, 1.0))
    background = np.ones(shape, np.float32)
    if rng.random() < 0.12:
        background *= _holes(rng, shape)
    if rng.random() < 0.3:
        background *= 1 + np.float32(rng.uniform(0.01, 0.06)) * smooth_noise(rng, shape, rng.uniform(15, 90))
    if stained:  # negative stain: bright particles in a dark pool
        pool = blur(maps.edge, max(2.0, 0.3 * radius))
        settings["background"] = rng.uniform(0.3, 0.5)
        image = background * (1 - 0.5 * pool) * (1 + 1.6 * np.minimum(absorbed, 1) * maps.edge)
    else:
        image = background * np.exp(-np.float32(settings["density"]) * absorbed)
    # phase contrast: support and edges pass a weak-phase transfer function, which grains the film and fringes
    # edges
    f2 = frequencies(shape)
    zero2 = np.float32(settings["defocus_zero"] ** 2)
    transfer = np.sin(np.pi * f2 / zero2) * np.exp(-f2 / (zero2 * np.float32(rng.uniform(0.7, 3.0))))
    grain = rng.standard_normal(shape, dtype=np.float32) * np.float32(5 * settings["support"])
    phase = grain * (1 + 0.3 * maps.edge) + np.float32(settings["phase"]) * np.minimum(thickness, 2)
    sign = 1 if rng.random() < 0.75 else -1
    image = image - sign * through_lens(phase, transfer) * (0.35 + 0.65 * image)
    return np.float32(settings["background"]) * image, settings


def _lattice(rng: np.random.Generator, labels: np.ndarray, absorbed: np.ndarray) -> None:
    """Lattice fringes, twins or bend contours in some particles, in place."""
    key, share = int(rng.integers(2**62)), rng.uniform(0.05, 0.5)
    for k, window in enumerate(ndimage.find_objects(labels), start=1):
        one = np.random.default_rng([key, k])
        if window is None or one.random() > share:
            continue
        row, column = np.ogrid[window]
        angle, coarse = one.uniform(0, np.pi), one.random() < 0.3
        wavelength = one.uniform(9, 40) if coarse else one.uniform(2.5, 7)
        wave = np.cos(2 * np.pi * (np.cos(angle) * column + np.sin(angle) * row) / wavelength)
        if one.random() < 0.3:
            wave = np.sign(wave)
        wave = 1 + one.uniform(0.05, 0.35) * wave * (labels[window] == k)
        absorbed[window] *= wave.astype(np.float32)


def _holes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Transmission of a holey or folded support: patches that are a little brighter, with soft edges."""
    level = rough_noise(rng, shape, rng.uniform(0.2, 0.6) * max(shape), 2)
    if rng.random() < 0.5:
        row, column = np.ogrid[: shape[0], : shape[1]]
        pitch = rng.uniform(0.5, 1.2) * max(shape)
        y, x = (row - rng.uniform(0, pitch)) / pitch, (column - rng.uniform(0, pitch)) / pitch
        level = 0.35 - np.hypot(x - np.rint(x), y - np.rint(y)).astype(np.float32)
    return 1 - np.float32(rng.uniform(0.04, 0.2)) / (1 + np.exp(np.clip(level * rng.uniform(8, 60), -30, 30)))


def _haadf(
    maps: Maps, radius: float, rng: np.random.Generator, fresh: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    shape = maps.labels.shape
    settings: dict[str, Any] = {
        "background": rng.uniform(0.03, 0.3),
        "gain": rng.uniform(0.25, 0.9),
        "jitter": rng.uniform(0, 0.5) if rng.random() < 0.5 else 0.0,
    }
    thickness = maps.projected / np.float32(radius)
    signal = thickness ** np.float32(rng.uniform(0.5, 1.15))
    signal *= _per_particle(rng, maps.labels, rng.uniform(0.02, 0.3))
    if rng.random() < 0.3:
        signal *= 1 + np.float32(rng.uniform(0.03, 0.2)) * smooth_noise(rng, shape, max(2.5, 0.3 * radius))
    signal = blur(signal, rng.uniform(0.4, 1.8))
    if rng.random() < 0.3:  # probe tails, and what contamination leaves around particles
        signal = signal + np.float32(rng.uniform(0.03, 0.15)) * blur(signal, rng.uniform(3, 12))
    support = 1 + np.float32(rng.uniform(0.02, 0.2)) * rough_noise(rng, shape, rng.uniform(4, 60), 3)
    if rng.random() < 0.15:
        support *= 2 - _holes(rng, shape) * np.float32(1.0)
    image = np.float32(settings["background"]) * support + np.float32(settings["gain"]) * signal
    # saturation of the detector at thick places
    image = np.tanh(image * np.float32(1.1)) / np.float32(1.1)
    if settings["jitter"]:
        image = jitter_rows(fresh, image, settings["jitter"])
    if rng.random() < 0.4:
        image = image * (1 + np.float32(rng.uniform(0.005, 0.04)) * fresh.standard_normal((shape[0], 1), np.float32))
    return image, settings


def _sem(
    maps: Maps, radius: float, rng: np.random.Generator, fresh: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    shape = maps.labels.shape
    dark = rng.random() < 0.08  # thin or organic particles on a bright metal
    settings: dict[str, Any] = {
        "substrate": rng.uniform(0.4, 0.6) if dark else rng.uniform(0.05, 0.4),
        "particle": rng.uniform(0.2, 0.35) if dark else rng.uniform(0.35, 0.65),
        "edge": rng.uniform(0.1, 0.8),
        "shading": rng.uniform(-0.25, 0.25),
        "shadow": rng.uniform(0, 0.6),
        "charging": rng.uniform(0.04, 0.18) if rng.random() < 0.15 else 0.0,
        "roughness": rng.uniform(0, 0.15) if rng.random() < 0.6 else rng.uniform(0.15, 0.5),
    }
    inside = maps.labels > 0
    soft = blur(maps.edge, rng.uniform(0.3, 0.8))
    height = maps.height
    if settings["roughness"] > 0:
        texture = rough_noise(rng, shape, float(np.clip(radius * rng.uniform(0.15, 0.6), 2, 60)), 3)
        height = height + np.float32(0.12 * settings["roughness"] * radius) * texture * inside
    height = blur(height, 0.7)
    gy, gx = np.gradient(height)
    slope2 = gx * gx + gy * gy
    cosine = 1 / np.sqrt(1 + slope2)
    # secondary electrons escape as 1 / cos(tilt), up to where the escape depth limits it
    tilt = 1 - cosine ** np.float32(rng.uniform(0.5, 1.5))
    angle = rng.uniform(0, 2 * np.pi)
    side = (np.float32(np.cos(angle)) * gx + np.float32(np.sin(angle)) * gy) * cosine
    surface = 1 + np.float32(settings["edge"] / settings["particle"] * 0.7) * tilt**2
    surface += np.float32(settings["shading"] / settings["particle"]) * side
    particle = np.float32(settings["particle"]) * surface * _per_particle(rng, maps.labels, rng.uniform(0.01, 0.15))
    if maps.shade is not None:
        particle = particle * blur(maps.shade, 0.7)
    ground = _ground(rng, shape) * np.float32(settings["substrate"])
    near = blur(maps.edge, max(1.5, radius * rng.uniform(0.12, 0.5)))
    ground = ground * (1 - np.float32(settings["shadow"]) * np.minimum(1.6 * near, 1))
    image = ground + soft * (particle - ground)
    # between particles, electrons are caught: crevices darken
    image = image * (1 - np.float32(0.25 * settings["shadow"]) * (near - soft * near))
    if rng.random() < 0.3:  # inelastic halo at the rim
        image = image + np.float32(rng.uniform(0.05, 0.25)) * np.maximum(blur(soft, 2.5) - soft, 0)
    if settings["charging"]:
        rows = ndimage.gaussian_filter1d(fresh.standard_normal((shape[0], 1), np.float32), 1.5, axis=0)
        tail = trail(soft, rng.uniform(0.1, 0.5) * shape[1])
        image = image + np.float32(settings["charging"]) * (tail * (0.5 + 0.8 * rows) * rng.choice([-0.6, 1.0]))
    if rng.random() < 0.3:
        image = jitter_rows(fresh, image, rng.uniform(0.05, 0.4))
    return blur(image, rng.uniform(0, 0.8)), settings


def _ground(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Substrate of an SEM image around 1: flat, rough, grainy, or with polishing marks."""
    style = rng.choice(["flat", "rough", "grainy", "marks"], p=[0.45, 0.25, 0.18, 0.12])
    ground = 1 + np.float32(rng.uniform(0, 0.08)) * smooth_noise(rng, shape, rng.uniform(40, 200))
    if style == "rough":
        ground += np.float32(rng.uniform(0.05, 0.3)) * rough_noise(rng, shape, rng.uniform(6, 50))
    elif style == "grainy":
        grain = smooth_noise(rng, shape, rng.uniform(2, 8))
        ground += np.float32(rng.uniform(0.05, 0.25)) * np.abs(grain)
    elif style == "marks":
        row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        angle = rng.uniform(0, np.pi)
        across = (np.cos(angle) * row + np.sin(angle) * column + sum(shape)).astype(int)
        marks = blur(rng.standard_normal((1, int(across.max()) + 1), np.float32), 0.8)[0]
        ground += np.float32(rng.uniform(0.05, 0.25)) * marks[across]
    return np.maximum(ground, 0.05)


RENDERERS = {"BF-TEM": _bf_tem, "HAADF-STEM": _haadf, "SEM": _sem}


def _detector(
    image: np.ndarray,
    rng: np.random.Generator,
    fresh: np.random.Generator,
    settings: dict[str, Any],
    noise: float,
) -> np.ndarray:
    """Uneven illumination, Poisson-Gaussian noise, the detector's point spread, contrast; 0..1."""
    shape = image.shape
    if rng.random() < 0.6:
        image = image * (1 + np.float32(rng.uniform(0, 0.2)) * unit_plane(rng, shape))
    if rng.random() < 0.25:
        row, column = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        image = image * (1 - np.float32(rng.uniform(0.05, 0.25)) * (row**2 + column**2).astype(np.float32) / 2)
    dose = float(np.exp(rng.uniform(np.log(60), np.log(6000))))
    read = rng.uniform(0, 0.03)
    settings.update(dose=dose, read_noise=read, noise=noise)
    # a Poisson count of mean n is close to normal with variance n from n = 20 on, which the doses here give
    deviation = np.sqrt(np.maximum(image, 0) / np.float32(dose) + np.float32(read**2)) * np.float32(noise)
    speckle = fresh.standard_normal(shape, dtype=np.float32)
    spread = rng.uniform(0.3, 1.3) if rng.random() < 0.65 else 0.0
    settings["point_spread"] = spread
    image = blur(image + deviation * speckle, spread)
    low, high = np.percentile(image[::4, ::4], (0.5, 99.5))
    if high - low > 0.02 and rng.random() < 0.5:  # the operator's contrast and brightness
        margin = rng.uniform(0.0, 0.25, 2) * (high - low)
        stretched = (image - (low - margin[0])) / (high - low + margin.sum())
        image = image + np.float32(rng.uniform(0.3, 1.0)) * (stretched - image)
    if rng.random() < 0.3:
        image = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.7, 1.4))
    return np.clip(image, 0, 1).astype(np.float32, copy=False)
