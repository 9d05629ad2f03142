"""A video of one moving rod at a low signal-to-noise ratio, to test tracking in faint recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lisa_micro.sim.materials.strands import Fibre, swath
from lisa_micro.sim.texture import rough_noise
from lisa_micro.types import InputError

LEAST_SIDE_PX = 64
NOISE_SIGMA = 0.14
"""Standard deviation of faint recordings' noise in units of the grey scale: three and a half fit on either side of its
middle."""
MOST_CONTRAST = 0.35
"""Contrast of the rod at most, so that nothing is clipped where the noise is low."""


@dataclass(frozen=True, eq=False)
class RodVideo:
    """One rod in motion.

    Attributes:
        frames: ``(T, H, W)`` float32, intensities 0..1.
        labels: ``(T, H, W)`` int32, 1 on the rod, 0 elsewhere.
        poses: ``(T, 3)`` float64, x and y of the rod's centre in px and its angle in radians (from +x towards +y).
        length: length of the rod in px, ends included.
        width: px.
        snr: contrast of the rod over the standard deviation of the noise.
    """

    frames: np.ndarray
    labels: np.ndarray
    poses: np.ndarray
    length: float
    width: float
    snr: float


def simulate_rod_video(seed: int, frames: int = 40, shape: tuple[int, int] = (256, 256), snr: float = 0.5) -> RodVideo:
    """A rod that drifts and turns over a faintly textured, unmoving support.

    Args:
        seed: the same seed and arguments give the same video; geometry does not depend on ``snr``.
        frames: number of frames, at least 1.
        shape: ``(H, W)`` px, each at least 64.
        snr: contrast over the standard deviation of the noise, above 0.

    Raises:
        InputError: for arguments that cannot be.
    """
    shape = (int(shape[0]), int(shape[1]))
    if min(shape) < LEAST_SIDE_PX:
        raise InputError(
            f"Shape {shape[0]} x {shape[1]} px is too small; give at least {LEAST_SIDE_PX} x {LEAST_SIDE_PX}."
        )
    if frames < 1:
        raise InputError(f"A video needs at least one frame, not {frames}.")
    if math.isnan(snr) or math.isinf(snr) or not snr > 0:
        raise InputError(f"The signal-to-noise ratio must be a finite number above 0, not {snr:g}.")
    place, look, grain = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, 78]).spawn(3))
    width = float(place.uniform(0.045, 0.1) * min(shape))
    length = float(place.uniform(3.0, 7.0) * width)
    flat = bool(place.random() < 0.5)
    poses = _path(place, frames, shape, length)
    sigma = min(NOISE_SIGMA, MOST_CONTRAST / snr)
    dark, drift = bool(look.random() < 0.7), float(look.uniform(0, 0.15))
    support = rough_noise(look, shape, look.uniform(20, 80), 4) * np.float32(sigma * snr * look.uniform(0, 0.25))
    contrast = np.float32((-1 if dark else 1) * snr * sigma)
    pictures = np.empty((frames, *shape), np.float32)
    labels = np.zeros((frames, *shape), np.int32)
    for t, pose in enumerate(poses):
        cover, labels[t] = _rod(pose, length, width, flat, shape)
        level = 0.5 + drift * snr * sigma * np.sin(0.2 * t)
        noise = grain.standard_normal(shape, dtype=np.float32) * np.float32(sigma)
        pictures[t] = np.clip(np.float32(level) + support + contrast * cover + noise, 0, 1)
    return RodVideo(pictures, labels, poses, length, width, float(snr))


def _path(rng: np.random.Generator, frames: int, shape: tuple[int, int], length: float) -> np.ndarray:
    """``(T, 3)`` poses: a smooth random walk that keeps the rod's centre well inside the image."""
    speed, turning, keep = rng.uniform(0.3, 2.0), rng.uniform(0.003, 0.03), 0.9
    middle = np.array([shape[1], shape[0]]) / 2
    room = np.maximum(middle - 0.55 * length, 2.0)
    at = middle + rng.uniform(-0.5, 0.5, 2) * room
    angle, velocity, turn = rng.uniform(0, np.pi), rng.normal(0, speed, 2), rng.normal(0, turning)
    poses = []
    for _ in range(frames):
        poses.append([*at, angle])
        pull = -0.15 * speed * (at - middle) / room  # towards the middle, stronger at the edge
        velocity = keep * velocity + rng.normal(0, speed * np.sqrt(1 - keep**2), 2) + pull
        turn = keep * turn + rng.normal(0, turning * np.sqrt(1 - keep**2))
        at = np.clip(at + velocity, middle - room, middle + room)
        angle += turn
    return np.array(poses)


def _rod(
    pose: np.ndarray, length: float, width: float, flat: bool, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """``(H, W)`` float32 coverage with a soft edge of 1 px, and int32 label."""
    x, y, angle = pose
    half = 0.5 * length - (0 if flat else 0.5 * width)
    ahead = half * np.array([np.cos(angle), np.sin(angle)])
    line = np.stack([(x, y) - ahead, (x, y) + ahead])
    found = swath(Fibre(line, 0.5 * width, flat), shape)
    cover, label = np.zeros(shape[0] * shape[1], np.float32), np.zeros(shape[0] * shape[1], np.int32)
    if found is not None:
        cover[found.index] = np.clip(0.5 - found.distance, 0, 1)
        label[found.index[found.distance < 0]] = 1
    return cover.reshape(shape), label.reshape(shape)
