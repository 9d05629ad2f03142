"""Dislocation loops in bright field: small dark lenses and coffee beans on a cloudy, very noisy ground."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, faintest_for, log_uniform
from lisa_micro.sim.materials.strands import bent_line
from lisa_micro.sim.texture import blur, rough_noise, smooth_noise


def _places(draw: Draw) -> tuple[np.ndarray, float]:
    """``(n, 5)`` x, y, a, b (half axes, px) and angle of each loop, and the typical half axis."""
    rng, (height, width) = draw.place, draw.shape
    half = log_uniform(rng, 5, 26)
    count = int(rng.integers(0, 5)) if chance(rng, 0.2) else int(log_uniform(rng, 3, 60))
    variants = rng.uniform(0, np.pi, int(rng.integers(1, 4)))
    ratio, spread = rng.uniform(0.35, 0.85), rng.uniform(0.1, 0.4)
    band = bent_line(rng, (width / 2, height / 2), rng.uniform(0, 6.3), 1.2 * max(draw.shape), 0.6, 20)
    gathered = rng.uniform(0.3, 0.9) if chance(rng, 0.3) else 0.0
    out: list[list[float]] = []
    for _ in range(count * 4):
        if len(out) == count:
            break
        if rng.random() < gathered:
            x, y = band[int(rng.integers(len(band)))] + rng.normal(0, 2 * half, 2)
        else:
            x, y = rng.uniform(0, width), rng.uniform(0, height)
        a = half * float(np.exp(rng.normal(0, spread)))
        near = np.array([[o[0], o[1], o[2]] for o in out]) if out else np.zeros((0, 3))
        if (np.hypot(near[:, 0] - x, near[:, 1] - y) < 0.75 * (near[:, 2] + a)).any():
            continue
        out.append([x, y, a, a * ratio * rng.uniform(0.8, 1.2), rng.choice(variants) + rng.normal(0, 0.15)])
    return np.array(out).reshape(-1, 5), half


def paint_dislocation_loops(draw: Draw) -> Painted:
    """Loops; dark clouds and lines on the same picture are none."""
    loops, half = _places(draw)
    look, shape = draw.look, draw.shape
    labels, dark = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    y, x = (a.astype(np.float32) for a in np.mgrid[: shape[0], : shape[1]])
    beans, faint, sharp = look.uniform(0, 1) if chance(look, 0.4) else 0.0, look.uniform(0, 0.4), look.uniform(1, 4)
    for k, (px, py, a, b, turn) in enumerate(loops):
        reach = 1.8 * max(a, b) + 3
        top, left = max(0, int(py - reach)), max(0, int(px - reach))
        window = (slice(top, int(py + reach) + 1), slice(left, int(px + reach) + 1))
        dx, dy = x[window] - np.float32(px), y[window] - np.float32(py)
        u = (dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))) / np.float32(a)
        v = (dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(b)
        r2 = u * u + v * v
        labels[window][r2 < 1] = k + 1
        profile = np.exp(-(r2 ** np.float32(0.5 * sharp)) * np.float32(0.9))
        if look.random() < beans:  # a line of no contrast through the middle
            profile = profile * np.tanh(v / 0.3) ** 2
        strength = np.float32(look.uniform(0.6, 1.3) * (0.45 if look.random() < faint else 1))
        np.maximum(dark[window], strength * profile, out=dark[window])
    cloud = rough_noise(look, shape, look.uniform(40, 200), 4)
    depth = np.float32(log_uniform(look, 0.2, 0.7))
    texture = depth * np.float32(look.uniform(0.03, 0.3)) * cloud
    texture = texture + depth * np.float32(look.uniform(0, 0.25)) * smooth_noise(look, shape, look.uniform(2, 5))
    if chance(look, 0.5):  # bend contours, larger and softer than loops
        level = smooth_noise(look, shape, look.uniform(4, 9) * half)
        texture = texture - depth * np.float32(look.uniform(0.1, 0.8)) * np.maximum(level - 1.0, 0)
    image = 0.7 * (1 + texture) * (1 - depth * np.minimum(dark, 1.2))
    if draw.modality == "HAADF-STEM" or (draw.modality == "SEM" and chance(look, 0.5)):
        image = 0.9 - image
    return Painted(
        image=blur(image.astype(np.float32), look.uniform(0.5, 0.15 * half + 0.6)),
        labels={"dislocation_loop": labels},
        absent=all_but("dislocation_loop", "substrate", "grain", "grain_boundary"),
        signal=labels,
        ground=labels == 0,
        detail=0.8 * half,
        size=2 * half,
        faintest=faintest_for(2 * half**2),
        params={"loops": len(loops), "half_axis_px": half},
    )
