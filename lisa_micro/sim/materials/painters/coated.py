"""Core-shell particles: coated metals, hollow spheres, yolks in a void, rods in silica, with bare ones among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lisa_micro.sim.layouts import make_body, scatter
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, draw_maps, faintest_for, log_uniform
from lisa_micro.sim.materials.transmission import per_object, transmit
from lisa_micro.sim.raster import Maps, Warp, no_warp, random_warp, window_of
from lisa_micro.sim.shapes import Body, field
from lisa_micro.sim.shells import scaled
from lisa_micro.sim.texture import rough_noise

STYLES = ("coated", "yolk", "hollow", "thin")
STYLE_SHARES = (0.56, 0.16, 0.16, 0.12)
LEAST_SHELL_PX = 2.5


@dataclass(frozen=True)
class Coated:
    """One particle: its outside, its core (``None``: bare) and the inside of its shell (the core's edge, but for yolks,
    which have a void around the core)."""

    outer: Body
    core: Body | None
    inner: Body | None


def _lay(draw: Draw) -> tuple[list[Coated], str, Warp, float]:
    rng, shape = draw.place, draw.shape
    style = str(rng.choice(STYLES, p=STYLE_SHARES))
    radius = log_uniform(rng, 9, 0.2 * min(shape))
    coverage = log_uniform(rng, 0.05, 0.5)
    count = int(np.clip(coverage * shape[0] * shape[1] / (np.pi * radius**2), 1, 160))
    family = str(rng.choice(["disc", "ellipse", "faceted", "rod", "cube"], p=[0.55, 0.15, 0.12, 0.1, 0.08]))
    core_family = family if chance(rng, 0.6) else str(rng.choice(["disc", "faceted", "cube", "ellipse"]))
    radii = np.clip(radius * np.exp(rng.normal(0, rng.uniform(0.02, 0.3), count)), 7, 0.3 * min(shape))
    outers = scatter(rng, shape, radii, lambda: family, overlap=chance(rng, 0.4))
    bare = rng.uniform(0.1, 0.5) if chance(rng, 0.25) else 0.0
    share, spread = rng.uniform(0.35, 0.88), rng.uniform(0, 0.08)
    share = rng.uniform(0.8, 0.93) if style == "thin" else share
    share = rng.uniform(0.7, 0.9) if style == "hollow" else share
    aside = rng.uniform(0, 0.9) if style == "yolk" or chance(rng, 0.2) else 0.0
    wall = rng.uniform(0.12, 0.3)
    out = []
    for outer in outers:
        if rng.random() < bare:
            out.append(Coated(outer, None, None))
            continue
        most = 1 - LEAST_SHELL_PX / outer.b
        inner_share = min(1 - wall, most) if style == "yolk" else min(float(share + rng.normal(0, spread)), most)
        inner = scaled(outer, max(inner_share, 0.2))
        core = inner
        if style == "yolk":
            core = _inside(rng, inner, rng.uniform(0.4, 0.75), core_family, aside)
        elif core_family != family or aside:
            core = inner = _inside(rng, inner, 0.95, core_family, aside)
        out.append(Coated(outer, core, inner))
    warp = random_warp(rng, radius) if chance(rng, 0.5) else no_warp()
    return out, style, warp, radius


def _inside(rng: np.random.Generator, around: Body, share: float, family: str, aside: float) -> Body:
    """A core of a family that fits into a body, off its middle by ``aside`` of the room that is left."""
    elongated = around.a > 1.5 * around.b and around.kind == "box"
    body = scaled(around, share) if elongated else make_body(rng, around.x, around.y, share * around.b * 0.92, family)
    room = max(around.b - min(body.reach, 0.99 * around.b) - 0.5, 0) * aside
    way = rng.uniform(0, 2 * np.pi)
    return replace(body, x=around.x + room * float(np.cos(way)), y=around.y + room * float(np.sin(way)))


def rasterise_coated(
    particles: list[Coated], shape: tuple[int, int], warp: Warp, densities: tuple[float, float], bright: float
) -> tuple[Maps, np.ndarray]:
    """Paint particles in order, later ones in front.

    Args:
        particles: in ideal coordinates.
        shape: ``(H, W)`` px.
        warp: makes them irregular.
        densities: absorption of shell and core.
        bright: brightness of the core's material over the shell's in SEM.

    Returns:
        ``(maps, part)``: ``part`` ``(H, W)`` int8, 0 = none, 1 = shell, 2 = core, 3 = bare, 4 = void around a
        yolk.
    """
    x, y = warp.grid(shape)
    labels, part = np.zeros(shape, np.int32), np.zeros(shape, np.int8)
    edge, height = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    projected, shade = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    in_shell, in_core = (np.float32(d) for d in densities)
    for k, one in enumerate(particles):
        window = window_of(one.outer.x, one.outer.y, one.outer.reach + warp.reach + 2, shape)
        if window is None:
            continue
        wx, wy = x[window], y[window]
        distance, thick = field(one.outer, wx, wy)
        inside = distance < 0
        here = np.full(distance.shape, 3, np.int8)
        mass, tone = in_core * thick, np.full(distance.shape, np.float32(bright))
        if one.core is not None and one.inner is not None:
            to_inner, inner_thick = field(one.inner, wx, wy)
            to_core, core_thick = (to_inner, inner_thick) if one.core is one.inner else field(one.core, wx, wy)
            mass = in_shell * np.maximum(thick - inner_thick, 0) + in_core * core_thick
            here[:] = 1
            here[to_inner < 0] = 4
            here[to_core < 0] = 2
            tone = 1 + np.float32(bright - 1) * np.clip(0.5 - to_core, 0, 1)
        labels[window][inside] = k + 1
        part[window][inside] = here[inside]
        height[window][inside] = thick[inside]
        shade[window][inside] = tone[inside]
        np.maximum(edge[window], np.clip(0.5 - distance, 0, 1), out=edge[window])
        projected[window] += mass * inside
    return Maps(labels, edge, height, projected, shade), part


def paint_core_shell(draw: Draw) -> Painted:
    """Particles with a core and a shell."""
    particles, style, warp, radius = _lay(draw)
    image, maps, part = _render(draw, particles, style, warp, radius)
    pair = _fainter(image, part)
    core, shell = np.where(part == 2, maps.labels, 0), np.where(part == 1, maps.labels, 0)
    labels = {"particle": maps.labels, "shell": shell, "substrate": (maps.labels == 0).astype(np.int32)}
    open_ = ["neck", "agglomerate", "pore"]
    if style == "hollow":
        open_.append("core")  # what is inside a hollow sphere, its void, few would call a core
    else:
        labels["core"] = core
    rim = radius * 0.3
    return Painted(
        image=image,
        labels=labels,
        absent=all_but(*labels, *open_),
        signal=shell if shell.any() else maps.labels,
        ground=pair if pair.any() else maps.labels == 0,
        detail=max(2 * rim, 4),
        size=2 * radius,
        faintest=faintest_for(rim * radius, 0.4),
        params={"style": style, "particles": len(particles), "radius_px": radius},
    )


def _fainter(image: np.ndarray, part: np.ndarray) -> np.ndarray:
    """``(H, W)`` bool, from which the shells differ less: their surroundings, or their cores."""
    inner = (part == 2) | (part == 4)
    mean = [float(image[p].mean()) if p.any() else np.inf for p in (part == 0, part == 1, inner)]
    return (part == 0) if abs(mean[1] - mean[0]) < abs(mean[2] - mean[1]) else inner


def _render(
    draw: Draw, particles: list[Coated], style: str, warp: Warp, radius: float
) -> tuple[np.ndarray, Maps, np.ndarray]:
    """The image, the maps and the parts (see :func:`rasterise_coated`)."""
    look = draw.look
    heavy, share = look.uniform(0.5, 2.2), look.uniform(0.12, 0.45)
    # a heavy shell shows as a ring only if it is thin
    thin = np.median([p.inner.b / p.outer.b for p in particles if p.inner is not None] or [0]) > 0.7
    light_core = style == "hollow" or (thin and style == "coated" and chance(look, 0.4))
    shell, core = (heavy, 0.0 if style == "hollow" else share * heavy) if light_core else (share * heavy, heavy)
    bright = look.uniform(1.3, 2.2) if core > shell else look.uniform(0.45, 0.8)
    maps, part = rasterise_coated(particles, draw.shape, warp, (shell, core), bright)
    mass = maps.projected / np.float32(radius)
    if chance(look, 0.3):  # porous or grainy shells
        grain = 1 + np.float32(look.uniform(0.05, 0.3)) * rough_noise(look, draw.shape, max(3.0, 0.2 * radius), 3)
        mass = np.maximum(mass * np.where(part == 1, grain, 1), 0)
    if draw.transmitted:
        return transmit(draw, mass * per_object(look, maps.labels, look.uniform(0.02, 0.2))), maps, part
    return draw_maps(maps, radius, draw), maps, part
