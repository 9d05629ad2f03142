"""Images and masks of a benchmark: read, divided, cut into tiles."""

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
"""Folders whose names tell how they are laid out, and for which there is a fixed list of validation images."""


@dataclass(frozen=True)
class Item:
    """One image with its truth.

    Attributes:
        name: of the file, without extension.
        pixels: ``(H, W)`` uint8, robust contrast.
        labels: ``(H, W)`` int16 or int32 instances, 0 = background; connected components where the file has a mask.
        raw: ``(H, W)`` float32, as the file has it; kept for held-out images only.
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
    """What is trained on, what is judged on, and what both are called."""

    name: str
    train: list[Item]
    test: list[Item]


class TileBatch(NamedTuple):
    """B tiles: ``images`` ``(B, 1, T, T)`` in 0..1, ``labels`` ``(B, T, T)`` int64 instances, and the step they are
    for."""

    step: int
    images: Tensor
    labels: Tensor


def read_examples(folder: Path) -> Examples:
    """The examples of a folder: ``metadata.jsonl`` (:mod:`lisa_micro.datasets.records`), or ``images`` and one of
    ``labels``, ``masks``, ``segmaps``, ``annotations``.

    Raises:
        InputError: no such folder, or none of these in it.
    """
    if (folder / FILE_NAME).is_file():
        return read_record_folder(folder)
    labels, kind = LAYOUTS.get(folder.resolve().name, (None, "auto"))
    if labels is not None and not (folder / labels).is_dir():  # only called like a known one
        labels, kind = None, "auto"
    return read_folder(folder, labels=labels, kind=kind)


def read_dataset(folder: Path, test: Path | None, share: float, seed: int) -> Dataset:
    """All images of a folder, divided.

    Args:
        folder: see :func:`read_examples`.
        test: another folder to judge on; all of ``folder`` is then trained on. None: part of ``folder`` is held out:
            the fixed list where there is one for a folder of that name, else ``share`` of it by chance.
        share: 0..1, at least one image. seed: of that chance.

    Raises:
        InputError: as :func:`read_examples`; an image without labels or with labels of another size; too few images.
    """
    name = folder.resolve().name
    examples = read_examples(folder)
    if test is not None:
        return Dataset(name, _items(examples, range(len(examples)), False), _items(*_all(test), True))
    if len(examples) < 2:
        raise InputError(f"{folder} has one image with labels; give at least two, or judge on others with --test")
    held_out = [k for k, n in enumerate(examples.names) if name in LAYOUTS and n in validation_names(name)]
    if not 0 < len(held_out) < len(examples):
        count = min(max(1, round(share * len(examples))), len(examples) - 1)
        held_out = sorted(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    train = [k for k in range(len(examples)) if k not in set(held_out)]
    return Dataset(name, _items(examples, train, False), _items(examples, held_out, True))


def _all(folder: Path) -> tuple[Examples, range]:
    examples = read_examples(folder)
    return examples, range(len(examples))


def _items(examples: Examples, numbers: list[int] | range, keep_raw: bool) -> list[Item]:
    items = []
    for number in numbers:
        example = examples[number]
        if example.labels is None:
            raise InputError(f"{example.name} has no labels; name them in the record file, or leave the image out")
        labels = example.labels.astype(np.int16 if example.labels.max(initial=0) < 2**15 else np.int32)
        raw = np.asarray(example.micrograph.pixels, np.float32) if keep_raw else None
        items.append(Item(example.name, to_bytes(example.micrograph.pixels), labels, raw))
    return items


def window(array: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    """``(side, side)`` of ``array`` ``(H, W)`` from (y, x) on; what lies beyond its far edges is mirrored, as often as
    it takes."""
    part = array[y : y + side, x : x + side]
    while part.shape != (side, side):
        down, right = (min(side - n, n) for n in part.shape)
        part = np.pad(part, ((0, down), (0, right)), mode="symmetric")
    return part


@dataclass(frozen=True)
class TileMaker:
    """Step -> batch of augmented tiles: anywhere in any image, turned, mirrored, with a little more or less contrast.
    Nothing is scaled or blurred: labels that a recipe made at one scale would no longer fit.

    Attributes:
        items: what tiles are cut from. tile: their side T, px. batch: B. seed: with the step it decides all.
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
