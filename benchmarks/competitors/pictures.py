"""The micrographs that all methods segment, written once as 8-bit files, and the true labels beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SOURCES = ("emps", "simulated")
FIRST_SEED = 5_900_000
"""First seed of the simulated scenes that are scored; nothing was trained or chosen on scenes from here on."""
CHOOSING_SEED = 1_000
"""First seed of the simulated scenes on which settings are chosen; training uses such seeds."""


@dataclass(frozen=True)
class Picture:
    """One micrograph on disk.

    Attributes:
        name: its name in the data set, or its seed.
        image: path of the 8-bit grey TIFF that every method reads.
        truth: path of the ``(H, W)`` int32 true labels, ``.npy``.
        bright: whether particles are brighter than their surroundings, by the truth.
    """

    name: str
    image: str
    truth: str
    bright: bool

    def pixels(self) -> np.ndarray:
        """``(H, W)`` uint8."""
        import tifffile

        return tifffile.imread(self.image)

    def labels(self) -> np.ndarray:
        """``(H, W)`` int32 true labels."""
        return np.load(self.truth)


def prepare(folder: str, source: str, choosing: bool, count: int, data: str | None) -> dict[str, Any]:
    """Write the pictures of one source.

    Args:
        folder: where to.
        source: one of :data:`SOURCES`.
        choosing: the part on which settings are chosen (training images) instead of the part that is scored.
        count: number of pictures, spread evenly over the data set; 0: all of EMPS, or 40 scenes.
        data: folder that holds ``emps``; ``None``: ``LISA_MICRO_DATA``.

    Returns:
        ``pictures``: the fields of each :class:`Picture`.

    Raises:
        InputError: the data set is not found.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    read = _emps(choosing, count, data) if source == "emps" else _scenes(choosing, count)
    return {"pictures": [asdict(write(place, name, pixels, labels)) for name, pixels, labels in read]}


def write(folder: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> Picture:
    """Write one micrograph, scaled to 8 bits with robust contrast, and its labels."""
    import tifffile

    from lisa_micro.io import to_unit_range

    grey = np.rint(255 * to_unit_range(pixels)).astype(np.uint8)
    image, truth = folder / f"{name}.tif", folder / f"{name}-truth.npy"
    tifffile.imwrite(image, grey)
    np.save(truth, labels.astype(np.int32))
    return Picture(name, str(image), str(truth), particles_are_bright(grey, labels))


def particles_are_bright(grey: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the mean intensity of the particles exceeds that of the rest, which a person sees at a glance."""
    inside = labels > 0
    if inside.all() or not inside.any():
        return True
    return bool(grey[inside].mean() > grey[~inside].mean())


def _emps(choosing: bool, count: int, data: str | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    from lisa_micro.datasets.readers import read_emps

    part = read_emps("train" if choosing else "validation", data)
    for k in np.linspace(0, len(part) - 1, min(count, len(part)) or len(part)).astype(int):
        example = part[int(k)]
        assert example.labels is not None
        yield example.name, example.micrograph.pixels, example.labels


def _scenes(choosing: bool, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    from lisa_micro.evaluate.scenes import scenes

    wanted, made = count or 40, 0
    for scene in scenes(10 * wanted, CHOOSING_SEED if choosing else FIRST_SEED):
        if scene.particles.any() and made < wanted:  # sizes of nothing cannot be compared
            made += 1
            yield str(scene.seed), scene.pixels, scene.particles
