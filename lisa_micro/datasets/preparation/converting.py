"""Convert the data of other programs into a data set of records, split by source image.

The data set has ``images/`` (unchanged files), ``labels/``, ``masks/``, ``metadata.jsonl``
(:mod:`lisa_micro.datasets.records`) and, for custom concepts, ``dataset.yaml``. It is written completely or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lisa_micro.datasets.bounds import check_pixel_size
from lisa_micro.datasets.custom_concepts import FILE_NAME as CONCEPT_FILE
from lisa_micro.datasets.custom_concepts import write_vocabulary
from lisa_micro.datasets.formats.coco_records import from_coco
from lisa_micro.datasets.formats.detect import KINDS, find_kind
from lisa_micro.datasets.formats.drafts import Content, Draft, Faults, Found
from lisa_micro.datasets.formats.label_folders import from_label_folders
from lisa_micro.datasets.formats.labelme import from_labelme
from lisa_micro.datasets.formats.reasonseg import from_reasonseg
from lisa_micro.datasets.formats.sentences import from_sentences
from lisa_micro.datasets.image_texts import Drawing, draw_conversations
from lisa_micro.datasets.preparation.merging import from_corrections
from lisa_micro.datasets.preparation.near_duplicates import Signature, image_signature
from lisa_micro.datasets.preparation.parts import OVERLAPS_UP_TO, choose_parts, group_images, tile_sources
from lisa_micro.datasets.readers import Example, make_example
from lisa_micro.datasets.records import FILE_NAME, Record, Split, Turn, write_records
from lisa_micro.io import read_micrograph, write_labels
from lisa_micro.io.files import remove_leftovers, temporary_prefix
from lisa_micro.language import Concept
from lisa_micro.types import InputError, Micrograph

CONVERTERS: dict[str, Callable[[Path, Mapping[str, str]], Found]] = {
    "labels": from_label_folders,
    "sentences": from_sentences,
    "coco": from_coco,
    "reasonseg": from_reasonseg,
    "labelme": from_labelme,
    "corrections": from_corrections,
}
WRITTEN = ("images", "labels", "masks", FILE_NAME, CONCEPT_FILE)
"""Names that a data set's folder may contain; with any other, --force does not replace the folder."""
VALIDATION = 0.2
"""Share of the images held out for validation if neither the user nor the source states one."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Choices:
    """Options of a conversion.

    Attributes:
        kind: one of :data:`lisa_micro.datasets.formats.detect.KINDS`, or ``"auto"``.
        concepts: label -> concept; ``""`` leaves the label out.
        pixel_size_nm, modality: of all images; both take precedence over the source.
        validation: share of the images, 0..1; None: the parts of the source, if it has any, else :data:`VALIDATION`.
        conversations: number generated for each image that has labels but no sentences.
        seed: of the split and of the generated conversations.
    """

    kind: str = "auto"
    concepts: Mapping[str, str] = field(default_factory=dict)
    pixel_size_nm: float | None = None
    modality: str | None = None
    validation: float | None = None
    conversations: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Converted:
    """Summary of a conversion.

    Attributes:
        folder: of the data set. kind: format of the source. images: number of images. records: number in each part.
        custom_concepts: concepts that are not built in. sources: number of source images; no two parts share one.
        notes: for the user.
    """

    folder: Path
    kind: str
    images: int
    records: Mapping[str, int]
    custom_concepts: tuple[Concept, ...]
    sources: int
    notes: tuple[str, ...]


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    choices: Choices | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Convert a source into a data set of records.

    Args:
        source: a folder, or a JSON or CSV file. out: folder for the data set; new or empty.
        force: replace a data set in ``out``; nothing else is ever replaced.
        progress: called with (step, items done, items in all).

    Raises:
        InputError: unusable options, source or output folder.
        Faults: problems of the source, each with file and line; then nothing is written.
    """
    source, out, choices = Path(source), Path(out), choices or Choices()
    _check(source, out, choices, force)
    kind = find_kind(source) if choices.kind == "auto" else choices.kind
    found = CONVERTERS[kind](source, choices.concepts)
    report = progress or (lambda what, done, total: None)
    target, temporary = out.resolve(), None  # out may be a link to a folder
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(), dir=target.parent))
        temporary.chmod(0o755)
        writer = _Writer(temporary, found, choices)
        faults = list(found.faults)
        for number, draft in enumerate(found.drafts):
            report("Converting", number, len(found.drafts))
            faults += writer.add(draft)
        if faults:
            raise Faults(f"{source} cannot be converted, {len(faults)} things are wrong", faults)
        if not writer.rows:
            raise InputError(f"{source} has nothing to learn from: no labels and no sentences")
        result = writer.finish(report)
        _put_in_place(temporary, target)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return replace(result, folder=out, kind=kind)


def _check(source: Path, out: Path, choices: Choices, force: bool) -> None:
    """Check the options and the output folder before reading anything."""
    if choices.kind not in ("auto", *KINDS):
        raise InputError(f"--from {choices.kind} is unknown; choose auto, {', '.join(KINDS)}")
    if choices.validation is not None and not 0 <= choices.validation < 1:
        raise InputError(f"the share for validation must be 0 or more and less than 1, not {choices.validation:g}")
    if choices.conversations < 0:
        raise InputError("the number of conversations for each image cannot be negative")
    if choices.pixel_size_nm is not None:
        check_pixel_size(choices.pixel_size_nm)
    if not source.exists():
        raise InputError(f"there is no {source}; give the folder of the data, or its JSON or CSV file")
    there, target = source.resolve(), out.resolve()
    folder = there if there.is_dir() else there.parent
    if target == folder or target in folder.parents or (there.is_dir() and folder in target.parents):
        raise InputError(f"{out} and {source} contain each other; write the data set to another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; give a folder")
    entries = sorted(entry.name for entry in out.iterdir())
    foreign = [name for name in entries if name not in WRITTEN]
    if foreign:
        raise InputError(f"{out} holds {foreign[0]}, which is no part of a data set; give a new or empty folder")
    if entries and not force:
        raise InputError(f"{out} already holds a data set; use --force to replace it")


def _put_in_place(temporary: Path, out: Path) -> None:
    """Move the finished folder to its name; remove the folder that had the name before at the very end."""
    old = None
    if out.exists() and any(out.iterdir()):
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        os.replace(out, old)  # a folder takes the place of an empty one
    try:
        os.replace(temporary, out)
    except OSError:
        if old is not None:
            os.replace(old, out)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class _Row:
    """A record without its part, and the number of its image."""

    image: int
    record: Record


class _Writer:
    """Write images and labels one at a time, and the records once the parts are known."""

    def __init__(self, folder: Path, found: Found, choices: Choices):
        self.folder, self.found, self.choices = folder, found, choices
        self.rows: list[_Row] = []
        self.notes: list[str] = list(found.notes)
        self._images: dict[Path, int] = {}
        self._names: list[str] = []  # of the images, without suffix, as written
        self._taken: set[str] = set()
        self._signatures: list[Signature] = []
        self._stems: list[str] = []
        self._given: list[tuple[str | None, Split | None]] = []

    def add(self, draft: Draft) -> list[str]:
        """Write one image, its labels and masks.

        Returns:
            its problems, with file and line.
        """
        try:
            micrograph = self._read(draft)
            content = draft.load(micrograph)
        except Faults as error:
            return list(error.faults)
        except InputError as error:
            return [f"{draft.where}: {error}"]
        self.notes += content.notes
        said = content.said or self._texts(draft, content, micrograph)
        if content.particles is None and not content.concept_labels and not said:
            return []
        image, path = self._image(draft, micrograph)
        name = self._free(self._names[image]) if any(row.image == image for row in self.rows) else self._names[image]
        record = Record(
            file_name=path,
            labels=self._labels(name, content.particles, content.semantic, micrograph),
            concept_labels={
                concept: self._labels(f"{name}_{concept}", labels, False, micrograph) or ""
                for concept, labels in content.concept_labels.items()
            },
            pixel_size_nm=self.choices.pixel_size_nm or draft.pixel_size_nm,
            modality=self.choices.modality or draft.modality or micrograph.modality,
        )
        masks = {
            key: self._mask(f"{name}_{number}", mask, micrograph)
            for number, (key, mask) in enumerate(content.masks.items(), start=1)
        }
        for turns in said or ((),):
            named = tuple(_with_masks(turn, masks) for turn in turns)
            fields = {**record.model_dump(), "conversations": [turn.model_dump() for turn in named]}
            self.rows.append(_Row(image, Record.model_validate(fields)))
        return []

    def _read(self, draft: Draft) -> Micrograph:
        nm = self.choices.pixel_size_nm or draft.pixel_size_nm
        if draft.pixels is None:
            return read_micrograph(draft.image, nm)
        handle, name = tempfile.mkstemp(suffix=draft.image.suffix, dir=self.folder)
        with os.fdopen(handle, "wb") as stream:
            stream.write(draft.pixels)
        try:
            return read_micrograph(name, nm)
        finally:
            Path(name).unlink()

    def _texts(self, draft: Draft, content: Content, image: Micrograph) -> tuple[tuple[Turn, ...], ...]:
        if not self.found.derive or not self.choices.conversations:
            return ()
        example = Example("", image)
        if content.particles is not None:
            example = make_example("", image, content.particles, content.semantic)
        example = replace(example, concept_labels=content.concept_labels)
        if example.labels is None and not example.concept_labels:
            return ()
        return draw_conversations(
            draft.image.stem,
            example.truth(),
            example.labels is not None and not example.semantic,
            self.found.custom,
            Drawing(
                self.choices.conversations,
                self.choices.seed,
                self.choices.modality or draft.modality or image.modality,
                image.pixel_size_nm is not None,
            ),
        )

    def _image(self, draft: Draft, micrograph: Micrograph) -> tuple[int, str]:
        """Number and path of the image; it is written once, however many drafts share it."""
        key = draft.image.resolve()
        if key not in self._images:
            stem = re.sub(r"[^\w.-]+", "_", draft.image.stem).strip("._") or "image"
            name = self._free(stem)
            target = self.folder / "images" / f"{name}{draft.image.suffix.lower()}"
            target.parent.mkdir(exist_ok=True)
            if draft.pixels is None:
                shutil.copyfile(draft.image, target)
            else:
                target.write_bytes(draft.pixels)
            self._images[key] = len(self._names)
            self._names.append(name)
            self._stems.append(draft.image.stem)
            self._given.append((draft.source, draft.part))
            self._signatures.append(image_signature(micrograph.pixels))
        number = self._images[key]
        return number, f"images/{self._names[number]}{draft.image.suffix.lower()}"

    def _free(self, stem: str) -> str:
        name, number = stem, 2
        while name.lower() in self._taken:  # Windows and macOS do not tell A.tif from a.tif
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name.lower())
        return name

    def _labels(self, name: str, labels: np.ndarray | None, semantic: bool, image: Micrograph) -> str | None:
        if labels is None:
            return None
        if semantic:
            return self._mask(name, labels > 0, image, "labels")
        path = self.folder / "labels" / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        write_labels(path, labels, image.pixel_size_nm)
        return f"labels/{path.name}"

    def _mask(self, name: str, mask: np.ndarray, image: Micrograph, folder: str = "masks") -> str:
        from PIL import Image

        suffix = ".png" if mask.dtype == bool else ".tif"
        path = self.folder / folder / f"{name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if mask.dtype == bool:
            Image.fromarray(mask.astype(np.uint8) * 255).save(path)
        else:
            write_labels(path, mask, image.pixel_size_nm)
        return f"{folder}/{path.name}"

    def finish(self, report: Progress) -> Converted:
        """Choose the parts and write the records."""
        tiles = tile_sources(self._stems)
        sources = [given or tile for (given, _), tile in zip(self._given, tiles, strict=True)]
        grouped = group_images(sources, self._signatures, lambda done, total: report("Comparing images", done, total))
        if len(self._signatures) > OVERLAPS_UP_TO:
            self.notes.append(f"more than {OVERLAPS_UP_TO} images: searched for copies only, not for overlapping crops")
        parts = self._parts(grouped)
        records = [
            row.record.model_copy(update={"source": sources[grouped[row.image]], "split": parts[row.image]})
            for row in self.rows
        ]
        write_records(self.folder / FILE_NAME, records)
        used = {concept for record in records for concept in record.concept_labels}
        custom = tuple(concept for name, concept in sorted(self.found.custom.items()) if name in used)
        write_vocabulary(self.folder, custom)
        counts = Counter(str(record.split) for record in records)
        return Converted(self.folder, "", len(self._names), counts, custom, len(set(grouped)), tuple(self.notes))

    def _parts(self, grouped: list[int]) -> list[Split]:
        given = [part for _, part in self._given]
        given_apart = self.choices.validation is None and len(set(given) - {None}) > 1
        if given_apart:
            parts: list[Split] = [part or "train" for part in given]
            apart = {g for g in set(grouped) if len({p for p, k in zip(parts, grouped, strict=True) if k == g}) > 1}
            if apart:
                self.notes.append(
                    f"{len(apart)} source images are in several of the given parts, so validation scores will be "
                    "too good; --validation SHARE makes a new split"
                )
            return parts
        share = VALIDATION if self.choices.validation is None else self.choices.validation
        parts = choose_parts(self._names, grouped, share, self.choices.seed)
        if share and "validation" not in parts:
            self.notes.append("all images come from one source: none is held out for validation")
        return parts


def _with_masks(turn: Turn, masks: Mapping[str, str]) -> Turn:
    targets = [t if t.mask is None else t.model_copy(update={"mask": masks[t.mask]}) for t in turn.targets]
    return turn.model_copy(update={"targets": tuple(targets)})
