"""The kinds of material scenes: who paints them, in which modalities, at which sizes."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_micro.sim.materials.painted import Painter
from lisa_micro.sim.materials.painters.coated import paint_core_shell
from lisa_micro.sim.materials.painters.composite import paint_agglomerates
from lisa_micro.sim.materials.painters.dense import paint_dense_matrix
from lisa_micro.sim.materials.painters.facets import paint_overlapping_facets
from lisa_micro.sim.materials.painters.fibres import paint_fibres
from lisa_micro.sim.materials.painters.holes import paint_holes
from lisa_micro.sim.materials.painters.layers import paint_layers
from lisa_micro.sim.materials.painters.loops import paint_dislocation_loops
from lisa_micro.sim.materials.painters.polycrystal import paint_polycrystal
from lisa_micro.sim.materials.painters.powder import paint_powder
from lisa_micro.sim.materials.painters.precipitates import paint_precipitates
from lisa_micro.sim.materials.painters.rock import paint_rock
from lisa_micro.sim.materials.painters.small import paint_small_dense
from lisa_micro.sim.materials.painters.supported import paint_supported


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
    "dense_matrix": Kind(paint_dense_matrix, (0.2, 0.1, 0.7), (50, 5000)),
    "supported": Kind(paint_supported, (0.25, 0.6, 0.15), (1, 20)),
    "small_dense": Kind(paint_small_dense, (0.6, 0.2, 0.2), (2, 50)),
    "overlapping_facets": Kind(paint_overlapping_facets, (0.7, 0.1, 0.2), (10, 300)),
    "polycrystal": Kind(paint_polycrystal, (0.2, 0.05, 0.75), (50, 50000)),
    "precipitates": Kind(paint_precipitates, (0.15, 0.05, 0.8), (20, 3000)),
    "layers": Kind(paint_layers, (0.12, 0.06, 0.82), (20, 50000)),
    "dislocation_loops": Kind(paint_dislocation_loops, (0.9, 0.05, 0.05), (3, 60)),
    "powder": Kind(paint_powder, (0.0, 0.0, 1.0), (2000, 80000)),
    "agglomerates": Kind(paint_agglomerates, (0.2, 0.05, 0.75), (10, 200)),
    "rock": Kind(paint_rock, (0.0, 0.0, 1.0), (20000, 1000000)),
}
