"""Large micrographs of sintering particles with exact truth, in bounded memory.

There is one geometry for the whole image. It is painted and rendered window by window, since the renderers need some
ten images' worth of memory; windows overlap and are cross-faded, and every window draws the same settings and knows
each particle by the same number, so that no particle changes its contrast where windows meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lisa_micro.geometry import feathered_tiles
from lisa_micro.sim.contacts import Bond, find_bonds
from lisa_micro.sim.layouts import GAP_PX, MAX_RADIUS, MIN_RADIUS, Layout, grow_cluster
from lisa_micro.sim.raster import Maps, Warp, random_warp, rasterise
from lisa_micro.sim.render import MODALITIES, render
from lisa_micro.sim.scene import Scene
from lisa_micro.sim.shapes import Body, disc
from lisa_micro.sim.truth import derive_truth
from lisa_micro.types import InputError

WINDOW, OVERLAP = 1152, 64
"""px: side of a window, and how far it reaches over what is kept of it."""
CLUSTERS = ((1, 0.35), (2, 0.2), (3, 0.15), (5, 0.15), (9, 0.15))
"""Particles of a cluster -> share of the clusters."""
_TRIES = 60


def simulate_large(
    seed: int,
    shape: tuple[int, int] = (8192, 8192),
    n_particles: int = 2000,
    radius: float = 36.0,
    modality: str = "BF-TEM",
    pixel_size_nm: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
) -> Scene:
    """A large scene: single particles, pairs, chains, rings and agglomerates, everywhere and over the border too.

    Args:
        seed: the same seed and arguments give the same scene.
        shape: ``(H, W)`` px, each at least 256.
        n_particles: how many are placed. Those of which fewer than six pixels lie in the image are not labelled.
        radius: typical radius, px; sizes are log-normal around it.
        modality: one of :data:`lisa_micro.sim.render.MODALITIES`.
        pixel_size_nm: edge of a pixel in nm.
        progress: called with (windows done, windows in all).

    Returns:
        the scene. With 8192 x 8192 px it holds 1.5 GB, and making it takes 3 GB.

    Raises:
        InputError: arguments that cannot be, or more particles than find room.
    """
    shape = (int(shape[0]), int(shape[1]))
    if min(shape) < 256:
        raise InputError(f"A large scene of {shape[1]} x {shape[0]} px is too small; give at least 256 x 256.")
    if modality not in MODALITIES:
        raise InputError(f"There is no modality {modality!r}; choose one of {', '.join(MODALITIES)}.")
    if n_particles < 0 or not MIN_RADIUS <= radius <= MAX_RADIUS or not pixel_size_nm > 0:
        raise InputError(
            f"Particles need a count from 0, a radius of {MIN_RADIUS:g} to {MAX_RADIUS:g} px and a positive pixel size."
        )
    place, look = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    layout = _scatter_clusters(place, shape, n_particles, radius)
    warp = random_warp(place, radius)
    look_seed = int(look.integers(2**62))
    pixels, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    windows = list(feathered_tiles(shape, WINDOW, OVERLAP))
    settings: dict = {}
    for number, (tile, down, across) in enumerate(windows):
        y0, y1, x0, x1 = tile.outer
        maps = _window_maps(layout, warp, (x0, y0), (y1 - y0, x1 - x0))
        tile.write(labels, maps.labels)
        # the same choices in every window, but noise of its own
        seen, settings = render(
            maps, radius, modality, np.random.default_rng(look_seed), fresh=np.random.default_rng([look_seed, number])
        )
        pixels[y0:y1, x0:x1] += seen * down[:, None] * across[None]
        if progress:
            progress(number + 1, len(windows))
    empty = np.zeros((0, 0), np.float32)
    truth = derive_truth(layout.bodies, layout.bonds, Maps(labels, empty, empty, empty), warp)
    return Scene(
        pixels=pixels,
        particles=truth.particles,
        necks=truth.necks,
        pores=truth.pores,
        agglomerates=truth.agglomerates,
        substrate=truth.particles == 0,
        overlay=np.zeros(shape, bool),
        neck_table=truth.neck_table,
        centres=truth.centres,
        radii=truth.radii,
        contacts=truth.contacts,
        pixel_size_nm=float(pixel_size_nm),
        modality=modality,
        seed=int(seed),
        params={"kind": "large", "radius": radius, **settings},
    )


def _scatter_clusters(rng: np.random.Generator, shape: tuple[int, int], n: int, radius: float) -> Layout:
    """Clusters of n discs in all, clear of one another."""
    counts, shares = (np.array(column) for column in zip(*CLUSTERS, strict=True))
    bodies: list[Body] = []
    there = np.zeros((n, 3))  # x, y, r
    while len(bodies) < n:
        size = min(int(rng.choice(counts, p=shares / shares.sum())), n - len(bodies))
        radii = np.clip(radius * np.exp(rng.normal(0, 0.25, size)), MIN_RADIUS, MAX_RADIUS)
        style = str(rng.choice(["chain", "branched", "compact", "ring"])) if size > 2 else "chain"
        discs = np.array(grow_cluster(rng, radii, rng.uniform(0.2, 0.6), rng.uniform(0, 1), style))
        discs[:, :2] -= discs[:, :2].mean(axis=0)
        for _ in range(_TRIES):
            moved = discs + [rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 0]
            known = there[: len(bodies)]
            apart = np.hypot(moved[:, None, 0] - known[:, 0], moved[:, None, 1] - known[:, 1])
            if not len(known) or (apart - moved[:, None, 2] - known[:, 2]).min() > GAP_PX + 2:
                there[len(bodies) : len(bodies) + len(moved)] = moved
                bodies += [disc(*one) for one in moved.tolist()]
                break
        else:
            raise InputError(f"Only {len(bodies)} of {n} particles find room; ask for fewer or smaller ones.")
    return Layout(bodies, find_bonds(bodies, 0.4, rng, 0.2))


def _window_maps(layout: Layout, warp: Warp, corner: tuple[int, int], shape: tuple[int, int]) -> Maps:
    """The geometry seen through a window whose top left pixel is ``corner`` (x, y); labels number the bodies of the
    whole."""
    x0, y0 = corner
    reach = np.array([body.reach for body in layout.bodies]) + warp.reach + 4
    x = np.array([body.x for body in layout.bodies]) - x0
    y = np.array([body.y for body in layout.bodies]) - y0
    near = (x > -reach) & (y > -reach) & (x < shape[1] + reach) & (y < shape[0] + reach)
    # a neck needs both its discs, even if one of them lies outside
    bonds = [bond for bond in layout.bonds if near[bond.i] or near[bond.j]]
    for bond in bonds:
        near[[bond.i, bond.j]] = True
    chosen = np.flatnonzero(near)
    number = {int(k): at for at, k in enumerate(chosen)}
    bodies = [replace(layout.bodies[k], x=float(x[k]), y=float(y[k])) for k in chosen]
    local = [Bond(number[b.i], number[b.j], b.x, b.u, b.rho) for b in bonds if near[b.i] and near[b.j]]
    waves = warp.waves.copy()
    waves[:, 2] += waves[:, 0] * x0 + waves[:, 1] * y0  # the displacement belongs to the place, not to the window
    maps = rasterise(bodies, local, shape, Warp(waves))
    return replace(maps, labels=np.r_[0, chosen + 1].astype(np.int32)[maps.labels])
