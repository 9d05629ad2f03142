"""A contact sheet: many micrographs in one picture, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from lisa_micro.sim.scene import Scene

COLOURS = {"particles": (0.2, 0.9, 0.3), "pores": (0.2, 0.6, 1.0), "necks": (1.0, 0.25, 0.2)}


def contact_sheet(
    scenes: Sequence[Scene | np.ndarray], columns: int = 6, tile: int = 256, truth: bool = False, gap: int = 4
) -> np.ndarray:
    """Micrographs side by side, simulated and real mixed as given.

    Args:
        scenes: scenes, or grey images ``(H, W)`` of any range (each is stretched to its own).
        columns: tiles in a row.
        tile: side of a tile in px; images are scaled to fit, aspect kept.
        truth: draw the edges of particles (green) and pores (blue) and fill necks (red); scenes only.
        gap: px between tiles.

    Returns:
        ``(rows * tile, columns * tile, 3)`` uint8, with gaps.

    Raises:
        ValueError: where there is nothing to show.
    """
    if not len(scenes):
        raise ValueError("no scenes to show")
    rows = -(-len(scenes) // columns)
    sheet = np.zeros((rows * (tile + gap), columns * (tile + gap), 3), np.float32)
    for k, scene in enumerate(scenes):
        picture = _picture(scene, tile, truth)
        top, left = (k // columns) * (tile + gap), (k % columns) * (tile + gap)
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return np.rint(np.clip(sheet, 0, 1) * 255).astype(np.uint8)


def _picture(scene: Scene | np.ndarray, tile: int, truth: bool) -> np.ndarray:
    pixels = scene.pixels if isinstance(scene, Scene) else np.asarray(scene, np.float32)
    scale = tile / max(pixels.shape)
    size = tuple(max(1, round(n * scale)) for n in pixels.shape)
    if isinstance(scene, Scene):
        low, high = 0.0, 1.0
    else:
        low, high = float(pixels.min()), float(pixels.max())
    grey = resize((pixels - low) / max(high - low, 1e-9), size, order=1, anti_aliasing=scale < 1)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    if truth and isinstance(scene, Scene):
        row = np.minimum((np.arange(size[0]) / scale).astype(int), pixels.shape[0] - 1)
        column = np.minimum((np.arange(size[1]) / scale).astype(int), pixels.shape[1] - 1)
        for name, colour in COLOURS.items():
            labels = getattr(scene, name)[np.ix_(row, column)]
            where = labels > 0 if name == "necks" else find_boundaries(labels, mode="inner")
            picture[where] = 0.45 * picture[where] + 0.55 * np.array(colour, np.float32)
    return picture
