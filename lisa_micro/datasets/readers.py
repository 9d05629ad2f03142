"""Read data sets as :class:`Examples`, sequences that load one image at a time.

This module reads folders of images and labels, record folders, EMPS and tem-sintering; COCO is in
:mod:`lisa_micro.datasets.formats.coco`. The environment variable ``LISA_MICRO_DATA`` names the folder that holds
``emps`` and ``tem-sintering``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.bounds import one_line
from lisa_micro.datasets.derive import derive_truth, from_semantic
from lisa_micro.datasets.records import Record, Target, Turn, iterate_records, record_file
from lisa_micro.datasets.splits import check_split, validation_names
from lisa_micro.io import read_label_image, read_plain
from lisa_micro.io.labels import LabelKind
from lisa_micro.measure.contacts import compact
from lisa_micro.types import InputError, Micrograph

ENVIRONMENT = "LISA_MICRO_DATA"
IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".dm3", ".dm4", ".mrc", ".ser", ".emd")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".bmp")
LABEL_FOLDERS = ("labels", "masks", "segmaps", "annotations")


@dataclass(frozen=True)
class Example:
    """One image with its ground truth.

    Attributes:
        name: file name of the image without extension.
        micrograph: the image.
        labels: ``(H, W)`` int32 instance labels 0..n, or None.
        semantic: whether the labels are connected components of a mask: touching particles are not separated, and
            :meth:`truth` has neither necks nor agglomerates.
        turns: the conversation about it, if the data set has one.
        folder: what paths in ``turns`` are relative to.
        concept_labels: ``(H, W)`` int32 instance labels of concepts with labels of their own, by name; they take
            precedence over what follows from ``labels``.
    """

    name: str
    micrograph: Micrograph
    labels: np.ndarray | None = None
    semantic: bool = False
    turns: tuple[Turn, ...] = ()
    folder: Path = Path()
    concept_labels: Mapping[str, np.ndarray] = field(default_factory=dict)

    def truth(self) -> dict[str, np.ndarray]:
        """Derive the labels of all concepts (:mod:`lisa_micro.datasets.derive`).

        Returns:
            ``(H, W)`` int32 labels by concept, with those of ``concept_labels``.

        Raises:
            InputError: the image has no labels.
        """
        if self.labels is None and not self.concept_labels:
            raise InputError(f"{self.name} has no labels to derive truth from")
        derived: dict[str, np.ndarray] = {}
        if self.labels is not None:
            derived = from_semantic(self.labels > 0) if self.semantic else derive_truth(self.labels)
        return derived | {name: compact(labels)[0] for name, labels in self.concept_labels.items()}

    def target_labels(self, target: Target) -> np.ndarray:
        """The instances that a target refers to.

        Returns:
            ``(H, W)`` int32 labels 1..n, all 0 if there are none.

        Raises:
            InputError: labels that are missing or of another shape, an instance that the labels do not have, or a
                concept that needs separated particles.
        """
        if target.mask is not None:
            found = read_label_image(self.folder / target.mask)
            labels = found.image.pixels
            if labels.shape != self.micrograph.shape:
                raise InputError(f"mask {target.mask} is {labels.shape}, its image {self.micrograph.shape}")
            return from_semantic(labels > 0)["particle"] if found.is_mask else labels
        if target.concept is not None and target.concept in self.concept_labels:
            return compact(self.concept_labels[target.concept])[0]
        if target.concept is not None:
            truth = self.truth()
            if target.concept not in truth:
                raise InputError(f"{self.name}: {target.concept} needs labels in which particles are separated")
            return truth[target.concept]
        if self.labels is None:
            raise InputError(f"{self.name} has no labels to take instances from")
        wanted = target.instances or ()
        absent = sorted(set(wanted) - set(np.unique(self.labels).tolist()))
        if absent:
            raise InputError(f"{self.name}: no instance {one_line(', '.join(map(str, absent)), 60)} in the labels")
        return compact(np.where(np.isin(self.labels, wanted), self.labels, 0))[0]


class Examples(Sequence[Example]):
    """A data set as a sequence; each image is read when it is requested.

    Args:
        names: one per image.
        load: returns the example at an index; picklable, so that data loader workers can use it.
    """

    def __init__(self, names: Sequence[str], load: Callable[[int], Example]):
        self.names: tuple[str, ...] = tuple(names)
        self._load = load

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]  # no slices: each image is read
        if not isinstance(index, int | np.integer):
            raise TypeError("a data set gives one example at a time, by its index")
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._load(int(index) % len(self))

    def __iter__(self) -> Iterator[Example]:
        return (self[k] for k in range(len(self)))


def data_root(dataset: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder of a data set.

    Args:
        dataset: ``"emps"`` or ``"tem-sintering"``.
        root: folder that holds the data sets; None: the environment variable ``LISA_MICRO_DATA``.

    Raises:
        InputError: the variable is not set, or the data set does not exist.
    """
    base = root if root is not None else os.environ.get(ENVIRONMENT)
    if not base:
        raise InputError(
            f"the data set {dataset} is not found: set {ENVIRONMENT} to the folder that holds emps/ and tem-sintering/"
        )
    folder = Path(base) / dataset
    if not folder.is_dir():
        raise InputError(f"the data set {dataset} is not found: {base} ({ENVIRONMENT}) has no folder {dataset}")
    return folder


def pair_files(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Pair images with their labels by name.

    Names are equal, or equal apart from words such as image, img, label, mask (``image_3.png`` and ``label_3.png``).
    Images without labels are left out.

    Raises:
        InputError: missing folder, no pair, or a label file that belongs to two images.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
    pictures = [p for p in sorted(images.iterdir(), key=_natural) if p.suffix.lower() in IMAGE_SUFFIXES]
    label_files = [p for p in sorted(labels.iterdir(), key=_natural) if p.suffix.lower() in LABEL_SUFFIXES]
    exact = {p.stem: p for p in label_files}
    loose = {_bare(p.stem): p for p in label_files}
    found = [(p, exact.get(p.stem, loose.get(_bare(p.stem)))) for p in pictures]
    pairs = [(p, q) for p, q in found if q is not None]
    if not pairs:
        raise InputError(
            f"no image in {images} ({len(pictures)} images) has labels of the same name in "
            f"{labels} ({len(label_files)} files)"
        )
    if len({q for _, q in pairs}) < len(pairs):
        raise InputError(f"some labels in {labels} belong to several images of {images}; use the same names")
    return pairs


def _bare(stem: str) -> str:
    words = re.split(r"[_\-. ]+", stem.lower())
    ignored = {"image", "images", "img", "label", "labels", "mask", "masks", "seg", "gt"}
    return "_".join(w for w in words if w not in ignored) or stem.lower()


def _natural(path: Path) -> list:
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", path.name)]


def read_folder(
    folder: str | os.PathLike[str],
    images: str = "images",
    labels: str | None = None,
    kind: LabelKind = "auto",
    pixel_size_nm: float | None = None,
    keep: Callable[[str], bool] | None = None,
) -> Examples:
    """Read a folder of images and one of labels.

    Args:
        folder: holds both; for a folder with ``metadata.jsonl`` use :func:`read_record_folder`.
        images, labels: names of the two folders; labels None: the first of :data:`LABEL_FOLDERS` that exists.
        kind: ``"instances"`` or ``"mask"``; ``"auto"``: by the rule of :mod:`lisa_micro.io.labels`.
        pixel_size_nm: for all images; None: what the files say.
        keep: takes a name without extension, returns whether the image belongs to the data set.

    Raises:
        InputError: missing folders or no pairs; while iterating, unreadable files or shapes that do not agree.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    if labels is None:
        there = [name for name in LABEL_FOLDERS if (folder / name).is_dir()]
        if not there:
            raise InputError(f"{folder} has no folder of labels; it should be called {', '.join(LABEL_FOLDERS)}")
        labels = there[0]
    pairs = pair_files(folder / images, folder / labels)
    if keep is not None:
        pairs = [pair for pair in pairs if keep(pair[0].stem)]
        if not pairs:
            raise InputError(f"no image of {folder / images} belongs to the requested part")
    return Examples([p.stem for p, _ in pairs], partial(_load_pair, tuple(pairs), kind, pixel_size_nm))


def _load_pair(pairs: Sequence[tuple[Path, Path]], kind: LabelKind, pixel_size_nm: float | None, index: int) -> Example:
    picture, label_file = pairs[index]
    micrograph = read_plain(picture, pixel_size_nm)
    found = read_label_image(label_file, kind=kind)
    return make_example(picture.stem, micrograph, found.image.pixels, found.is_mask)


def make_example(name: str, micrograph: Micrograph, labels: np.ndarray, semantic: bool = False) -> Example:
    """Make an example from an image and its labels; a mask becomes connected components.

    Raises:
        InputError: shapes do not agree.
    """
    if labels.shape != micrograph.shape:
        (h, w), (height, width) = labels.shape, micrograph.shape
        raise InputError(f"{name}: the labels are {w} x {h} px, the image {width} x {height} px")
    numbered = from_semantic(labels)["particle"] if semantic else compact(labels)[0]
    return Example(name, micrograph, numbered, semantic)


def read_emps(split: str = "train", root: str | os.PathLike[str] | None = None) -> Examples:
    """Read EMPS (Yildirim and Cole 2021, doi 10.1021/acs.jcim.0c01455; MIT): figures with instance labels.

    Args:
        split: ``"train"`` (306), ``"validation"`` (60), or ``"all"``; of the official training part.
        root: as in :func:`data_root`.

    Raises:
        InputError: not found, or an unknown split.
    """
    return read_folder(data_root("emps", root), labels="segmaps", kind="instances", keep=_in("emps", split))


def read_tem_sintering(split: str = "train", root: str | os.PathLike[str] | None = None) -> Examples:
    """Read tem-sintering (Duan et al. 2024, doi 10.69761/HDTA8338; CC-BY-4.0): bright-field TEM with masks.

    Touching particles are not separated in these labels, so the examples are ``semantic``.

    Args:
        split: ``"train"`` (15), ``"validation"`` (5), or ``"all"``.
        root: as in :func:`data_root`.

    Raises:
        InputError: not found, or an unknown split.
    """
    folder, keep = data_root("tem-sintering", root), _in("tem-sintering", split)
    examples = read_folder(folder, labels="labels", kind="mask", keep=keep)
    return Examples(examples.names, partial(_as_bright_field, examples))


def _as_bright_field(examples: Examples, index: int) -> Example:
    example = examples[index]
    return replace(example, micrograph=replace(example.micrograph, modality="BF-TEM"))


def _in(dataset: str, split: str) -> Callable[[str], bool]:
    check_split(split)
    validation = validation_names(dataset)
    return lambda name: split == "all" or (name in validation) == (split == "validation")


def read_record_folder(path: str | os.PathLike[str]) -> Examples:
    """Read the examples of a record file (:mod:`lisa_micro.datasets.records`) with their conversations.

    Args:
        path: the file, or a folder with ``metadata.jsonl``.

    Raises:
        InputError: a broken line, with its number; while iterating, unreadable files.
    """
    file = record_file(path)
    records = list(iterate_records(file))
    if not records:
        raise InputError(f"{file} holds no record")
    names = [Path(record.file_name).stem for _, record in records]
    return Examples(names, partial(_load_record, file, tuple(records)))


def _load_record(file: Path, records: Sequence[tuple[int, Record]], index: int) -> Example:
    number, record = records[index]
    try:
        micrograph = read_plain(file.parent / record.file_name, record.pixel_size_nm)
        return record_example(file.parent, record, micrograph)
    except InputError as error:
        raise InputError(f"{file} line {number}: {error}") from error


def record_example(folder: Path, record: Record, micrograph: Micrograph) -> Example:
    """Make the example of one record.

    Args:
        folder: of the record file. micrograph: its image.

    Raises:
        InputError: labels that cannot be read, or of another size than the image.
    """
    if record.modality is not None:
        micrograph = replace(micrograph, modality=record.modality)
    example = Example(Path(record.file_name).stem, micrograph)
    if record.labels is not None:
        found = read_label_image(folder / record.labels)
        labels = found.image.pixels
        example = make_example(example.name, micrograph, labels, found.is_mask)
        if not found.is_mask:  # conversations name instances by the file's own numbers
            example = replace(example, labels=labels)
    drawn = {name: read_concept_labels(folder / path, micrograph.shape) for name, path in record.concept_labels.items()}
    return replace(example, turns=record.conversations, folder=folder, concept_labels=drawn)


def read_concept_labels(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read the labels of a concept that has labels of its own; a mask becomes its connected components.

    Args:
        shape: ``(H, W)`` of the image.

    Returns:
        ``(H, W)`` int32.

    Raises:
        InputError: as :func:`lisa_micro.io.read_label_image`, or another shape.
    """
    found = read_label_image(path)
    labels = found.image.pixels
    if labels.shape != shape:
        (h, w), (height, width) = labels.shape, shape
        raise InputError(f"the labels {path.name} are {w} x {h} px, the image {width} x {height} px")
    return from_semantic(labels)["particle"] if found.is_mask else labels
