"""The kinds of material scenes: who paints them, in which modalities, at which sizes."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_micro.sim.materials.coated import paint_core_shell
from lisa_micro.sim.materials.fibres import paint_fibres
from lisa_micro.sim.materials.holes import paint_holes
from lisa_micro.sim.materials.painted import Painter


@dataclass(frozen=True)
class Kind:
    """One kind of scene.

    Attributes:
        paint: draws it.
        modality_shares: how often bright-field TEM, HAADF-STEM and SEM are drawn.
        size_nm: range of the typical size of its objects in nm, from which the pixel size is drawn.
    """

    paint: Painter
    modality_shares: tuple[float, float, float]
    size_nm: tuple[float, float]


MATERIAL_KINDS: dict[str, Kind] = {
    "fibres": Kind(paint_fibres, (0.35, 0.15, 0.5), (5, 5000)),
    "core_shell": Kind(paint_core_shell, (0.6, 0.25, 0.15), (5, 500)),
    "holes": Kind(paint_holes, (0.5, 0.3, 0.2), (50, 3000)),
}
