"""Simulated micrographs of sintering particles with exact truth. Uses nothing of ``lisa_micro.measure``."""

from lisa_micro.sim.cache import cache_scenes, load_scene, save_scene
from lisa_micro.sim.layouts import KINDS
from lisa_micro.sim.render import MODALITIES
from lisa_micro.sim.scene import Scene, simulate_scene

__all__ = [
    "KINDS",
    "MODALITIES",
    "Scene",
    "cache_scenes",
    "load_scene",
    "save_scene",
    "simulate_scene",
]
