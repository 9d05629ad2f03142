"""Sample micrographs of the simulator, for napari's menu *File > Open Sample*."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lisa_micro.io import read_micrograph
from lisa_micro.napari.layers import LayerData, image_layer, scaled
from lisa_micro.types import InputError


def sintering_tem() -> list[LayerData]:
    """Sintering particles, bright-field TEM."""
    return _sample("sintering_tem")


def sintering_stem() -> list[LayerData]:
    """Sintering particles, HAADF-STEM."""
    return _sample("sintering_stem")


def sintering_sem() -> list[LayerData]:
    """Sintering particles, SEM."""
    return _sample("sintering_sem")


def coalescence() -> list[LayerData]:
    """Particles that move and coalesce, 24 frames of 160 x 160 px; simulated when it is opened."""
    from lisa_micro.sim import simulate_sintering
    from lisa_micro.sim.video import Video

    video = simulate_sintering(seed=4, frames=24, shape=(160, 160), n_particles=7)
    assert isinstance(video, Video)  # several frames were asked for
    frames = np.stack([np.asarray(frame, np.float32) for frame in video])
    place = scaled(video.pixel_size_nm, video.frame_time_s, frames=True)
    return [(frames, {"name": "coalescence", **place}, "image")]


def _sample(name: str) -> list[LayerData]:
    spec = find_spec("lisa_micro_samples")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    for folder in folders:
        path = folder / f"{name}.tif"
        if path.is_file():
            return [image_layer(read_micrograph(path), name)]
    raise InputError(f"The sample {name} is not installed; install lisa-micro again.")
