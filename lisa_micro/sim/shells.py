"""Core-shell particles: a scaled copy of each particle's body is its core, what is around it the shell.

They are what a default model does not know: users teach it "the shells" from a few images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lisa_micro.sim.raster import Maps, Warp, window_of
from lisa_micro.sim.shapes import Body, field

CORE_SHARE = (0.5, 0.82)
"""Radius of the core over that of the particle."""
LIGHT_SHELL, LIGHT_CORE = (0.2, 0.55), (0.1, 0.5)
"""Density of the lighter part over that of the other: silica or carbon around a metal; hollow or filled spheres."""
SHADE = (1.35, 1.9)
"""SEM: how many times brighter the heavier part is (backscattered electrons)."""
LEAST_RADIUS_PX = 8.0
"""Smaller particles show no shell."""


@dataclass(frozen=True)
class Cores:
    """What a scene needs to know of its cores. maps: with density and shade of core and shell. inside: ``(H, W)``
    int32, body index + 1 where the core of the particle in front is seen, else 0. coated: ``(n,)`` bool, bodies with a
    shell. settings: what was drawn."""

    maps: Maps
    inside: np.ndarray
    coated: np.ndarray
    settings: dict[str, float | bool]


def scaled(body: Body, share: float) -> Body:
    """The same outline, ``share`` times as large around the same centre."""
    normals = body.normals
    if normals is not None:
        normals = normals.copy()
        normals[:, 2] *= share
    return replace(
        body,
        a=body.a * share,
        b=body.b * share,
        rounding=body.rounding * share,
        normals=normals,
        depth=body.depth * share,
    )


def add_cores(bodies: list[Body], maps: Maps, warp: Warp, rng: np.random.Generator, coated: float) -> Cores:
    """Give a share of the particles a core and a shell.

    Args:
        bodies, warp: the geometry. maps: the same, rasterised.
        rng: draws the share of the radius and the contrast, one for the scene with little spread between particles.
        coated: share of the particles with a shell, 0..1.
    """
    shape = maps.labels.shape
    x, y = warp.grid(shape)
    core_share = float(rng.uniform(*CORE_SHARE))
    light_shell = bool(rng.random() < 0.75)
    light = float(rng.uniform(*(LIGHT_SHELL if light_shell else LIGHT_CORE)))
    bright = float(rng.uniform(*SHADE))
    spread = rng.normal(0, 0.04, len(bodies))
    has = rng.random(len(bodies)) < coated
    projected = maps.projected.copy()
    shade = np.ones(shape, np.float32)
    inside = np.zeros(shape, np.int32)
    for k, body in enumerate(bodies):
        window = window_of(body.x, body.y, body.reach + warp.reach + 2, shape)
        has[k] &= 0.5 * (body.a + body.b) >= LEAST_RADIUS_PX
        if window is None or not has[k]:
            continue
        share = float(np.clip(core_share + spread[k], 0.4, 0.88))
        distance, thick = field(scaled(body, share), x[window], y[window])
        seen = maps.labels[window] == k + 1
        core = seen & (distance < 0)
        inside[window][core] = k + 1
        # a beam passes shell, core and shell: the heavier part has density 1
        whole = field(body, x[window], y[window])[1]
        projected[window] -= np.float32(1 - light) * ((whole - thick) if light_shell else thick)
        soft = np.clip(0.5 - distance, 0, 1) * seen
        heavy = soft if light_shell else seen - soft
        shade[window] += np.float32(bright - 1) * heavy.astype(np.float32)
    settings = {"core_share": core_share, "light_shell": light_shell, "light": light, "coated": coated}
    return Cores(replace(maps, projected=np.maximum(projected, 0), shade=shade), inside, has, settings)


def shell_labels(cores: Cores, particles: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Instance labels of cores and shells that can be seen.

    Args:
        cores: from :func:`add_cores`.
        particles: ``(H, W)`` int32, the scene's particles 1..n. source: ``(n,)``, the body that each shows.

    Returns:
        ``(cores, shells)``, each ``(H, W)`` int32, 1..m without gaps.
    """
    body = np.r_[0, source + 1][particles]
    coated = np.r_[False, cores.coated][body]
    core = np.where((cores.inside == body) & (body > 0), particles, 0)
    shell = np.where(coated & (core == 0), particles, 0)
    from skimage.segmentation import relabel_sequential

    return tuple(relabel_sequential(labels)[0].astype(np.int32) for labels in (core, shell))
