"""Check a data set of records line by line before training."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lisa_micro.datasets.custom_concepts import FILE_NAME as CONCEPT_FILE
from lisa_micro.datasets.custom_concepts import read_vocabulary
from lisa_micro.datasets.preparation.near_duplicates import Signature, image_signature, near_duplicates
from lisa_micro.datasets.preparation.parts import OVERLAPS_UP_TO
from lisa_micro.datasets.readers import Example, record_example
from lisa_micro.datasets.records import DERIVED, FILE_NAME, SEG, Record, Turn, file_faults, parse_line, record_file
from lisa_micro.io import read_plain
from lisa_micro.language import Vocabulary
from lisa_micro.language.program import parse_program
from lisa_micro.types import InputError, Micrograph

TINY_PX = 12
"""px; smaller instances are more likely slips of the pen than objects."""
LIKELY_NM = (1e-3, 1e5)
"""nm; pixel sizes outside this range are more likely given in a wrong unit."""
LONG = 900
"""Characters of a conversation above which it may exceed the 256 tokens that training accepts."""
MODALITIES = ("BF-TEM", "HAADF-STEM", "SEM")
PARTS = ("train", "validation", "test")
_SLOT = re.compile(r"<(where|value|plot)>.*?(?:</\1>|$)", re.DOTALL)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """A remark about a data set: the place (file and line; empty for the whole set) and the text."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


@dataclass
class Report:
    """Result of a check.

    Attributes:
        folder: the folder checked.
        lines: (file, line number, part, record) of every readable line of the record files.
        faults: errors that prevent training. warnings: remarks that do not.
        parts: number of records in each part. sizes: number of images of each ``(H, W)``. pixel_sizes: number of images
            of each size in nm, None for unknown. modalities: number of images of each.
        instances: number of instances of each concept in all images. masked: concepts with masks among their labels,
            which are counted in connected regions. images_with: number of images that show each concept.
        conversations, turns, targets: their numbers; targets by kind: a concept, ``"mask"`` or ``"instances"``.
        custom_concepts: names of the concepts that are not built in.
    """

    folder: Path
    lines: list[tuple[Path, int, str, Record]] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    parts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixel_sizes: Counter[float | None] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=Counter)
    instances: Counter[str] = field(default_factory=Counter)
    masked: set[str] = field(default_factory=set)
    images_with: Counter[str] = field(default_factory=Counter)
    conversations: int = 0
    turns: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    custom_concepts: tuple[str, ...] = ()


def check_folder(folder: str | os.PathLike[str], progress: Progress | None = None) -> Report:
    """Check a data set: every line of every record file, every file that they name, every target and reply.

    Args:
        folder: has ``metadata.jsonl``, or ``train/`` and ``validation/`` with one each.
        progress: called with (step, items done, items in all).

    Raises:
        InputError: no record file. All other errors are in the report.
    """
    return _Checker(Path(folder), progress or (lambda what, done, total: None)).run()


def record_files(folder: Path) -> list[tuple[Path, str]]:
    """Find the record files of a data set and the part of each, ``""`` if its records state their parts.

    Raises:
        InputError: no record file.
    """
    inner = [(folder / part / FILE_NAME, part) for part in PARTS if (folder / part / FILE_NAME).is_file()]
    if inner and not (folder / FILE_NAME).is_file():
        return inner
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    return [(record_file(folder), "")]


@dataclass(frozen=True)
class _Seen:
    """One image: its name and signature, and the first line that names it, with its part and source."""

    name: str
    signature: Signature
    where: str
    part: str
    source: str


class _Checker:
    """Check a data set record by record; what was read for the last image is kept for the next record about it."""

    def __init__(self, folder: Path, progress: Progress):
        self.report = Report(folder)
        self.progress = progress
        self.vocabulary = Vocabulary()
        self._image: tuple[Path, Micrograph | None] = (Path(), None)
        self._example: tuple[tuple, Example | None, dict[str, np.ndarray]] = ((), None, {})
        self._seen: dict[Path, _Seen] = {}
        self._sources: dict[str, dict[str, str]] = {}  # source -> part -> where first
        self._counted: set[tuple[Path, str]] = set()
        self._unsized: list[str] = []
        self._raw: dict[tuple[Path, bytes], str] = {}

    def run(self) -> Report:
        files = record_files(self.report.folder)
        for file, part in files:
            self._file(file, part)
        self._near()
        self._whole(files)
        if not self.report.lines and not self.report.faults:
            self.report.faults.append(Finding("", f"{files[0][0]} holds no record"))
        return self.report

    def _where(self, file: Path, number: int | None = None) -> str:
        base = self.report.folder if self.report.folder.is_dir() else self.report.folder.parent
        return str(file.relative_to(base)) + (f" line {number}" if number else "")

    def _fault(self, where: str, text: str) -> None:
        self.report.faults.append(Finding(where, text))

    def _warn(self, where: str, text: str) -> None:
        self.report.warnings.append(Finding(where, text))

    # ------------------------------------------------------------------------------------------------ one file

    def _file(self, file: Path, part: str) -> None:
        try:
            self.vocabulary = read_vocabulary(file.parent)
        except InputError as error:
            self._fault("", str(error))
            self.vocabulary = Vocabulary()
        self.report.custom_concepts += tuple(
            c.name for c in self.vocabulary.own if c.name not in self.report.custom_concepts
        )
        with file.open("rb") as stream:
            total = sum(1 for _ in stream)
            stream.seek(0)
            for number, raw in enumerate(stream, start=1):
                self.progress("Checking", number - 1, total)
                where = self._where(file, number)
                record, problems = parse_line(raw)
                for problem in problems:
                    self._fault(where, problem)
                if record is None:
                    continue
                first = self._raw.setdefault((file, raw.strip()), where)
                if first != where:
                    self._warn(where, f"same record as {first}")
                self.report.lines.append((file, number, part or record.split or "", record))
                self._record(file.parent, where, part or record.split or "", record)

    def _record(self, folder: Path, where: str, part: str, record: Record) -> None:
        report = self.report
        report.parts[part] += 1
        errors = file_faults(record, folder)
        for error in errors:
            self._fault(where, error)
        self._words(where, record)
        if errors:
            return
        try:
            self._check_image(folder, where, part, record)
            example, truth = self._truth(folder, where, record)
        except InputError as error:
            self._fault(where, str(error))
            return
        for number, turn in enumerate(record.conversations, start=1):
            self._targets(where, number, turn, example, truth)

    def _check_image(self, folder: Path, where: str, part: str, record: Record) -> None:
        """Check the image itself: size, pixel size and modality; keep its signature.

        Raises:
            InputError: unreadable image.
        """
        path = folder / record.file_name
        image = self._image[1]
        if image is None or self._image[0] != path:
            image = read_plain(path)
            self._image = (path, image)
        source = record.source or record.file_name
        self._sources.setdefault(source, {}).setdefault(part or "train", where)
        if path in self._seen:
            return
        self._seen[path] = _Seen(path.name, image_signature(image.pixels), where, part, source)
        nm = record.pixel_size_nm or image.pixel_size_nm
        report = self.report
        report.sizes[image.shape] += 1
        report.pixel_sizes[nm] += 1
        modality = record.modality or image.modality
        report.modalities[modality or "unknown"] += 1
        if modality and modality not in MODALITIES:
            self._warn(where, f"the modality {modality!r} is none that the default knows: {', '.join(MODALITIES)}")
        if nm is None:
            self._unsized.append(where)
        elif not LIKELY_NM[0] <= nm <= LIKELY_NM[1]:
            self._warn(where, f"a pixel size of {nm:g} nm; is the unit right?")
        stated, read = record.pixel_size_nm, image.pixel_size_nm
        if stated is not None and read is not None and abs(stated / read - 1) > 0.01:
            self._warn(where, f"a pixel size of {stated:g} nm, where the image file says {read:g} nm")

    # ------------------------------------------------------------------------------------- words and targets

    def _words(self, where: str, record: Record) -> None:
        report = self.report
        report.conversations += bool(record.conversations)
        report.turns += len(record.conversations)
        for number, turn in enumerate(record.conversations, start=1):
            at = f"turn {number}"
            reply = parse_program(turn.assistant, self.vocabulary)
            for note in reply.notes:
                self._fault(where, f"{at}: {note}")
            if SEG in turn.user:
                self._warn(where, f"{at}: the request contains {SEG}, which belongs in replies")
            if re.search(r"\d", _SLOT.sub("", turn.assistant)):
                self._warn(
                    where, f"{at}: the reply contains a number; use <value>...</value>, so that numbers are measured"
                )
            if reply.absent and turn.targets:
                self._warn(where, f"{at}: the reply contains both <absent> and {SEG}")
            for place, (target, said) in enumerate(zip(turn.targets, reply.targets, strict=False), start=1):
                report.targets[target.concept or ("mask" if target.mask else "instances")] += 1
                known = target.concept if target.concept != "isolated" else "particle"
                if known and said.concept and known != said.concept:
                    self._warn(where, f"{at}: {SEG} {place} is called {said.concept} but refers to {target.concept}")
        length = sum(len(turn.user) + len(turn.assistant) for turn in record.conversations)
        if length > LONG:
            self._warn(where, f"the conversation has {length} characters; training leaves out those above 256 tokens")
        for name in record.concept_labels:
            if name not in DERIVED and name not in self.vocabulary.names:
                text = f"the concept {name} is not in {CONCEPT_FILE}, so its nouns cannot be learned"
                if not any(finding.text == text for finding in report.warnings):
                    self._warn(where, text)

    def _truth(self, folder: Path, where: str, record: Record) -> tuple[Example, dict[str, np.ndarray]]:
        """The example of the record and the labels of all concepts, cached for the next record with the same labels.

        Raises:
            InputError: unreadable labels, or labels of another size than the image.
        """
        key = (folder, record.file_name, record.labels, *sorted(record.concept_labels.items()))
        if self._example[0] == key and self._example[1] is not None:
            return self._example[1], self._example[2]
        example = record_example(folder, record, self._image[1])
        truth = example.truth() if example.labels is not None or example.concept_labels else {}
        self._count(folder, where, record, example, truth)
        self._example = (key, example, truth)
        return example, truth

    def _count(self, folder: Path, where: str, record: Record, example: Example, truth: dict[str, np.ndarray]) -> None:
        drawn = dict(record.concept_labels)
        if record.labels is not None:
            drawn.setdefault("particle", record.labels)
        for concept, labels in truth.items():
            key = (folder / record.file_name, f"{concept} {drawn.get(concept, record.labels)}")
            if key in self._counted:
                continue
            self._counted.add(key)
            areas = np.bincount(labels.ravel())[1:]
            self.report.instances[concept] += len(areas)
            self.report.images_with[concept] += bool(len(areas))
            if concept not in drawn:
                continue
            if concept == "particle" and example.semantic:
                self.report.masked.add(concept)
            if not len(areas):
                self._warn(where, f"the labels of {concept} are empty")
            tiny = int((areas < TINY_PX).sum())
            if tiny:
                few = f"{tiny} of {len(areas)} instances of {concept} have fewer than {TINY_PX} px"
                self._warn(where, few)

    def _targets(self, where: str, number: int, turn: Turn, example: Example, truth: dict[str, np.ndarray]) -> None:
        found = []
        for place, target in enumerate(turn.targets, start=1):
            try:
                labels = truth.get(target.concept or "")
                found.append((example.target_labels(target) if labels is None else labels).any())
            except InputError as error:
                self._fault(where, f"turn {number}, target {place}: {error}")
        reply = parse_program(turn.assistant, self.vocabulary)
        denied = self.vocabulary.named_in(turn.assistant) if reply.absent and not turn.targets else None
        if denied in truth and truth[denied].any():
            self._warn(where, f"turn {number}: the reply denies {denied}, but the labels have some")
        # if only some of the targets are empty, these teach that the rest is absent
        if len(found) == len(turn.targets) and found and not any(found):
            text = "the image shows nothing that it refers to; the reply should say <absent>"
            self._warn(where, f"turn {number}: {text}")

    # --------------------------------------------------------------------------------------------- the whole set

    def _near(self) -> None:
        """Find near duplicates in two parts; in two sources, if the records name no parts."""
        seen = list(self._seen.values())
        has_parts = any(image.part for image in seen)
        belongs = [(image.part or "train") if has_parts else image.source for image in seen]
        if len(set(belongs)) > 1:
            few = len(seen) <= OVERLAPS_UP_TO
            if not few:
                text = f"more than {OVERLAPS_UP_TO} images: searched for copies only, not for overlapping crops"
                self._warn("", text)
            signatures = [image.signature for image in seen]
            report = partial(self.progress, "Comparing images")
            for pair in near_duplicates(signatures, few, report, belongs):
                one, other = seen[pair.first], seen[pair.second]
                does = "overlaps with" if pair.kind == "overlap" else f"is a {pair.kind} of"
                parts = f", {other.part or 'train'} with {one.part or 'train'}" if has_parts else ""
                hint = "they belong in one part" if has_parts else "give them the same source"
                self._warn(other.where, f"{other.name} {does} {one.name} ({one.where}){parts}: {hint}")
        for source, places in self._sources.items():
            if has_parts and len(places) > 1:
                text = f"{source} is in {' and '.join(places)}: it belongs in one part"
                self._warn(list(places.values())[1], text)

    def _whole(self, files: list[tuple[Path, str]]) -> None:
        report = self.report
        if self._unsized:
            text = f"{len(self._unsized)} of {len(self._seen)} images have no pixel size, so their sizes are in px: "
            self._warn("", text + _listed(self._unsized, 5))
        for concept in report.custom_concepts:
            asked = report.targets[concept]
            if asked == 1:
                self._warn("", f"the concept {concept} occurs in one request only; more wordings teach it better")
            elif not asked and not report.instances[concept]:
                self._warn("", f"the concept {concept} of {CONCEPT_FILE} has neither labels nor requests")
        for file, _ in files:
            named = {os.path.normpath(name) for f, _, _, record in report.lines if f == file for name in record.files}
            unused = [name for name in _images_in(file.parent) if os.path.normpath(name) not in named]
            if unused and named:
                self._warn(
                    "",
                    f"files without a record in {self._where(file.parent / 'images')}: {_listed(unused)}",
                )


def _images_in(folder: Path) -> Iterator[str]:
    if (folder / "images").is_dir():
        for path in sorted((folder / "images").iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield f"images/{path.name}"


def _listed(words: list[str], most: int = 10) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
