"""Simulated micrographs and videos of sintering particles with exact truth. Uses nothing of
``lisa_micro.measure``, so that each can check the other."""

from lisa_micro.sim.files.cache import cache_scenes, load_scene, save_scene
from lisa_micro.sim.files.sheet import contact_sheet
from lisa_micro.sim.files.write import write_scene, write_simulation, write_video
from lisa_micro.sim.growth import MECHANISMS, growth_constant, neck_ratio
from lisa_micro.sim.large import simulate_large
from lisa_micro.sim.layouts import KINDS
from lisa_micro.sim.materials import (
    MATERIAL_KINDS,
    MaterialScene,
    RodVideo,
    simulate_material,
    simulate_rod_video,
)
from lisa_micro.sim.render import MODALITIES
from lisa_micro.sim.scene import Scene, simulate_scene
from lisa_micro.sim.video import Video, simulate_sintering

__all__ = [
    "KINDS",
    "MATERIAL_KINDS",
    "MECHANISMS",
    "MODALITIES",
    "MaterialScene",
    "RodVideo",
    "Scene",
    "Video",
    "cache_scenes",
    "contact_sheet",
    "growth_constant",
    "load_scene",
    "neck_ratio",
    "save_scene",
    "simulate_large",
    "simulate_material",
    "simulate_rod_video",
    "simulate_scene",
    "simulate_sintering",
    "write_scene",
    "write_simulation",
    "write_video",
]
