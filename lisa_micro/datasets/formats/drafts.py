"""What a converter knows about an image before it is written as records.

Each converter (:mod:`lisa_micro.datasets.converting` has the list) finds the images of its format and gives a
:class:`Draft` for each; the pixels are read one image after another, while the data set is written.
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
"""Names of folders that say to which part their images belong."""


class Faults(InputError):
    """Several things wrong at once, each with its file and line.

    Attributes:
        faults: one sentence each.
    """

    def __init__(self, summary: str, faults: Iterable[str]):
        self.faults = tuple(faults)
        self.summary = summary
        super().__init__("\n".join([f"{summary}:", *self.faults]))


@dataclass(frozen=True)
class Content:
    """What is known about one image.

    Attributes:
        particles: ``(H, W)`` int32 instance labels, or None. semantic: they are a mask, touching particles not told
            apart.
        own: ``(H, W)`` int32 instance labels of other concepts, by name.
        said: conversations; a target given by a mask names a key of ``masks``.
        masks: ``(H, W)``, bool or int32 instance labels.
        notes: what was left out.
    """

    particles: np.ndarray | None = None
    semantic: bool = False
    own: Mapping[str, np.ndarray] = field(default_factory=dict)
    said: tuple[tuple[Turn, ...], ...] = ()
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """One image of a source.

    Attributes:
        image: its file.
        where: file, and line where there is one, for messages.
        load: takes the image, gives what is known about it; raises :class:`InputError` or :class:`Faults`.
        pixels: the image file's bytes, where it is not a file of its own.
        pixel_size_nm, modality: where the source says so; in front of what the image file says.
        source: what the image was cut from; None: told from its name.
        part: which part it belongs to, where the source says so.
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
    """All of a source.

    Attributes:
        drafts: one an image, in a fixed order.
        own: concepts that the reply language does not have, by name.
        faults: what cannot be used, with file and line.
        notes: what was left out, for the user.
        derive: whether conversations may be made up for images that have labels and no words.
    """

    drafts: tuple[Draft, ...]
    own: Mapping[str, Concept] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    derive: bool = True


def part_of(path: Path, root: Path) -> Split | None:
    """The part that a folder between ``root`` and the file is named after."""
    folders = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return next((PART_WORDS[name.lower()] for name in folders if name.lower() in PART_WORDS), None)


def same_size(name: str, labels: np.ndarray, image: Micrograph) -> np.ndarray:
    """The labels, if they have the image's size.

    Raises:
        InputError: they have another.
    """
    if labels.shape != image.shape:
        (h, w), (height, width) = labels.shape, image.shape
        raise InputError(f"{name} is {w} x {h} px, the image {width} x {height} px")
    return labels


def answered(user: str, concept: str | None, there: bool, own: Mapping[str, Concept], target: Target) -> Turn:
    """A request in a user's words with the reply that belongs to it.

    Args:
        user: the words.
        concept: what they ask for, all of it; None where it has no name.
        there: whether the image has any of it; where not, the reply says so and has no target.
        own: the data set's own concepts. target: what ``[SEG]`` refers to.
    """
    known = own.get(concept or "")
    nouns = (known.singular, known.plural) if known else CONCEPT_NOUNS.get(concept or "")
    region = concept == "substrate" or (known is not None and not known.instances)
    if not there:
        what = f"There {'is' if region else 'are'} no {nouns[1]}" if nouns else "There is nothing of the kind"
        return Turn(user=user, assistant=f"{ABSENT}{what} in this micrograph.")
    if nouns is None:
        return Turn(user=user, assistant=f"Here it is {SEG}.", targets=(target,))
    text = f"Here is the {nouns[0]} {SEG}." if region else f"Here are the {nouns[1]} {SEG}."
    return Turn(user=user, assistant=text, targets=(target,))
