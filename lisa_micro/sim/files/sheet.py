"""A contact sheet: many micrographs in one picture, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from lisa_micro.sim.materials import MaterialScene
from lisa_micro.sim.scene import Scene

COLOURS = {
    "particle": (0.2, 0.9, 0.3),
    "grain": (0.2, 0.9, 0.3),
    "fibre": (1.0, 0.6, 0.0),
    "precipitate": (0.0, 0.9, 0.9),
    "agglomerate": (0.0, 0.9, 0.9),
    "layer": (0.0, 0.9, 0.9),
    "dislocation_loop": (0.2, 0.9, 0.3),
    "shell": (0.2, 0.9, 0.3),
    "core": (1.0, 0.25, 0.2),
    "hole": (1.0, 0.0, 1.0),
    "satellite": (1.0, 0.25, 0.8),
    "pore": (0.2, 0.6, 1.0),
    "annotation": (1.0, 0.5, 0.5),
    "neck": (1.0, 0.25, 0.2),
    "crack": (1.0, 0.1, 0.1),
    "grain_boundary": (1.0, 0.9, 0.0),
}
"""Colour of each concept's contours; :data:`FILLED` ones are filled."""
FILLED = ("neck", "crack", "grain_boundary")


def contact_sheet(
    scenes: Sequence[Scene | MaterialScene | np.ndarray],
    columns: int = 6,
    tile: int = 256,
    truth: bool = False,
    gap: int = 4,
) -> np.ndarray:
    """Micrographs side by side, simulated and real mixed as given.

    Args:
        scenes: scenes, or grey images ``(H, W)`` of any range (each is stretched to its own).
        columns: tiles in a row.
        tile: side of a tile in px; images are scaled to fit, aspect kept.
        truth: draw the contours of what is labelled in the colours of :data:`COLOURS`, and fill necks, cracks and
            grain boundaries; scenes only.
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


def _picture(scene: Scene | MaterialScene | np.ndarray, tile: int, truth: bool) -> np.ndarray:
    simulated = isinstance(scene, Scene | MaterialScene)
    pixels = scene.pixels if isinstance(scene, Scene | MaterialScene) else np.asarray(scene, np.float32)
    scale = tile / max(pixels.shape)
    size = tuple(max(1, round(n * scale)) for n in pixels.shape)
    low, high = (0.0, 1.0) if simulated else (float(pixels.min()), float(pixels.max()))
    grey = resize((pixels - low) / max(high - low, 1e-9), size, order=1, anti_aliasing=scale < 1)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    if truth and isinstance(scene, Scene | MaterialScene):
        row = np.minimum((np.arange(size[0]) / scale).astype(int), pixels.shape[0] - 1)
        column = np.minimum((np.arange(size[1]) / scale).astype(int), pixels.shape[1] - 1)
        for concept, labels in _truth(scene).items():
            shown = labels[np.ix_(row, column)]
            where = shown > 0 if concept in FILLED else find_boundaries(shown, mode="inner")
            picture[where] = 0.45 * picture[where] + 0.55 * np.array(COLOURS[concept], np.float32)
    return picture


def _truth(scene: Scene | MaterialScene) -> dict[str, np.ndarray]:
    """Labels of what a sheet shows, filled concepts last."""
    if isinstance(scene, MaterialScene):
        return {c: scene.labels[c] for c in COLOURS if c in scene.labels and scene.labels[c].any()}
    return {"particle": scene.particles, "pore": scene.pores, "neck": scene.necks}
