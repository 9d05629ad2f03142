"""Training items of the stage ``adapt``: records of the user, and simulated scenes."""

from __future__ import annotations

import hashlib
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
from lisa_micro.language.program import parse_program
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
"""Words whose truth depends on the orientation of the image."""


@dataclass(frozen=True)
class Goal:
    """The target of one [SEG].

    Attributes:
        key: key into :attr:`Item.labels`, ``None`` if the target is not known.
        concept: number of the concept whose class embedding stands for the target, -1 if there is none.
    """

    key: str | None
    concept: int = -1


@dataclass(frozen=True)
class TrainingTurn:
    """One turn of a conversation: the request, the reply in the reply language, and a goal for each [SEG]."""

    user: str
    reply: str
    goals: tuple[Goal, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether it mentions directions, so that the image must not be turned."""
        return bool(DIRECTIONS.search(self.user) or DIRECTIONS.search(self.reply))


@dataclass(frozen=True)
class Item:
    """One image to train on.

    Attributes:
        name: name for messages.
        kind: ``"record"`` or ``"sim"``.
        pixels: ``(H, W)`` uint8, robust contrast.
        labels: int16 ``(h, w)`` label images that have the size of the image at the SAM tower, by concept, and by
            ``"turn.target"`` for targets of a conversation that are no whole concept.
        instances: whether touching particles have different labels.
        turns: the conversation; empty if there is none.
        facts: facts for the built-in texts; ``None`` without labels.
    """

    name: str
    kind: str
    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    instances: bool
    turns: tuple[TrainingTurn, ...] = ()
    facts: dict | None = None

    @property
    def fixed(self) -> bool:
        """Whether the conversation mentions directions, so that the image must not be turned."""
        return any(turn.fixed for turn in self.turns)


@dataclass(frozen=True)
class Records:
    """Records of one part of the data.

    Attributes:
        file: the record file.
        examples, records: all examples of the file and their records.
        chosen: numbers of those that belong to this part.
    """

    file: Path
    examples: Examples
    records: tuple[Record, ...]
    chosen: tuple[int, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.chosen)

    def __iter__(self) -> Iterable[Example]:
        return (self.examples[k] for k in self.chosen)


def read_part(path: Path) -> Records:
    """Read all records of a folder.

    Raises:
        InputError: see :func:`lisa_micro.datasets.records.read_records`.
    """
    records = tuple(read_records(path))
    return Records(record_file(path), read_record_folder(path), records, tuple(range(len(records))))


def split_records(data: Path, validation: Path | float) -> tuple[Records, Records | None]:
    """Split records into a training part and a validation part.

    A folder ``validation`` next to ``train`` is the validation part. Otherwise the parts are those that records name.
    If they name none, a fraction of the source images is held out; it is chosen by a hash of their names, so that it is
    the same in every run, and all records of one source image are in one part.

    Args:
        data: folder of the records.
        validation: folder of the validation records, or the fraction of the images to hold out.

    Returns:
        the training part and the validation part, ``None`` if that is empty.

    Raises:
        InputError: no records, or no training records.
    """
    if isinstance(validation, Path):
        return read_part(data), read_part(validation)
    if not (data / FILE_NAME).is_file() and (data / "train" / FILE_NAME).is_file():
        held_out = data / "validation"
        train = read_part(data / "train")
        return train, read_part(held_out) if (held_out / FILE_NAME).is_file() else None
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
    held_out = tuple(k for k, v in enumerate(inside) if v)
    if not train:
        raise InputError(f"{whole.file} has no training record: all belong to the validation part.")
    pieces = [Records(whole.file, whole.examples, whole.records, part) for part in (train, held_out)]
    return pieces[0], pieces[1] if held_out else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(*parts: Records | None) -> dict[str, str]:
    """SHA-256 of the record files and of every file that they name, by path relative to the data folder's parent."""
    found: dict[str, str] = {}
    for part in parts:
        if part is None:
            continue
        folder = part.file.parent
        names = {part.file.name, *(name for k in part.chosen for name in part.records[k].files)}
        names |= {name for name in (CONCEPT_FILE,) if (folder / name).is_file()}
        found |= {f"{folder.name}/{name}": sha256(folder / name) for name in names}
    return dict(sorted(found.items()))


def read_items(part: Records, config: LisaConfig, kind: str = "record") -> list[Item]:
    """Convert every record of a part to an :class:`Item`.

    Raises:
        InputError: labels of another shape, targets that the labels lack, replies that do not parse, and so on; the
            message lists all faults with their lines.
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
        raise InputError(f"{part.file} cannot be used for training:\n" + "\n".join(faults[:SHOWN_ERRORS]) + more)
    if not any(item.turns or item.facts for item in items):
        raise InputError(f"{part.file} has neither conversations nor labels, so there is nothing to train on.")
    return items


def make_item(example: Example, config: LisaConfig, kind: str = "record") -> Item:
    """Convert one record; its labels are resampled to the size of the image at the SAM tower.

    Raises:
        InputError: the record cannot be used.
    """
    shape = example.micrograph.shape
    work = work_shape(*shape, config.work_side, config.least_side)
    vocabulary = config.vocabulary
    truth = example.truth() if example.labels is not None or example.concept_labels else {}
    labels: dict[str, np.ndarray] = {}

    def store(key: str, image: np.ndarray) -> str:
        if key not in labels:
            labels[key] = resample_nearest(image.astype(np.int32), work).astype(np.int16)
        return key

    turns = []
    for number, turn in enumerate(example.turns):
        reply = parse_program(turn.assistant, vocabulary)
        if reply.notes:
            raise InputError(f"{example.name}, turn {number + 1}: {reply.notes[0]}")
        goals = []
        for place, (target, said) in enumerate(zip(turn.targets, reply.targets, strict=True)):
            concept = target.concept or said.concept
            # with a constraint the decoder segments the whole concept, and the runtime applies the constraint
            derived = concept if said.pipeline and concept in truth else target.concept
            if derived in truth:
                key = store(derived, truth[derived])
            else:
                key = store(f"{number}.{place}", example.target_labels(target))
            # the class embedding of particles stands for all of them, and not for a mask of some
            whole = key == concept or (target.mask is not None and concept not in CONCEPTS)
            goals.append(Goal(key, config.code_number(concept or "") if whole else -1))
        turns.append(TrainingTurn(turn.user, turn.assistant, tuple(goals)))
    known = {c: m for c, m in truth.items() if c in vocabulary.names}
    for concept, image in known.items():
        store(concept, image)
    pixels = to_bytes(example.micrograph.pixels)
    separate = example.labels is not None and not example.semantic
    facts = None
    if known:
        facts = facts_of(Source(example.name, kind, pixels, known, separate, example.micrograph.modality))
    return Item(example.name, kind, pixels, labels, separate, tuple(turns), facts)


def with_concepts(config: LisaConfig, data: Path) -> LisaConfig:
    """Append the concepts of a data set that the base does not know to its configuration.

    Raises:
        InputError: ``dataset.yaml`` is invalid, or its nouns belong to other concepts.
    """
    folder = record_file(data if (data / FILE_NAME).is_file() else data / "train").parent
    custom = read_vocabulary(folder).own
    more = {
        c.name: OwnConcept(nouns=(c.singular, c.plural), kind="instances" if c.instances else "region")
        for c in custom
        if c.name not in config.concepts
    }
    if not more:
        return config
    try:
        return LisaConfig.model_validate(
            config.model_copy(update={"concepts": {**config.concepts, **more}}).model_dump()
        )
    except ValueError as error:
        raise InputError(
            f"The concepts of {folder / CONCEPT_FILE} conflict with those of the base: {error}."
        ) from error


def simulated_items(folder: Path, count: int, seed: int, side: int, config: LisaConfig) -> list[Item]:
    """Simulate scenes with the truth of all built-in concepts, or read them from ``folder``.

    Half of them show agglomerates, since few others have necks and pores.
    """
    items = []
    for path in prepare_simulated(folder, count, seed, (side, side), agglomerates=True):
        source = read_source(path)
        work = work_shape(*source.pixels.shape, config.work_side, config.least_side)
        labels = {c: resample_nearest(m, work).astype(np.int16) for c, m in source.labels.items()}
        items.append(Item(source.name, "sim", source.pixels, labels, True, (), facts_of(source)))
    return items


def count_targets(items: list[Item]) -> int:
    """Number of [SEG] in all conversations."""
    return sum(turn.reply.count(SEG) for item in items for turn in item.turns)
