"""Simulated micrographs of materials beyond sintering particles, with exact truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lisa_micro.sim.materials.annotation import burn
from lisa_micro.sim.materials.detector import expose
from lisa_micro.sim.materials.kinds import MATERIAL_KINDS
from lisa_micro.sim.materials.painted import CONCEPTS, Draw, log_uniform
from lisa_micro.sim.render import MODALITIES
from lisa_micro.types import InputError

LEAST_SIDE_PX = 64
ANNOTATED_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class MaterialScene:
    """A micrograph and the truth of what is on it.

    Attributes:
        pixels: ``(H, W)`` float32, intensities 0..1.
        labels: ``(H, W)`` int32 per concept, 0 = none, instance k where the value is k, without gaps. A concept that is
            known to be absent has a map of zeros; one whose truth is ambiguous in this kind of scene is left out.
            Labels go on under letters and bars, but not under boxes and banners.
        kind: one of :data:`MATERIAL_KINDS`.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"`` or ``"SEM"``.
        pixel_size_nm: edge of a pixel in nm.
        seed: with the arguments of :func:`simulate_material` it gives the same scene again.
        params: what was drawn; ``snr``, ``contrast`` and ``noise_sigma`` describe the noise.
    """

    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    kind: str
    modality: str
    pixel_size_nm: float
    seed: int
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` in px."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


def simulate_material(
    seed: int,
    kind: str | None = None,
    shape: tuple[int, int] = (512, 512),
    *,
    modality: str | None = None,
    noise: float | None = None,
    annotate: bool | None = None,
) -> MaterialScene:
    """A random scene of a material.

    Args:
        seed: the same seed and arguments give the same scene, bit for bit. Geometry depends on neither modality nor
            noise.
        kind: a key of :data:`MATERIAL_KINDS`, or ``None`` for any.
        shape: ``(H, W)`` px, each at least 64.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"``, or ``None`` for one that suits the kind.
        noise: signal-to-noise ratio, the contrast of the objects over the standard deviation of the noise; above 0,
            infinity for none; drawn between 0.3 and 100 where ``None``.
        annotate: letters, scale bar, banner, arrows: drawn by chance where ``None``, at least one where true, never
            where false.

    Raises:
        InputError: for a kind, shape, modality or noise that cannot be.
    """
    shape = (int(shape[0]), int(shape[1]))
    if min(shape) < LEAST_SIDE_PX:
        raise InputError(
            f"Shape {shape[0]} x {shape[1]} px is too small; give at least {LEAST_SIDE_PX} x {LEAST_SIDE_PX}."
        )
    if kind is not None and kind not in MATERIAL_KINDS:
        raise InputError(f"Unknown kind of material scene {kind!r}; choose one of {', '.join(MATERIAL_KINDS)}.")
    if modality is not None and modality not in MODALITIES:
        raise InputError(f"Unknown modality {modality!r}; choose one of {', '.join(MODALITIES)}.")
    if noise is not None and (math.isnan(noise) or not noise > 0):
        raise InputError(f"The signal-to-noise ratio must be above 0, not {noise:g}.")
    place, look, grain, marks = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, 77]).spawn(4))
    drawn_kind = str(look.choice(list(MATERIAL_KINDS)))
    kind = kind or drawn_kind
    spec = MATERIAL_KINDS[kind]
    drawn_modality = str(look.choice(MODALITIES, p=spec.modality_shares))
    modality = modality or drawn_modality
    draw = Draw(place, look, shape, modality)
    painted = spec.paint(draw)
    pixels, settings = expose(painted, draw, grain, noise)
    size_nm = log_uniform(marks, *spec.size_nm)
    pixel_size_nm = float(f"{size_nm / max(painted.size, 1.0):.4g}")
    labels = dict(painted.labels)
    opaque = None
    if annotate or (annotate is None and marks.random() < ANNOTATED_SHARE):
        bright = float(np.median(pixels[::4, ::4])) > 0.5
        overlay, labels["annotation"] = burn(marks, shape, pixel_size_nm, bright, modality == "SEM", bool(annotate))
        pixels = np.clip(overlay.over(pixels), 0, 1).astype(np.float32)
        opaque = overlay.opaque if overlay.opaque.any() else None
    else:
        labels["annotation"] = np.zeros(shape, np.int32)
    params = {**painted.params, **settings}
    return MaterialScene(pixels, _finish(labels, painted.absent, opaque), kind, modality, pixel_size_nm, seed, params)


def _finish(labels: dict[str, np.ndarray], absent: tuple[str, ...], opaque: np.ndarray | None) -> dict[str, np.ndarray]:
    """Labels of all judged concepts in the order of :data:`CONCEPTS`, without what boxes hide, without gaps."""
    out = {}
    for concept in CONCEPTS:
        if concept in labels:
            one = labels[concept].astype(np.int32)
            if opaque is not None and concept != "annotation":
                one[opaque] = 1 if concept == "substrate" else 0  # as in Scene: all that is not particle
            out[concept] = without_gaps(one)
        elif concept in absent:
            out[concept] = np.zeros(next(iter(labels.values())).shape, np.int32)
    return out


def without_gaps(labels: np.ndarray) -> np.ndarray:
    """The same labels numbered 1..n, order kept, int32."""
    there = np.bincount(labels.ravel()) > 0
    there[0] = False
    return (np.cumsum(there) * there).astype(np.int32)[labels]
