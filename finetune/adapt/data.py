"""One's own records, and the default's scenes beside them, as what the stage ``adapt`` learns from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lisa_micro.datasets.custom_concepts import FILE_NAME as CONCEPT_FILE
from lisa_micro.datasets.custom_concepts import read_vocabulary
from lisa_micro.datasets.readers import Example, Examples, read_record_folder
from lisa_micro.datasets.records import FILE_NAME, SEG, Record, read_records, record_file
from lisa_micro.geometry import resample_nearest
from lisa_micro.language import parse_reply
from lisa_micro.models.checkpoints import sha256
from lisa_micro.models.lisa.config import LisaConfig, OwnConcept
from lisa_micro.models.lisa.model import work_shape
from lisa_micro.types import CONCEPTS, InputError
from lisa_micro_finetune.data.facts import facts_of
from lisa_micro_finetune.data.sources import Source, prepare_simulated, read_source, to_bytes

SHOWN_ERRORS = 20
DIRECTIONS = re.compile(
    r"\b(left|right|top|bottom|upper|lower|above|below|corner|horizontal|vertical|north|south|east|west|quadrant)\b",
    re.IGNORECASE,
)
"""Words that are true of an image only as it lies."""


@dataclass(frozen=True)
class Goal:
    """What one [SEG] is to outline: ``key`` into :attr:`Item.labels`, ``None`` where it is not known; ``code``: number
    of its concept in the code book, -1 where it has none."""

    key: str | None
    code: int = -1


@dataclass(frozen=True)
class Said:
    """One turn: the user's words, the reply in the reply language, a goal for each [SEG]."""

    user: str
    reply: str
    goals: tuple[Goal, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether it speaks of directions, so that the image may not be turned."""
        return bool(DIRECTIONS.search(self.user) or DIRECTIONS.search(self.reply))


@dataclass(frozen=True)
class Item:
    """One image to learn from.

    Attributes:
        name: for messages. kind: ``"own"`` or ``"sim"``.
        pixels: ``(H, W)`` uint8, robust contrast.
        labels: int16 ``(h, w)`` label images at the size at which the SAM tower sees the image: by concept, and by
            ``"turn.target"`` for what only a conversation refers to.
        instances: whether touching particles are told apart.
        turns: the conversation; empty where there is none. facts: for the default's texts, ``None`` without labels.
    """

    name: str
    kind: str
    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    instances: bool
    turns: tuple[Said, ...] = ()
    facts: dict | None = None

    @property
    def fixed(self) -> bool:
        return any(turn.fixed for turn in self.turns)


@dataclass(frozen=True)
class Records:
    """Records of one part of the data: examples, their records and their lines in the file."""

    file: Path
    examples: Examples
    records: tuple[Record, ...]
    chosen: tuple[int, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterable[Example]:
        return (self.examples[k] for k in self.chosen)


def read_part(path: Path) -> Records:
    """All records of a folder, the file checked as a whole.

    Raises:
        InputError: see :func:`lisa_micro.datasets.records.read_records`.
    """
    records = tuple(read_records(path))
    return Records(record_file(path), read_record_folder(path), records, tuple(range(len(records))))


def split_records(data: Path, validation: Path | float) -> tuple[Records, Records | None]:
    """The part to learn from and the part to judge by.

    A folder ``validation`` beside ``train`` is taken as it is; records that say to which part they belong are held to
    it; else a share of the images is held back, chosen by a hash of their names: the same ones in every run, and all
    records of one source image on one side.

    Raises:
        InputError: no records, or nothing left to learn from.
    """
    if isinstance(validation, Path):
        return read_part(data), read_part(validation)
    if not (data / FILE_NAME).is_file() and (data / "train" / FILE_NAME).is_file():
        held_back = data / "validation"
        train = read_part(data / "train")
        return train, read_part(held_back) if (held_back / FILE_NAME).is_file() else None
    whole = read_part(data)
    parts = [record.split for record in whole.records]
    if any(part is not None for part in parts):
        inside = [part in ("validation", "test") for part in parts]
    else:
        source = [record.source or record.file_name for record in whole.records]
        names = sorted(set(source), key=_digest)
        count = math.ceil(validation * len(names)) if validation and len(names) > 1 else 0
        held = set(names[: min(count, len(names) - 1)])
        inside = [name in held for name in source]
    train = tuple(k for k, v in enumerate(inside) if not v)
    judged = tuple(k for k, v in enumerate(inside) if v)
    if not train:
        raise InputError(f"{whole.file} has no record to learn from: all belong to the validation part")
    pieces = [Records(whole.file, whole.examples, whole.records, part) for part in (train, judged)]
    return pieces[0], pieces[1] if judged else None


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(*parts: Records | None) -> dict[str, str]:
    """sha256 of every file that the records name, and of the record files, by path from the record file's folder."""
    found: dict[str, str] = {}
    for part in parts:
        if part is None:
            continue
        folder = part.file.parent
        names = {part.file.name, *(name for k in part.chosen for name in part.records[k].files)}
        names |= {name for name in (CONCEPT_FILE,) if (folder / name).is_file()}
        found |= {f"{folder.name}/{name}": sha256(folder / name) for name in names}
    return dict(sorted(found.items()))


def read_items(part: Records, config: LisaConfig, kind: str = "own") -> list[Item]:
    """Every record of a part as an :class:`Item`.

    Raises:
        InputError: labels of another shape, targets that are not in them, replies that do not parse, and so on: all of
            them, each with its line.
    """
    items, faults = [], []
    for k in part.chosen:
        try:
            items.append(make_item(part.examples[k], config, kind))
        except InputError as error:
            text = str(error)
            faults.append(text if "line " in text else f"record {k + 1} ({part.records[k].file_name}): {text}")
    if faults:
        more = f"\n... and {len(faults) - SHOWN_ERRORS} more" if len(faults) > SHOWN_ERRORS else ""
        raise InputError(f"{part.file} cannot be learnt from:\n" + "\n".join(faults[:SHOWN_ERRORS]) + more)
    if not any(item.turns or item.facts for item in items):
        raise InputError(f"{part.file} has neither conversations nor labels: there is nothing to learn from")
    return items


def make_item(example: Example, config: LisaConfig, kind: str = "own") -> Item:
    """One record, its label images brought to the size at which the SAM tower sees the image.

    Raises:
        InputError: what is wrong with it.
    """
    shape = example.micrograph.shape
    work = work_shape(*shape, config.work_side, config.least_side)
    vocabulary = config.vocabulary
    truth = example.truth() if example.labels is not None or example.concept_labels else {}
    labels: dict[str, np.ndarray] = {}

    def keep(key: str, image: np.ndarray) -> str:
        if key not in labels:
            labels[key] = resample_nearest(image.astype(np.int32), work).astype(np.int16)
        return key

    turns = []
    for number, turn in enumerate(example.turns):
        reply = parse_reply(turn.assistant, vocabulary)
        if reply.notes:
            raise InputError(f"{example.name}, turn {number + 1}: {reply.notes[0]}")
        goals = []
        for place, (target, said) in enumerate(zip(turn.targets, reply.targets, strict=True)):
            concept = target.concept or said.concept
            # with a constraint the decoder outlines all of the concept, and the constraint is executed
            derived = concept if said.clauses and concept in truth else target.concept
            if derived in truth:
                key = keep(derived, truth[derived])
            else:
                key = keep(f"{number}.{place}", example.target_labels(target))
            # a mask of some particles is not what the code of all particles stands for
            whole = key == concept or (target.mask is not None and concept not in CONCEPTS)
            goals.append(Goal(key, config.code_number(concept or "") if whole else -1))
        turns.append(Said(turn.user, turn.assistant, tuple(goals)))
    known = {c: m for c, m in truth.items() if c in vocabulary.names}
    for concept, image in known.items():
        keep(concept, image)
    pixels = to_bytes(example.micrograph.pixels)
    separate = example.labels is not None and not example.semantic
    facts = None
    if known:
        facts = facts_of(Source(example.name, kind, pixels, known, separate, example.micrograph.modality))
    return Item(example.name, kind, pixels, labels, separate, tuple(turns), facts)


def with_concepts(config: LisaConfig, data: Path) -> LisaConfig:
    """A base's configuration with the concepts of a data set that it does not know yet, behind its own.

    Raises:
        InputError: ``dataset.yaml`` cannot be used, or its nouns are taken.
    """
    folder = record_file(data if (data / FILE_NAME).is_file() else data / "train").parent
    own = read_vocabulary(folder).own
    more = {
        c.name: OwnConcept(nouns=(c.singular, c.plural), kind="instances" if c.instances else "region")
        for c in own
        if c.name not in config.concepts
    }
    if not more:
        return config
    try:
        return LisaConfig.model_validate(
            config.model_copy(update={"concepts": {**config.concepts, **more}}).model_dump()
        )
    except ValueError as error:
        raise InputError(f"the concepts of {folder / CONCEPT_FILE} do not go with the base's: {error}") from error


def simulated_items(folder: Path, count: int, seed: int, side: int, config: LisaConfig) -> list[Item]:
    """Scenes of the simulator with the truth of all default concepts, prepared into ``folder`` where they are not there
    yet: half of them agglomerates, without which few would show necks and pores."""
    items = []
    for path in prepare_simulated(folder, count, seed, (side, side), agglomerates=True):
        source = read_source(path)
        work = work_shape(*source.pixels.shape, config.work_side, config.least_side)
        labels = {c: resample_nearest(m, work).astype(np.int16) for c, m in source.labels.items()}
        items.append(Item(source.name, "sim", source.pixels, labels, True, (), facts_of(source)))
    return items


def learnt_replies(items: list[Item]) -> int:
    """How many [SEG] the conversations hold, for messages."""
    return sum(turn.reply.count(SEG) for item in items for turn in item.turns)
