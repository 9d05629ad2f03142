"""Wires, rods, tubes and needles: crossing, curved, out of focus; the upper fibre owns the crossing."""

from __future__ import annotations

import numpy as np

from lisa_micro.sim.materials.discs import apart, paint_discs
from lisa_micro.sim.materials.painted import Draw, Painted, all_but, chance, draw_maps, faintest_for, log_uniform
from lisa_micro.sim.materials.strands import Fibre, bent_line, rasterise_fibres
from lisa_micro.sim.raster import Maps
from lisa_micro.sim.texture import blur

STYLES = ("wires", "nanofibres", "rods", "tubes", "needles")
STYLE_SHARES = (0.22, 0.18, 0.3, 0.15, 0.15)
LONG = ("wires", "nanofibres", "tubes")
"""Styles that nobody would call particles."""


def _lay(draw: Draw) -> tuple[list[Fibre], str, float]:
    """Fibres from the lowest to the uppermost, their style and their typical half width in px."""
    rng, (height, width) = draw.place, draw.shape
    style = str(rng.choice(STYLES, p=STYLE_SHARES))
    side = min(draw.shape)
    radius = log_uniform(rng, 2.0, 0.03 * side if style in LONG else 0.045 * side)
    coverage = log_uniform(rng, 0.04, 0.7 if style == "nanofibres" else 0.45)
    spread = rng.uniform(0.03, 0.4)
    aspect = log_uniform(rng, 2.5, 9) if style == "rods" else log_uniform(rng, 8, 30)
    order = str(rng.choice(["any", "aligned", "bundles"], p=[0.6, 0.22, 0.18]))
    main, off = rng.uniform(0, np.pi), rng.uniform(0.05, 0.4)
    bend = {"wires": rng.uniform(0, 1.2), "nanofibres": rng.uniform(0.4, 2.5), "tubes": rng.uniform(0, 2.0)}.get(
        style, rng.uniform(0.05, 0.4) if chance(rng, 0.2) else 0.0
    )
    flat, bore = chance(rng, 0.5 if style == "rods" else 0.2), rng.uniform(0.4, 0.8) if style == "tubes" else 0.0
    wave = rng.uniform(0.02, 0.12) if chance(rng, 0.25) else 0.0
    full, area, fibres = coverage * height * width, 0.0, []
    anchor, heading, left = np.zeros(2), 0.0, 0
    while area < full and len(fibres) < 220:
        if left <= 0:
            anchor = np.array([rng.uniform(-0.05, 1.05) * width, rng.uniform(-0.05, 1.05) * height])
            heading = rng.normal(main, off) if order == "aligned" else rng.uniform(0, 2 * np.pi)
            left = int(rng.integers(2, 9)) if order == "bundles" else 1
        r = float(np.clip(radius * np.exp(rng.normal(0, spread)), 1.3, 0.09 * side))
        length = r * 2 * aspect * np.exp(rng.normal(0, 0.3))
        if style in LONG:
            length = max(length, rng.uniform(0.3, 1.6) * max(draw.shape))
        middle = anchor + (rng.normal(0, 1.5 * r, 2) if order == "bundles" else 0)
        tilt = rng.normal(0, 0.06) if order == "bundles" else 0.0
        line = bent_line(rng, tuple(middle), heading + tilt, length, bend, max(6.0, 1.5 * r))
        taper = rng.uniform(0.6, 1.0) if style == "needles" else 0.0
        fibres.append(Fibre(line, r, flat, taper, wave, bore))
        area += 2 * r * min(length, 1.2 * max(draw.shape)) * (1 - taper / 2) * (0.6 if style in LONG else 0.9)
        left -= 1
    return fibres, style, radius


def paint_fibres(draw: Draw) -> Painted:
    """Fibres of one style on a support, some out of focus."""
    fibres, style, radius = _lay(draw)
    place, look = draw.place, draw.look
    lower = int(len(fibres) * place.uniform(0.1, 0.5)) if chance(place, 0.3) else 0
    sem = draw.modality == "SEM"
    maps = rasterise_fibres(fibres, draw.shape, look.uniform(0, 1.2) if sem else 0.0, look.uniform(0, 0.6))
    if style in LONG and sem and chance(look, 0.4):  # deep in a mat it is dark
        depth = np.linspace(look.uniform(0.3, 0.9), 1, len(fibres), dtype=np.float32)
        maps = Maps(maps.labels, maps.edge, maps.height, maps.projected, maps.shade * np.r_[1, depth][maps.labels])
    particle = np.zeros(draw.shape, np.int32)
    if style in LONG and chance(place, 0.2):
        maps, particle = _decorate(draw, fibres, maps, radius)
    image = draw_maps(maps, radius, draw)
    if lower:
        image = defocus(image, (maps.labels > 0) & (maps.labels <= lower), maps.labels > lower, 0.4 * radius)
    fibre = np.where(particle > 0, 0, maps.labels)
    params = {"style": style, "fibres": len(fibres), "radius_px": radius, "out_of_focus": lower}
    open_ = ("pore", "agglomerate") if style in LONG else ("particle", "neck", "pore", "agglomerate")
    labels = {"fibre": fibre, "substrate": ((fibre == 0) & (particle == 0)).astype(np.int32)}
    if style in LONG:
        labels["particle"] = particle
    return Painted(
        image=image,
        labels=labels,
        absent=all_but("fibre", "substrate", *open_),
        signal=fibre,
        ground=(fibre == 0) & (particle == 0),
        detail=2 * radius,
        size=2 * radius,
        faintest=faintest_for(2 * radius * 8 * radius, 1.0 if particle.any() else 0.3),
        params=params,
    )


def _decorate(draw: Draw, fibres: list[Fibre], maps: Maps, radius: float) -> tuple[Maps, np.ndarray]:
    """Put particles on the fibres; returns the maps with them and their labels."""
    rng = draw.place
    size = float(np.clip(radius * log_uniform(rng, 0.25, 1.5), 2.5, 20))
    along = np.concatenate([f.points for f in fibres if not f.bore or len(f.points) > 1])
    count = int(np.clip(rng.uniform(0.2, 2.0) * len(along), 3, 400))
    at = along[rng.integers(0, len(along), count)] + rng.normal(0, 0.5 * radius, (count, 2))
    radii = np.maximum(size * np.exp(rng.normal(0, 0.25, count)), 2.0)
    keep = apart(at, radii, 1.0)
    n = int(keep.sum())
    tiny = paint_discs(at[keep], radii[keep], rng.uniform(0.75, 1, n), rng.uniform(0, np.pi, n), draw.shape)
    dense = np.float32(rng.uniform(1.5, 3.0))
    on = tiny.labels > 0
    labels = np.where(on, tiny.labels + len(fibres), maps.labels).astype(np.int32)
    shade = np.ones(draw.shape, np.float32) if maps.shade is None else maps.shade
    merged = Maps(
        labels,
        np.maximum(maps.edge, tiny.edge),
        np.where(on, tiny.height + maps.height, maps.height),
        maps.projected + dense * tiny.projected,
        np.where(on, np.float32(rng.uniform(1.2, 1.8)), shade),
    )
    return merged, tiny.labels


def defocus(image: np.ndarray, where: np.ndarray, never: np.ndarray, sigma: float) -> np.ndarray:
    """Blur part of an image.

    Args:
        image: ``(H, W)`` float32.
        where: ``(H, W)`` bool, what is out of focus; the blur reaches a little beyond it.
        never: ``(H, W)`` bool, what stays sharp.
        sigma: px.
    """
    sigma = float(np.clip(sigma, 0.8, 4.0))
    share = np.minimum(blur(where.astype(np.float32), sigma) * 3, 1) * ~never
    return image + share * (blur(image, sigma) - image)
