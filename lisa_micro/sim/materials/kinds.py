"""The kinds of material scenes: who paints them, in which modalities, at which sizes."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_micro.sim.materials.fibres import paint_fibres
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
}
