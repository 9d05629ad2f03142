"""Simulated micrographs of materials: fibres, precipitates, polycrystals, layers, holes, with exact truth."""

from lisa_micro.sim.materials.kinds import MATERIAL_KINDS
from lisa_micro.sim.materials.painted import CONCEPTS
from lisa_micro.sim.materials.rod_video import RodVideo, simulate_rod_video
from lisa_micro.sim.materials.scene import MaterialScene, simulate_material

__all__ = ["CONCEPTS", "MATERIAL_KINDS", "MaterialScene", "RodVideo", "simulate_material", "simulate_rod_video"]
