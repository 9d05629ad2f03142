"""What a converter finds in a source before it is written as records.

Each converter (listed in :mod:`lisa_micro.datasets.preparation.converting`) finds the images of its format and returns
a :class:`Draft` for each. Pixels are read one image at a time, while the data set is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lisa_micro.datasets.records import SEG, Split, Target, Turn
from lisa_micro.language import Concept
from lisa_micro.language.words import ABSENT, CONCEPT_NOUNS
from lisa_micro.types import InputError, Micrograph

PART_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folder names that say to which part their images belong."""


class Faults(InputError):
    """Several problems at once.

    Attributes:
        summary: what cannot be done because of them.
        faults: one line each, with file and place.
    """

    def __init__(self, summary: str, faults: Iterable[str]):
        self.faults = tuple(faults)
        self.summary = summary
        single = len(self.faults) == 1
        super().__init__(self.faults[0] if single else "\n".join([f"{summary}:", *self.faults]))


@dataclass(frozen=True)
class Content:
    """Everything known about one image.

    Attributes:
        particles: ``(H, W)`` int32 instance labels, or None.
        semantic: whether ``particles`` is a mask in which touching particles are not separated.
        concept_labels: ``(H, W)`` int32 instance labels of other concepts, by name.
        said: conversations; a target given by a mask names a key of ``masks``.
        masks: ``(H, W)``, bool or int32 instance labels.
        notes: what was left out.
    """

    particles: np.ndarray | None = None
    semantic: bool = False
    concept_labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    said: tuple[tuple[Turn, ...], ...] = ()
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """One image of a source.

    Attributes:
        image: its file.
        where: file, and line if there is one, for messages.
        load: takes the image, returns what is known about it; raises :class:`InputError` or :class:`Faults`.
        pixels: bytes of the image file, if it is not a file of its own.
        pixel_size_nm, modality: as the source states; both take precedence over the image file.
        source: what the image was cropped from; None: derived from its name.
        part: the part of the data set, if the source states it.
    """

    image: Path
    where: str
    load: Callable[[Micrograph], Content]
    pixels: bytes | None = None
    pixel_size_nm: float | None = None
    modality: str | None = None
    source: str | None = None
    part: Split | None = None


@dataclass(frozen=True)
class Found:
    """Everything found in a source.

    Attributes:
        drafts: one per image, in a fixed order.
        custom: concepts that are not built in, by name.
        faults: what cannot be used, with file and place.
        notes: what was left out, for the user.
        derive: whether conversations may be generated for images that have labels but no sentences.
    """

    drafts: tuple[Draft, ...]
    custom: Mapping[str, Concept] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    derive: bool = True


def part_of(path: Path, root: Path) -> Split | None:
    """The part that a folder between ``root`` and the file is named after."""
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return next((PART_WORDS[name.lower()] for name in folders if name.lower() in PART_WORDS), None)


def same_size(name: str, labels: np.ndarray, image: Micrograph) -> np.ndarray:
    """Return the labels if they have the size of the image.

    Raises:
        InputError: another size.
    """
    if labels.shape != image.shape:
        (h, w), (height, width) = labels.shape, image.shape
        raise InputError(f"{name} is {w} x {h} px, the image {width} x {height} px")
    return labels


def answered(user: str, concept: str | None, there: bool, custom: Mapping[str, Concept], target: Target) -> Turn:
    """Write the reply to a request of a user.

    Args:
        user: the request.
        concept: the concept requested, all of it; None if it has no name.
        there: whether the image contains it; if not, the reply says so and has no target.
        custom: the custom concepts of the data set. target: what ``[SEG]`` refers to.
    """
    known = custom.get(concept or "")
    nouns = (known.singular, known.plural) if known else CONCEPT_NOUNS.get(concept or "")
    region = concept == "substrate" or (known is not None and not known.instances)
    if not there:
        what = f"There {'is' if region else 'are'} no {nouns[1]}" if nouns else "There is nothing of the kind"
        return Turn(user=user, assistant=f"{ABSENT}{what} in this micrograph.")
    if nouns is None:
        return Turn(user=user, assistant=f"Here it is {SEG}.", targets=(target,))
    text = f"Here is the {nouns[0]} {SEG}." if region else f"Here are the {nouns[1]} {SEG}."
    return Turn(user=user, assistant=text, targets=(target,))
