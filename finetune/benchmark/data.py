"""Images and masks of a benchmark: reading, splitting, tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lisa_micro.datasets.readers import Examples, read_folder, read_record_folder
from lisa_micro.datasets.records import FILE_NAME
from lisa_micro.datasets.splits import validation_names
from lisa_micro.types import InputError
from lisa_micro_finetune.data.crops import photometric
from lisa_micro_finetune.data.sources import to_bytes

LAYOUTS = {"tem-sintering": ("labels", "mask"), "emps": ("segmaps", "instances")}
"""Known data sets by the name of their folder: labels and their kind. They have a fixed list of validation images."""


@dataclass(frozen=True)
class Item:
    """One image with its truth.

    Attributes:
        name: name of the file, without extension.
        pixels: ``(H, W)`` uint8, robust contrast.
        labels: ``(H, W)`` int16 or int32 instances, 0 = background; connected components if the file has a mask.
        raw: ``(H, W)`` float32, as in the file; for held-out images only.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    raw: np.ndarray | None = None

    @property
    def mask(self) -> np.ndarray:
        """``(H, W)`` bool, all instances."""
        return self.labels > 0


@dataclass(frozen=True)
class Dataset:
    """A data set: its name, the images to train on, and the held-out images."""

    name: str
    train: list[Item]
    test: list[Item]


class TileBatch(NamedTuple):
    """B tiles.

    Attributes:
        step: the training step that they are for.
        images: ``(B, 1, T, T)`` in 0..1.
        labels: ``(B, T, T)`` int64 instances.
    """

    step: int
    images: Tensor
    labels: Tensor


def read_examples(folder: Path) -> Examples:
    """Open a folder with ``metadata.jsonl``, or with ``images`` and ``labels``.

    Instead of ``labels`` the folder may be called ``masks``, ``segmaps`` or ``annotations``.

    Raises:
        InputError: the folder does not exist, or contains none of these.
    """
    if (folder / FILE_NAME).is_file():
        return read_record_folder(folder)
    labels, kind = LAYOUTS.get(folder.resolve().name, (None, "auto"))
    if labels is not None and not (folder / labels).is_dir():  # a folder that only has the name of a known one
        labels, kind = None, "auto"
    return read_folder(folder, labels=labels, kind=kind)


def read_dataset(folder: Path, test: Path | None, share: float, seed: int) -> Dataset:
    """Read all images of a folder and split them.

    Args:
        folder: see :func:`read_examples`.
        test: another folder to evaluate on, so that all of ``folder`` is used for training. ``None``: part of
            ``folder`` is held out: the fixed list if there is one for a folder of that name, else a random choice.
        share: fraction of that choice, 0..1; at least one image.
        seed: seed of that choice.

    Raises:
        InputError: as :func:`read_examples`; an image without labels or with labels of another size; too few images.
    """
    name = folder.resolve().name
    examples = read_examples(folder)
    if test is not None:
        return Dataset(name, _items(examples, range(len(examples)), False), _items(*_all(test), True))
    if len(examples) < 2:
        raise InputError(
            f"{folder} has one image with labels; at least two are needed, or another folder given with --test."
        )
    held_out = [k for k, n in enumerate(examples.names) if name in LAYOUTS and n in validation_names(name)]
    if not 0 < len(held_out) < len(examples):
        count = min(max(1, round(share * len(examples))), len(examples) - 1)
        held_out = sorted(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    train = [k for k in range(len(examples)) if k not in set(held_out)]
    return Dataset(name, _items(examples, train, False), _items(examples, held_out, True))


def _all(folder: Path) -> tuple[Examples, range]:
    examples = read_examples(folder)
    return examples, range(len(examples))


def _items(examples: Examples, numbers: list[int] | range, with_raw: bool) -> list[Item]:
    items = []
    for number in numbers:
        example = examples[number]
        if example.labels is None:
            raise InputError(f"{example.name} has no labels; add them to the record file, or remove the image.")
        labels = example.labels.astype(np.int16 if example.labels.max(initial=0) < 2**15 else np.int32)
        raw = np.asarray(example.micrograph.pixels, np.float32) if with_raw else None
        items.append(Item(example.name, to_bytes(example.micrograph.pixels), labels, raw))
    return items


def window(array: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    """Crop ``(side, side)`` of an array ``(H, W)``, with the upper left corner at (y, x).

    Beyond its lower and right edges the array is mirrored as often as necessary.
    """
    part = array[y : y + side, x : x + side]
    while part.shape != (side, side):
        down, right = (min(side - n, n) for n in part.shape)
        part = np.pad(part, ((0, down), (0, right)), mode="symmetric")
    return part


@dataclass(frozen=True)
class TileMaker:
    """Make the batch of augmented tiles of a step, which depends on the seed and the step alone.

    Tiles are random windows of random images, turned, mirrored and slightly changed in contrast. They are not scaled
    or blurred, since labels that a recipe made at one scale would no longer match.

    Attributes:
        items: images to crop tiles from.
        tile: side T of a tile in px.
        batch: number B of tiles.
        seed: seed of the draws.
    """

    items: list[Item]
    tile: int
    batch: int
    seed: int

    def __call__(self, step: int) -> TileBatch:
        rng = np.random.default_rng((self.seed, step))
        tiles = [self._tile(rng) for _ in range(self.batch)]
        images, labels = (np.stack(parts) for parts in zip(*tiles, strict=True))
        return TileBatch(step, torch.from_numpy(images)[:, None], torch.from_numpy(labels))

    def _tile(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        item = self.items[int(rng.integers(len(self.items)))]
        y, x = (int(rng.integers(max(1, n - self.tile + 1))) for n in item.pixels.shape)
        turns, flip = int(rng.integers(4)), rng.random() < 0.5

        def cut(array: np.ndarray) -> np.ndarray:
            part = np.rot90(window(array, y, x, self.tile), turns)
            return part[:, ::-1] if flip else part

        image = photometric(cut(item.pixels).astype(np.float32) / 255, rng, gentle=True)
        return np.ascontiguousarray(image), cut(item.labels).astype(np.int64)
