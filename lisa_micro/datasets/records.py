"""The record schema: one micrograph with its labels and conversations, one JSON object per line.

The file is called ``metadata.jsonl`` and lies beside its images (Hugging Face's ``imagefolder`` convention), so that
``datasets.load_dataset("imagefolder", data_dir=...)`` reads it too. A line::

    {"file_name": "images/a.tif", "labels": "labels/a.tif", "pixel_size_nm": 0.21, "modality": "BF-TEM",
     "conversations": [{"user": "segment the necks", "assistant": "The necks are [SEG].",
                        "targets": [{"concept": "neck"}]}]}

``conversations`` holds the turns of one conversation; several conversations about one image take several lines. A turn
has as many targets as its reply has ``[SEG]``, in the same order. Each target is a concept (derived from the labels), a
mask file, or a list of instance numbers in the labels. Paths are relative to the file's folder.

Labels of other concepts than particles, such as the custom concept ``shell``, are named in ``concept_labels``; the
nouns of custom concepts are in ``dataset.yaml`` (:mod:`lisa_micro.datasets.custom_concepts`). docs/data-format.md is
the user's reference.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from lisa_micro.datasets.bounds import shown, validation_problem
from lisa_micro.io.files import temporary_prefix
from lisa_micro.language.vocabulary import CONCEPT_NAME
from lisa_micro.types import InputError

SEG = "[SEG]"
FILE_NAME = "metadata.jsonl"
_SHOWN_ERRORS = 20

DERIVED = ("particle", "neck", "pore", "agglomerate", "substrate", "isolated")
"""Concepts whose labels are derived from those of the particles."""
Split = Literal["train", "validation", "test"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(_Strict):
    """The target of one ``[SEG]``: exactly one of the three fields.

    Attributes:
        concept: one of :data:`DERIVED` (:func:`lisa_micro.datasets.derive.derive_truth`), or one of the record's
            ``concept_labels``.
        mask: path of a mask image, not 0 = inside.
        instances: instance numbers in the label image, 1 or more.
    """

    concept: str | None = Field(default=None, min_length=1)
    mask: str | None = Field(default=None, min_length=1)
    instances: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Target:
        given = [n for n in ("concept", "mask", "instances") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"a target needs exactly one of concept, mask, instances; it has {given or 'none'}")
        if self.instances is not None and (not self.instances or min(self.instances) < 1):
            raise ValueError("instances must be a list of one or more numbers from 1 up")
        return self


class Turn(_Strict):
    """One request and its reply, with as many targets as the reply has ``[SEG]``."""

    user: str = Field(min_length=1)
    assistant: str = Field(min_length=1)
    targets: tuple[Target, ...] = ()

    @model_validator(mode="after")
    def _targets_fit_reply(self) -> Turn:
        found = self.assistant.count(SEG)
        if found != len(self.targets):
            raise ValueError(f"the reply has {found} {SEG} but the turn has {len(self.targets)} targets")
        return self


class Record(_Strict):
    """One line of a record file.

    Attributes:
        file_name: path of the image.
        labels: path of the instance label image, or None.
        pixel_size_nm: edge of a pixel in nm; None: as the image file states.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"``, or another word.
        conversations: turns of one conversation.
        concept_labels: path of an instance label image for each concept with labels of its own: a custom concept, or
            one of :data:`DERIVED` that was drawn by hand and takes precedence over the derived labels.
        source: what the image was cropped or copied from; images of one source belong in one split.
        split: the part of the data set; None if undecided.
    """

    file_name: str = Field(min_length=1)
    labels: str | None = Field(default=None, min_length=1)
    concept_labels: dict[str, str] = Field(default_factory=dict)
    source: str | None = Field(default=None, min_length=1)
    split: Split | None = None
    pixel_size_nm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    modality: str | None = None
    conversations: tuple[Turn, ...] = ()

    @field_validator("file_name", "labels")
    @classmethod
    def _plain_path(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("not a path")
        return value

    @field_validator("split", mode="before")
    @classmethod
    def _usual_names(cls, value: object) -> object:
        return {"val": "validation", "valid": "validation"}.get(value, value) if isinstance(value, str) else value

    @field_validator("concept_labels", mode="before")
    @classmethod
    def _filled_columns(cls, value: object) -> object:
        # programs that handle tables write null for every concept of other lines
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value or {}

    @field_validator("concept_labels")
    @classmethod
    def _plain_concepts(cls, value: dict[str, str]) -> dict[str, str]:
        for name, path in value.items():
            if name in ("object", "isolated") or not CONCEPT_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a concept: lower-case letters, digits, - and _")
            if not path or "\0" in path:
                raise ValueError(f"the labels of {name} are not a path")
        return value

    @model_validator(mode="after")
    def _labels_where_needed(self) -> Record:
        for number, turn in enumerate(self.conversations):
            for target in turn.targets:
                if target.concept is not None and target.concept not in self.concepts:
                    known = ", ".join(self.concepts)
                    raise ValueError(
                        f"turn {number + 1} has a target of the unknown concept {target.concept!r}; this record knows "
                        f"{known}, and others through concept_labels"
                    )
                drawn = target.concept in self.concept_labels
                if self.labels is None and target.mask is None and not drawn:
                    raise ValueError(
                        f"turn {number + 1} has a target given by concept or instances, which needs labels"
                    )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialise(self)
        if not self.concept_labels:
            fields.pop("concept_labels", None)
        return fields

    @property
    def concepts(self) -> tuple[str, ...]:
        """Concepts that a target may name: the derived ones, then those with labels of their own."""
        return (*DERIVED, *(name for name in self.concept_labels if name not in DERIVED))

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all files that the record names, each once: image, labels, masks."""
        labels = [self.labels] if self.labels else []
        masks = [t.mask for turn in self.conversations for t in turn.targets if t.mask is not None]
        return tuple(dict.fromkeys([self.file_name, *labels, *self.concept_labels.values(), *masks]))


def record_file(path: str | os.PathLike[str]) -> Path:
    """Find the record file at a path: the file itself, or ``metadata.jsonl`` in a folder.

    Raises:
        InputError: no such file.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"there is no record file {file}; write one JSON object a line into it")
    return file


def iterate_records(path: str | os.PathLike[str]) -> Iterator[tuple[int, Record]]:
    """Read the records of a file one at a time, without holding the file in memory.

    Args:
        path: a record file, or a folder with ``metadata.jsonl``.

    Yields:
        line number from 1, and record; empty lines are skipped.

    Raises:
        InputError: no such file; or, when a broken line is reached, its number and problem.
    """
    file = record_file(path)
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            record, errors = parse_line(raw)
            if errors:
                raise InputError(f"{file} line {number}: {'; '.join(errors)}")
            if record is not None:
                yield number, record


def read_records(path: str | os.PathLike[str], check_files: bool = True) -> list[Record]:
    """Read all records of a file, and report the problems of all lines together.

    Args:
        path: a record file, or a folder with ``metadata.jsonl``.
        check_files: also check that the images, labels and masks named exist.

    Raises:
        InputError: no such file, a file without records, or broken lines, each with its number.
    """
    file = record_file(path)
    records: list[Record] = []
    faults: list[str] = []
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            record, errors = parse_line(raw)
            if record is not None and check_files:
                errors += file_faults(record, file.parent)
            faults += [f"line {number}: {error}" for error in errors]
            if record is not None:
                records.append(record)
    if len(faults) == 1:
        raise InputError(f"{file} {faults[0]}")
    if faults:
        more = f"\n... and {len(faults) - _SHOWN_ERRORS} more" if len(faults) > _SHOWN_ERRORS else ""
        raise InputError(f"{file} cannot be used:\n" + "\n".join(faults[:_SHOWN_ERRORS]) + more)
    if not records:
        raise InputError(f"{file} holds no record")
    return records


def file_faults(record: Record, folder: Path) -> list[str]:
    """Find problems with the files that a record names: paths that lead out of its folder, and missing files."""
    faults = []
    for name in record.files:
        # by the text of the path alone: a link inside the folder is the user's decision
        if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
            faults.append(f"{_short(name)} leads out of the folder; paths are relative to the record file")
        elif not os.path.isfile(folder / name):  # which accepts names that no system allows
            faults.append(f"no file {_short(name)}")
    return faults


def _short(name: str) -> str:
    """A path for a message, shortened if it is absurdly long."""
    return name if len(name) <= 200 and name.isprintable() else shown(name)


def write_records(path: str | os.PathLike[str], records: Iterable[Record]) -> int:
    """Write a record file; an existing file is replaced only when the new one is complete.

    Returns:
        number of records.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    descriptor, temporary = tempfile.mkstemp(prefix=temporary_prefix(), suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            for record in records:
                fields = record.model_dump(mode="json", exclude_none=True)
                stream.write(json.dumps(fields, ensure_ascii=False) + "\n")
                count += 1
        os.chmod(temporary, 0o644)  # mkstemp gives 0600, which others in a group could not read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return count


def parse_line(raw: bytes) -> tuple[Record | None, list[str]]:
    """Parse one line of a record file: its record (None if empty or broken) and its problems."""
    try:
        text = raw.decode("utf-8-sig").strip()
        if not text:
            return None, []
        return Record.model_validate(json.loads(text)), []
    except UnicodeDecodeError:
        return None, ["not UTF-8 text"]
    except json.JSONDecodeError as error:  # its own message counts lines within the line
        return None, [f"not JSON ({error.msg}, column {error.colno})"]
    except RecursionError:
        return None, ["not JSON (nested too deeply)"]
    except ValidationError as error:
        return None, [validation_problem(fault) for fault in error.errors()]
