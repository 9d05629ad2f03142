"""Folders of small images with known discs for tests of batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from lisa_micro.batch.collect import TABLES


def disc_image(seed: int, side: int = 48, discs: int = 6) -> np.ndarray:
    """``(side, side)`` uint8: discs of brightness 200 on a darker background; the corner pixel is 0."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 60, (side, side)).astype(np.uint8)
    rows, columns = np.mgrid[:side, :side]
    for _ in range(discs):
        y, x = rng.uniform(4, side - 4, 2)
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(2, 4) ** 2] = 200
    pixels[0, 0] = 0
    return pixels


def write_image(path: Path, pixels: np.ndarray, nm: float | None = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if nm is None:
        tifffile.imwrite(path, pixels)
    else:
        tifffile.imwrite(path, pixels, imagej=True, resolution=(1 / nm, 1 / nm), metadata={"unit": "nm"})
    return path


def make_folder(root: Path, number: int = 9, groups: int = 3, **how) -> Path:
    """``number`` images in the folders A, B, C ..."""
    for k in range(number):
        write_image(root / "ABCDEFGH"[k % groups] / f"film_{k:03}.tif", disc_image(k, **how))
    return root


def marked(value: int) -> np.ndarray:
    """An image whose corner pixel asks the stand-in for a fault."""
    pixels = np.zeros((48, 48), np.uint8)
    pixels[0, 0] = value
    return pixels


def tables(folder: Path) -> dict[str, bytes]:
    """The tables of a run that must not depend on how it was run: all but that of the seconds."""
    return {name: (folder / name).read_bytes() for name in TABLES if name != "timings.csv"}
