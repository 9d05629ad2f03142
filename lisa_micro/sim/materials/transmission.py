"""Images made by a beam that goes through: bright field with phase contrast, and dark field."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.materials.painted import Draw, chance, log_uniform
from lisa_micro.sim.texture import blur, frequencies, rough_noise, smooth_noise, through_lens


def transmit(draw: Draw, mass: np.ndarray, film: np.ndarray | float = 1.0, amorphous: float = 1.0) -> np.ndarray:
    """``(H, W)`` float32 image in the scene's modality, bright field or dark field.

    Args:
        draw: source of the look.
        mass: ``(H, W)`` float32, absorption of the objects: 1 = the beam falls to 1 / e in bright field.
        film: thickness of the support, 1 where it is whole, 0 where there is vacuum.
        amorphous: factor on the strength of the support's grain.
    """
    if draw.modality == "BF-TEM":
        return bright_field(draw, mass, film, amorphous)
    return dark_field(draw, mass, film)


def bright_field(draw: Draw, mass: np.ndarray, film: np.ndarray | float = 1.0, amorphous: float = 1.0) -> np.ndarray:
    """Absorption, and a weak-phase transfer function that grains the support and fringes edges."""
    look, shape = draw.look, draw.shape
    absorbed = np.float32(look.uniform(0.05, 0.4)) * film + mass
    if chance(look, 0.3):
        absorbed = absorbed + np.float32(look.uniform(0.01, 0.05)) * smooth_noise(look, shape, look.uniform(15, 90))
    image = np.exp(-absorbed)
    f2 = frequencies(shape)
    zero2 = np.float32(log_uniform(look, 0.06, 0.35) ** 2)
    transfer = np.sin(np.pi * f2 / zero2) * np.exp(-f2 / (zero2 * np.float32(look.uniform(0.7, 3.0))))
    strength = look.uniform(0, 0.4) if chance(look, 0.6) else look.uniform(0, 0.05)
    grain = look.standard_normal(shape, dtype=np.float32) * np.float32(strength * amorphous)
    phase = grain * np.minimum(film, 1) + np.float32(look.uniform(0, 0.6)) * np.minimum(mass, 2)
    if not np.isscalar(film):
        phase = phase + np.float32(look.uniform(0, 0.6)) * np.minimum(film, 1)
    sign = 1 if chance(look, 0.75) else -1
    image = image - np.float32(0.45 * sign) * through_lens(phase, transfer) * (0.35 + 0.65 * image)
    return (np.float32(0.85) * image).astype(np.float32)


def dark_field(draw: Draw, mass: np.ndarray, film: np.ndarray | float = 1.0) -> np.ndarray:
    """Signal that grows with mass, saturates, and has probe tails."""
    look, shape = draw.look, draw.shape
    support = np.float32(look.uniform(0.03, 0.2)) * film
    if chance(look, 0.6):
        support = support * (
            1 + np.float32(look.uniform(0.02, 0.25)) * rough_noise(look, shape, look.uniform(4, 60), 3)
        )
    signal = support + np.float32(look.uniform(0.25, 0.9)) * mass + np.float32(look.uniform(0.0, 0.04))
    if chance(look, 0.3):
        signal = signal + np.float32(look.uniform(0.03, 0.15)) * blur(mass, look.uniform(3, 12))
    signal = blur(np.broadcast_to(signal, shape).astype(np.float32), look.uniform(0.3, 1.2))
    return np.tanh(signal * np.float32(1.1)) / np.float32(1.1)


def per_object(look: np.random.Generator, labels: np.ndarray, spread: float) -> np.ndarray:
    """``(H, W)`` float32 factor that is constant over each object, log-normal around 1; 1 where there is none."""
    factor = np.exp(look.normal(0, spread, int(labels.max(initial=0)) + 1)).astype(np.float32)
    factor[0] = 1
    return factor[labels]
