"""Convert images with label images: two folders side by side, one folder per concept, or labels beside their images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.custom_concepts import concept_map
from lisa_micro.datasets.derive import from_semantic
from lisa_micro.datasets.formats.detect import label_pairs, sidecars
from lisa_micro.datasets.formats.drafts import Content, Draft, Found, part_of, same_size
from lisa_micro.datasets.readers import IMAGE_SUFFIXES, LABEL_FOLDERS, LABEL_SUFFIXES, pair_files
from lisa_micro.io import read_label_image
from lisa_micro.types import InputError, Micrograph

FLAT = "particle"
"""Concept of labels that do not lie in the folder of a concept."""


def from_label_folders(source: Path, given: Mapping[str, str]) -> Found:
    """Find images with instance labels or masks.

    ``images/a.tif`` with ``labels/a.tif``; or with ``labels/shell/a.tif``, where the folder's name is the label; or
    ``a.tif`` with ``a_labels.tif`` beside it. ``train/`` and ``validation/`` may hold the two folders each.

    Args:
        source: the folder. given: label -> concept, see :func:`~lisa_micro.datasets.custom_concepts.concept_map`.

    Raises:
        InputError: no image with labels, or a label that cannot name a concept.
    """
    labelled: dict[Path, dict[str, Path]] = {}
    pictures: set[Path] = set()
    for images, labels in label_pairs(source):
        pictures |= {path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
        for name, folder in _label_folders(labels):
            for image, label in pair_files(images, folder):
                labelled.setdefault(image, {})[name] = label
    if not labelled:
        beside = sidecars(source)
        used = {label for _, label in beside}
        pictures = {p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p not in used}
        labelled = {image: {FLAT: label} for image, label in beside}
    if not labelled:
        raise InputError(
            f"{source} has no images with labels: it needs images/ and one of {', '.join(LABEL_FOLDERS)} beside it, or "
            "a.tif with a_labels.tif"
        )
    named = concept_map(sorted({name for of_image in labelled.values() for name in of_image}), given)
    drafts = [
        Draft(
            image,
            str(next(iter(files.values()))),
            partial(
                _load, tuple((named.concepts[name], path) for name, path in files.items() if name in named.concepts)
            ),
            part=part_of(image, source),
        )
        for image, files in labelled.items()
    ]
    bare = len(pictures - set(labelled))
    notes = (f"images without labels, left out: {bare}",) if bare else ()
    return Found(tuple(drafts), named.custom, notes=(*named.notes, *notes))


def _label_folders(labels: Path) -> list[tuple[str, Path]]:
    """Labels and their folders: the folder itself, and those in it."""
    inner = [(path.name, path) for path in sorted(labels.iterdir()) if path.is_dir() and _holds_labels(path)]
    return ([(FLAT, labels)] if _holds_labels(labels) else []) + inner


def _holds_labels(folder: Path) -> bool:
    return any(path.suffix.lower() in LABEL_SUFFIXES for path in folder.iterdir())


def _load(files: tuple[tuple[str, Path], ...], image: Micrograph) -> Content:
    found: dict[str, np.ndarray] = {}
    masks = set()
    for concept, path in files:
        label_image = read_label_image(path)
        labels, mask = same_size(path.name, label_image.image.pixels, image), label_image.is_mask
        if mask and concept == "particle":
            masks.add(concept)
        elif mask:
            labels = from_semantic(labels)["particle"]
        if concept in found:  # two labels that mean one concept: the second on top, numbered after the first
            labels = np.where(labels > 0, labels + found[concept].max(), found[concept])
        found[concept] = labels
    return Content(found.pop("particle", None), bool(masks), found)
