"""The eight sets of ``materials``: real micrographs of concepts beyond particles, with partial labels.

A set says nothing about a concept that it does not label, unless :data:`MATERIALS` lists the concept as absent: a
powder has no dislocation loops, whoever labelled it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.derive import from_semantic
from lisa_micro.datasets.readers import Example, Examples, data_root
from lisa_micro.datasets.splits import check_split, validation_names
from lisa_micro.io import read_label_image, read_plain
from lisa_micro.types import InputError

_NOT_PARTICULATE = ("neck", "fibre", "core", "shell", "hole", "satellite")


@dataclass(frozen=True)
class MaterialSet:
    """What the labels of one set mean.

    Attributes:
        instances: labelled concepts whose touching instances are told apart.
        pieces: labelled concepts whose instances are the connected pieces of the mask.
        regions: labelled concepts of which only the foreground is known.
        absent: unlabelled concepts that no micrograph of the set shows.
        partial: names of images in which only some of the instances are labelled: unlabelled pixels say nothing.
    """

    instances: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        """All labelled concepts."""
        return (*self.instances, *self.pieces, *self.regions)


MATERIALS = {
    "nasa-superalloy": MaterialSet(
        pieces=("precipitate",),
        absent=(*_NOT_PARTICULATE, "particle", "agglomerate", "crack", "layer", "dislocation_loop", "annotation"),
    ),
    "nasa-coating": MaterialSet(
        regions=("layer", "crack"),
        absent=(*_NOT_PARTICULATE, "particle", "agglomerate", "dislocation_loop", "grain_boundary"),
    ),
    "powder": MaterialSet(
        instances=("particle", "satellite"),
        absent=(
            "fibre",
            "core",
            "shell",
            "hole",
            "precipitate",
            "grain_boundary",
            "crack",
            "layer",
            "dislocation_loop",
        ),
    ),
    "carbides": MaterialSet(
        regions=("precipitate",),
        absent=(*_NOT_PARTICULATE, "particle", "agglomerate", "crack", "layer", "dislocation_loop"),
    ),
    "grain-boundaries": MaterialSet(
        regions=("grain_boundary",),
        absent=(*_NOT_PARTICULATE, "particle", "agglomerate", "layer", "dislocation_loop", "annotation"),
    ),
    "grains": MaterialSet(
        instances=("grain",),
        absent=(*_NOT_PARTICULATE, "agglomerate", "layer", "dislocation_loop"),
        partial=("Ceramic", "Basalt", "Zircon"),
    ),
    "nanocomposite": MaterialSet(
        pieces=("agglomerate",),
        absent=(*_NOT_PARTICULATE, "grain", "grain_boundary", "crack", "layer", "dislocation_loop"),
    ),
    "dislocation-loops": MaterialSet(
        pieces=("dislocation_loop",),
        absent=(*_NOT_PARTICULATE, "particle", "agglomerate", "grain", "crack", "layer", "annotation"),
    ),
}
"""The sets by the name of their folder."""


def read_materials(name: str, split: str = "train", root: str | os.PathLike[str] | None = None) -> Examples:
    """One of the sets of ``materials``, with its labels as concepts of their own.

    Args:
        name: a key of :data:`MATERIALS`.
        split: ``"train"``, ``"validation"`` (about a quarter of the parents), or ``"all"``.
        root: folder that holds the data sets; None: the environment variable ``LISA_MICRO_DATA``.

    Raises:
        InputError: an unknown set or split, or the data set is not there; while iterating, unreadable files or labels
            of another shape than their image.
    """
    if name not in MATERIALS:
        raise InputError(f"Unknown materials set {name!r}; choose one of {', '.join(MATERIALS)}.")
    check_split(split)
    folder = data_root("materials", root) / name
    images = sorted((folder / "images").glob("*.png")) if (folder / "images").is_dir() else []
    if not images:
        raise InputError(f"The materials set {name} is incomplete: {folder} has no folder images with PNG files.")
    held_out = validation_names(name)
    chosen = [p for p in images if split == "all" or (p.stem in held_out) == (split == "validation")]
    return Examples([p.stem for p in chosen], partial(_load, MATERIALS[name], tuple(chosen)))


def _load(kind: MaterialSet, images: tuple[Path, ...], index: int) -> Example:
    path = images[index]
    micrograph = read_plain(path)
    own: dict[str, np.ndarray] = {}
    for concept in kind.concepts:
        file = path.parent.parent / "labels" / concept / path.name
        if not file.is_file():
            continue  # powder: particles are labelled in half of the images
        labels = read_label_image(file, kind="instances" if concept in kind.instances else "mask").image.pixels
        if labels.shape != micrograph.shape:
            raise InputError(f"{file} is {labels.shape}, its image {micrograph.shape}.")
        own[concept] = from_semantic(labels > 0)["particle"] if concept in kind.pieces else labels
    return Example(path.stem, micrograph, concept_labels=own)
