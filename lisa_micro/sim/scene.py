"""A simulated micrograph with exact truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lisa_micro.sim.layouts import Layout, make_layout
from lisa_micro.sim.overlay import Overlay, random_overlay
from lisa_micro.sim.raster import Warp, no_warp, random_warp, rasterise
from lisa_micro.sim.render import MODALITIES, render
from lisa_micro.sim.shells import add_cores, shell_labels
from lisa_micro.sim.truth import Truth, derive_truth
from lisa_micro.types import InputError

MODALITY_SHARES = (0.45, 0.2, 0.35)
DIAMETERS_NM = {"BF-TEM": (3, 500), "HAADF-STEM": (2, 200), "SEM": (40, 5000)}
"""Range of typical particle diameters, from which a pixel size is drawn."""


@dataclass(frozen=True)
class Scene:
    """A micrograph and what is on it. Images are ``(H, W)``; coordinates are x, y in px, pixel centres at
    whole numbers; labels are int32, 0 = none, instance k where the value is k, without gaps.

    Attributes:
        pixels: float32, intensities 0..1.
        particles: instance labels, the visible part of each particle.
        necks: instance labels; neck k is row k - 1 of ``neck_table``. Where two necks' bands meet, a
            pixel belongs to the nearer chord.
        pores: instance labels of background enclosed by particles.
        agglomerates: instance labels of clusters of three or more particles in contact.
        substrate: bool, all that is not particle (pores, letters, bars and banners are substrate too).
        overlay: bool, panel letters, scale bars and banners. Labels go on under letters and bars, which leave
            the particle visible around them, but not under boxes and banners.
        neck_table: one dict a neck: ``label``; ``a``, ``b`` particle labels; ``x0, y0, x1, y1`` the ends of
            the chord; ``x_px`` half the chord; ``R_px`` the mean radius of the two particles; ``x_over_R``;
            ``cx, cy`` the middle of the chord; ``fused`` true for a sintered neck, false where one particle
            lies on another; ``at_border`` true where the image's border cuts the chord.
        centres: ``(n, 2)`` float64, centre of particle k in row k - 1; may lie outside the image.
        radii: ``(n,)`` float64, radius in px of the disc of the particle's area, hidden parts included.
        contacts: ``(m, 2)`` int64, pairs of particle labels in contact.
        pixel_size_nm: edge of a pixel in nm.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"`` or ``"SEM"``.
        cores, shells: instance labels of core-shell particles; ``None`` in scenes without.
        seed: with the arguments of :func:`simulate_scene` it gives the same scene again.
        params: kind of scene and settings of the renderer.
    """

    pixels: np.ndarray
    particles: np.ndarray
    necks: np.ndarray
    pores: np.ndarray
    agglomerates: np.ndarray
    substrate: np.ndarray
    overlay: np.ndarray
    neck_table: list[dict[str, Any]]
    centres: np.ndarray
    radii: np.ndarray
    contacts: np.ndarray
    pixel_size_nm: float
    modality: str
    seed: int
    params: dict[str, Any] = field(default_factory=dict)
    cores: np.ndarray | None = None
    shells: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` in px."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def labels(self, concept: str) -> np.ndarray:
        """``(H, W)`` int32 instance labels of a concept (substrate and annotation are one instance each).

        Raises:
            InputError: for a concept that does not exist.
        """
        concepts = {
            "particle": self.particles,
            "neck": self.necks,
            "pore": self.pores,
            "agglomerate": self.agglomerates,
        }
        if self.shells is not None and self.cores is not None:
            concepts |= {"core": self.cores, "shell": self.shells}
        if concept == "substrate":
            return self.substrate.astype(np.int32)
        if concept == "annotation":
            return self.overlay.astype(np.int32)
        if concept not in concepts:
            raise InputError(f"no concept {concept!r}; choose one of {', '.join(concepts)}, substrate, annotation")
        return concepts[concept]


def simulate_scene(
    seed: int,
    shape: tuple[int, int] = (512, 512),
    modality: str | None = None,
    kind: str | None = None,
    pixel_size_nm: float | None = None,
    *,
    annotate: bool | None = None,
    core_shell: float | None = None,
) -> Scene:
    """A random scene.

    Args:
        seed: the same seed and arguments give the same scene, bit for bit. Geometry does not depend on the
            modality.
        shape: ``(H, W)`` px, each at least 16.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"``, or ``None`` for any.
        kind: a key of :data:`lisa_micro.sim.layouts.KINDS`, or ``None`` for any.
        pixel_size_nm: edge of a pixel in nm; drawn to give particles of :data:`DIAMETERS_NM` where ``None``.
        annotate: letters, scale bar and banner: drawn by chance where ``None``, never where false.
        core_shell: share of the particles that have a core and a shell, 0..1; ``None``: none, and no such labels.

    Raises:
        InputError: for a shape, modality, kind or pixel size that cannot be.
    """
    shape = (int(shape[0]), int(shape[1]))
    if min(shape) < 16:
        raise InputError(f"a scene of {shape[0]} x {shape[1]} px is too small: give at least 16 x 16")
    if modality is not None and modality not in MODALITIES:
        raise InputError(f"no modality {modality!r}; choose one of {', '.join(MODALITIES)}")
    if pixel_size_nm is not None and not pixel_size_nm > 0:
        raise InputError("the pixel size must be positive")
    if core_shell is not None and not 0 <= core_shell <= 1:
        raise InputError(f"the share of core-shell particles must lie between 0 and 1, not {core_shell:g}")
    place, look, marks, inner = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    kind, layout = make_layout(place, shape, kind)
    radius = typical_radius(layout, shape)
    warp = random_warp(place, radius) if place.random() < 0.55 else no_warp()
    drawn = str(look.choice(MODALITIES, p=MODALITY_SHARES))
    modality = modality or drawn
    size = float(np.exp(look.uniform(*np.log(DIAMETERS_NM[modality])))) / (2 * radius)
    pixel_size_nm = float(f"{size:.4g}") if pixel_size_nm is None else float(pixel_size_nm)
    overlay = None
    if annotate is not False:
        bright = modality == "BF-TEM"
        overlay = random_overlay(marks, shape, pixel_size_nm, bright, modality == "SEM")
    coating = None if core_shell is None else (inner, core_shell)
    params = {"kind": kind}
    return compose(layout, warp, shape, radius, modality, look, overlay, pixel_size_nm, seed, params, coating=coating)


def typical_radius(layout: Layout, shape: tuple[int, int]) -> float:
    """Median radius in px of the particles of a layout (of an empty one: a twentieth of the short side)."""
    radii = [0.5 * (body.a + body.b) for body in layout.bodies]
    return float(np.median(radii)) if radii else 0.05 * min(shape)


def compose(
    layout: Layout,
    warp: Warp,
    shape: tuple[int, int],
    radius: float,
    modality: str,
    rng: np.random.Generator,
    overlay: Overlay | None,
    pixel_size_nm: float,
    seed: int,
    params: dict[str, Any],
    noise: float | None = None,
    coating: tuple[np.random.Generator, float] | None = None,
) -> Scene:
    """Rasterise, render and annotate a layout; truth from its geometry. ``coating``: what draws cores and shells, and
    the share of the particles that have them."""
    maps = rasterise(layout.bodies, layout.bonds, shape, warp)
    opaque = overlay.opaque if overlay is not None and overlay.opaque.any() else None
    truth: Truth = derive_truth(layout.bodies, layout.bonds, maps, warp, opaque)
    cores = shells = None
    if coating is not None:
        inner = add_cores(layout.bodies, maps, warp, *coating)
        cores, shells = shell_labels(inner, truth.particles, truth.source)
        maps, params = inner.maps, {**params, **inner.settings}
    pixels, settings = render(maps, radius, modality, rng, noise)
    if overlay is not None:
        pixels = np.clip(overlay.over(pixels), 0, 1)
    return Scene(
        pixels=pixels,
        particles=truth.particles,
        necks=truth.necks,
        pores=truth.pores,
        agglomerates=truth.agglomerates,
        substrate=truth.particles == 0,
        overlay=np.zeros(shape, bool) if overlay is None else overlay.mask,
        neck_table=truth.neck_table,
        centres=truth.centres,
        radii=truth.radii,
        contacts=truth.contacts,
        pixel_size_nm=pixel_size_nm,
        modality=modality,
        seed=int(seed),
        params={**params, **settings, "warped": bool(len(warp.waves))},
        cores=cores,
        shells=shells,
    )
