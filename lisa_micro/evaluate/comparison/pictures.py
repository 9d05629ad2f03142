"""Pictures for comparisons: difference of two masks, IoU per object, disagreement of wordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lisa_micro.io import to_unit_range

ONLY_ONE, ONLY_OTHER, BOTH = (230, 85, 13), (31, 119, 180), (120, 120, 120)
LONGEST_PX = 2000


def difference_map(pixels: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Show where two masks differ.

    Returns:
        ``(H, W, 3)`` uint8: the micrograph in grey, orange in the first mask only, blue in the second only, and shaded
        in both.
    """
    grey = np.repeat((to_unit_range(pixels) * 255).astype(np.uint8)[..., None], 3, axis=2).astype(np.float32)
    for where, colour, strength in (
        (one & other, BOTH, 0.35),
        (one & ~other, ONLY_ONE, 0.85),
        (other & ~one, ONLY_OTHER, 0.85),
    ):
        grey[where] = grey[where] * (1 - strength) + np.array(colour) * strength
    return grey.round().astype(np.uint8)


def shrunk(picture: np.ndarray, longest: int = LONGEST_PX) -> np.ndarray:
    """Scale a picture ``(H, W, 3)`` uint8 down so that its longer side is at most ``longest`` px."""
    from PIL import Image

    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def scatter(objects: pd.DataFrame, one: str, other: str, path: Path) -> None:
    """Write a scatter plot of the IoU of each object, ``one`` against ``other``; marker size shows the diameter."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.subplots()
    x, y = objects[f"IoU {other}"], objects[f"IoU {one}"]
    diameter = np.sqrt(objects["area_px2"].to_numpy(float) * 4 / np.pi)
    size = 10 + 70 * diameter / max(float(diameter.max(initial=0.0)), 1.0)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.scatter(x, y, s=size, alpha=0.55, color="#1f77b4", edgecolor="white", linewidth=0.5)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=f"IoU by {other}", ylabel=f"IoU by {one}")
    axes.set_title(f"{len(objects)} objects; above the line {one} did better", fontsize=10)
    axes.set_aspect("equal")
    figure.savefig(path, dpi=130, format="png")


def uncertainty_picture(pixels: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8: the micrograph in grey, shaded yellow to red where wordings disagree."""
    from matplotlib import colormaps

    grey = np.repeat((to_unit_range(pixels) * 255)[..., None], 3, axis=2)
    veil = colormaps["autumn_r"](uncertainty)[..., :3] * 255
    alpha = np.clip(uncertainty, 0, 1)[..., None] * 0.85
    return (grey * (1 - alpha) + veil * alpha).round().astype(np.uint8)
