"""What a data set of records holds, and what is wrong with it, line by line, before anything is trained."""

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
from lisa_micro.datasets.near_duplicates import Look, look_at, near_duplicates
from lisa_micro.datasets.parts import OVERLAPS_UP_TO
from lisa_micro.datasets.readers import Example, record_example
from lisa_micro.datasets.records import DERIVED, FILE_NAME, SEG, Record, Turn, file_faults, parse_line, record_file
from lisa_micro.io import read_micrograph
from lisa_micro.language import Vocabulary, parse_reply
from lisa_micro.language.replies import Text
from lisa_micro.types import InputError, Micrograph

TINY_PX = 12
"""Instances of fewer px are rather a slip of the pen than an object."""
LIKELY_NM = (1e-3, 1e5)
"""Pixel sizes beyond are rather a wrong unit."""
LONG = 900
"""Characters of a conversation that may be more than the 256 tokens that training takes."""
MODALITIES = ("BF-TEM", "HAADF-STEM", "SEM")
PARTS = ("train", "validation", "test")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """Something to be said about a data set: where (file and line, or empty for all of it), and what."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


@dataclass
class Report:
    """What a check found.

    Attributes:
        folder: that was checked.
        lines: of the record files, (file, line number, part, record), those that can be read.
        faults: what cannot be trained on. warnings: what can, but should be looked at.
        parts: records of each part. sizes: images of each ``(H, W)``. pixel_sizes: images of each size in nm, None
            where it is unknown. modalities: images of each.
        instances: of each concept, in all images; masked: concepts of which some labels are masks, whose counts are of
            connected regions. images_with: how many images have any of the concept.
        conversations, turns, targets: how many; targets by what gives them, a concept, ``"mask"`` or ``"instances"``.
        own: names of the data set's own concepts.
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
    own: tuple[str, ...] = ()


def check_folder(folder: str | os.PathLike[str], progress: Progress | None = None) -> Report:
    """Check a data set: every line of every record file, every file that they name, every target and reply.

    Args:
        folder: has ``metadata.jsonl``, or ``train/`` and ``validation/`` that have one each.
        progress: is told (what is done, how much of it, of how much).

    Raises:
        InputError: there is no record file. All else that is wrong is in the report.
    """
    return _Checker(Path(folder), progress or (lambda what, done, total: None)).run()


def record_files(folder: Path) -> list[tuple[Path, str]]:
    """The record files of a data set, and the part that each is, ``""`` where its records say.

    Raises:
        InputError: there is none.
    """
    inner = [(folder / part / FILE_NAME, part) for part in PARTS if (folder / part / FILE_NAME).is_file()]
    if inner and not (folder / FILE_NAME).is_file():
        return inner
    if not folder.exists():
        raise InputError(f"there is no folder {folder}")
    return [(record_file(folder), "")]


@dataclass(frozen=True)
class _Seen:
    """One image: its name, how it looks, and the line that names it first, with its part and source."""

    name: str
    look: Look
    where: str
    part: str
    source: str


class _Checker:
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
        self.report.own += tuple(c.name for c in self.vocabulary.own if c.name not in self.report.own)
        with file.open("rb") as stream:
            total = sum(1 for _ in stream)
            stream.seek(0)
            for number, raw in enumerate(stream, start=1):
                self.progress("Checking", number - 1, total)
                where = self._where(file, number)
                record, errors = parse_line(raw)
                for error in errors:
                    self._fault(where, error)
                if record is None:
                    continue
                first = self._raw.setdefault((file, raw.strip()), where)
                if first != where:
                    self._warn(where, f"the same as {first}")
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
            self._look(folder, where, part, record)
            example, truth = self._truth(folder, where, record)
        except InputError as error:
            self._fault(where, str(error))
            return
        for number, turn in enumerate(record.conversations, start=1):
            self._targets(where, number, turn, example, truth)

    def _look(self, folder: Path, where: str, part: str, record: Record) -> None:
        """The image itself: size, pixel size, modality, and how it looks.

        Raises:
            InputError: it cannot be read.
        """
        path = folder / record.file_name
        if self._image[0] != path:
            self._image = (path, read_micrograph(path))
        source = record.source or record.file_name
        self._sources.setdefault(source, {}).setdefault(part or "train", where)
        if path in self._seen:
            return
        image = self._image[1]
        self._seen[path] = _Seen(path.name, look_at(image.pixels), where, part, source)
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
        both = record.pixel_size_nm, image.pixel_size_nm
        if None not in both and abs(both[0] / both[1] - 1) > 0.01:
            self._warn(where, f"a pixel size of {both[0]:g} nm, where the image file says {both[1]:g} nm")

    # ------------------------------------------------------------------------------------- words and targets

    def _words(self, where: str, record: Record) -> None:
        report = self.report
        report.conversations += bool(record.conversations)
        report.turns += len(record.conversations)
        for number, turn in enumerate(record.conversations, start=1):
            at = f"turn {number}"
            reply = parse_reply(turn.assistant, self.vocabulary)
            for note in reply.notes:
                self._fault(where, f"{at}: {note}")
            if SEG in turn.user:
                self._warn(where, f"{at}: the user says {SEG}, which belongs into replies")
            if any(re.search(r"\d", p.text) for p in reply.parts if isinstance(p, Text)):
                self._warn(
                    where, f"{at}: the reply writes a number itself; numbers are measured, by <value>...</value>"
                )
            if reply.absent and turn.targets:
                self._warn(where, f"{at}: the reply says <absent> and has {SEG}")
            for place, (target, said) in enumerate(zip(turn.targets, reply.targets, strict=False), start=1):
                report.targets[target.concept or ("mask" if target.mask else "instances")] += 1
                known = target.concept if target.concept != "isolated" else "particle"
                if known and said.concept and known != said.concept:
                    self._warn(where, f"{at}: {SEG} {place} is called {said.concept} and refers to {target.concept}")
        length = sum(len(turn.user) + len(turn.assistant) for turn in record.conversations)
        if length > LONG:
            self._warn(where, f"a conversation of {length} characters; training leaves out those above 256 tokens")
        for name in record.concept_labels:
            if name not in DERIVED and name not in self.vocabulary.names:
                text = f"the concept {name} is not in {CONCEPT_FILE}, so that its nouns cannot be learnt"
                if not any(finding.text == text for finding in report.warnings):
                    self._warn(where, text)

    def _truth(self, folder: Path, where: str, record: Record) -> tuple[Example, dict[str, np.ndarray]]:
        """The record with its labels, and the labels of all concepts; kept while lines are about the same ones.

        Raises:
            InputError: labels that cannot be read, or of another size than the image.
        """
        key = (folder, record.file_name, record.labels, *sorted(record.concept_labels.items()))
        if self._example[0] == key and self._example[1] is not None:
            return self._example[1], self._example[2]
        example = record_example(folder, record, self._image[1])
        truth = example.truth() if example.labels is not None or example.own else {}
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
                known = target.concept in truth
                found.append((truth[target.concept] if known else example.target_labels(target)).any())
            except InputError as error:
                self._fault(where, f"turn {number}, target {place}: {error}")
        reply = parse_reply(turn.assistant, self.vocabulary)
        denied = self.vocabulary.named_in(turn.assistant) if reply.absent and not turn.targets else None
        if denied in truth and truth[denied].any():
            self._warn(where, f"turn {number}: the reply denies {denied}, of which the labels have some")
        # where some of what is asked for is there, the empty targets teach that the rest is not
        if len(found) == len(turn.targets) and found and not any(found):
            text = "nothing that it refers to is in the image; the reply should say <absent>"
            self._warn(where, f"turn {number}: {text}")

    # --------------------------------------------------------------------------------------------- the whole set

    def _near(self) -> None:
        """Images of two parts that show the same; of two sources, where the records name no parts."""
        seen = list(self._seen.values())
        told = any(image.part for image in seen)
        belongs = [(image.part or "train") if told else image.source for image in seen]
        if len(set(belongs)) > 1:
            few = len(seen) <= OVERLAPS_UP_TO
            if not few:
                text = f"more than {OVERLAPS_UP_TO} images: only copies were looked for, not crops that overlap"
                self._warn("", text)
            looks = [image.look for image in seen]
            tell = partial(self.progress, "Comparing images")
            for pair in near_duplicates(looks, few, tell, belongs):
                one, other = seen[pair.first], seen[pair.second]
                does = "overlaps with" if pair.kind == "overlap" else f"is a {pair.kind} of"
                parts = f", {other.part or 'train'} with {one.part or 'train'}" if told else ""
                hint = "they belong into one part" if told else "give both the same source"
                self._warn(other.where, f"{other.name} {does} {one.name} ({one.where}){parts}: {hint}")
        for source, places in self._sources.items():
            if told and len(places) > 1:
                text = f"{source} is in {' and '.join(places)}: it belongs into one part"
                self._warn(list(places.values())[1], text)

    def _whole(self, files: list[tuple[Path, str]]) -> None:
        report = self.report
        if self._unsized:
            text = f"{len(self._unsized)} of {len(self._seen)} images have no pixel size, sizes are in px there: "
            self._warn("", text + _listed(self._unsized, 5))
        for concept in report.own:
            asked = report.targets[concept]
            if asked == 1:
                self._warn("", f"the concept {concept} is named only once; more ways of asking teach it better")
            elif not asked and not report.instances[concept]:
                self._warn("", f"the concept {concept} of {CONCEPT_FILE} has neither labels nor sentences")
        for file, _ in files:
            named = {os.path.normpath(name) for f, _, _, record in report.lines if f == file for name in record.files}
            lost = [name for name in _images_in(file.parent) if os.path.normpath(name) not in named]
            if lost and named:
                self._warn(
                    "",
                    f"files of no record in {self._where(file.parent / 'images')}: {_listed(lost)}",
                )


def _images_in(folder: Path) -> Iterator[str]:
    if (folder / "images").is_dir():
        for path in sorted((folder / "images").iterdir()):
            if path.is_file() and not path.name.startswith("."):
                yield f"images/{path.name}"


def _listed(words: list[str], most: int = 10) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
