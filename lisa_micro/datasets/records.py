"""The record schema: one micrograph with its labels and conversations, one JSON object a line.

The file is called ``metadata.jsonl`` and lies beside its images (Hugging Face's ``imagefolder``
convention), so that ``datasets.load_dataset("imagefolder", data_dir=...)`` reads it too. A line::

    {"file_name": "images/a.tif", "labels": "labels/a.tif", "pixel_size_nm": 0.21, "modality": "BF-TEM",
     "conversations": [{"user": "segment the necks", "assistant": "The necks are [SEG].",
                        "targets": [{"concept": "neck"}]}]}

``conversations`` are the successive turns of one conversation. A turn has as many targets as its reply has
``[SEG]``, in the same order, each given by a concept (derived from the labels), a mask file, or numbers of
instances in the labels. Paths are relative to the file's folder.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lisa_micro.types import InputError

SEG = "[SEG]"
FILE_NAME = "metadata.jsonl"
_SHOWN_ERRORS = 20

Concept = Literal["particle", "neck", "pore", "agglomerate", "substrate", "isolated"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(_Strict):
    """What one ``[SEG]`` refers to: exactly one of the three fields.

    Attributes:
        concept: derived from the instance labels (:func:`lisa_micro.datasets.derive.derive_truth`).
        mask: path of a mask image, not 0 = inside.
        instances: numbers of instances in the label image, 1 or more.
    """

    concept: Concept | None = None
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
    """One request and its reply; as many targets as the reply has ``[SEG]``."""

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
        pixel_size_nm: edge of a pixel in nm; None: what the image file says.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"``, or another word.
        conversations: turns of one conversation.
    """

    file_name: str = Field(min_length=1)
    labels: str | None = Field(default=None, min_length=1)
    pixel_size_nm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    modality: str | None = None
    conversations: tuple[Turn, ...] = ()

    @field_validator("file_name", "labels")
    @classmethod
    def _plain_path(cls, value: str | None) -> str | None:
        if value is not None and "\0" in value:
            raise ValueError("not a path")
        return value

    @model_validator(mode="after")
    def _labels_where_needed(self) -> Record:
        for number, turn in enumerate(self.conversations):
            if self.labels is None and any(target.mask is None for target in turn.targets):
                raise ValueError(f"turn {number + 1} has a target given by concept or instances, which needs labels")
        return self


def record_file(path: str | os.PathLike[str]) -> Path:
    """The record file at a path: the file itself, or ``metadata.jsonl`` in a folder.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"there is no record file {file}; write one JSON object a line into it")
    return file


def iterate_records(path: str | os.PathLike[str]) -> Iterator[tuple[int, Record]]:
    """The records of a file, one after another, without holding the file in memory.

    Args:
        path: a record file, or a folder with ``metadata.jsonl``.

    Yields:
        line number from 1, and record; empty lines are passed over.

    Raises:
        InputError: no such file; or, at the line that is wrong, its number and what is wrong with it.
    """
    file = record_file(path)
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            record, errors = _parse(raw)
            if errors:
                raise InputError(f"{file} line {number}: {'; '.join(errors)}")
            if record is not None:
                yield number, record


def read_records(path: str | os.PathLike[str], check_files: bool = True) -> list[Record]:
    """All records of a file, checked as a whole so that every fault is told at once.

    Args:
        path: a record file, or a folder with ``metadata.jsonl``.
        check_files: also check that the images, labels and masks named exist.

    Raises:
        InputError: no such file, no record in it, or the faults, each with its line number.
    """
    file = record_file(path)
    records: list[Record] = []
    faults: list[str] = []
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            record, errors = _parse(raw)
            if record is not None and check_files:
                errors += [f"no file {name}" for name in _files(record) if not (file.parent / name).is_file()]
            faults += [f"line {number}: {error}" for error in errors]
            if record is not None:
                records.append(record)
    if faults:
        more = f"\n... and {len(faults) - _SHOWN_ERRORS} more" if len(faults) > _SHOWN_ERRORS else ""
        raise InputError(f"{file} cannot be used:\n" + "\n".join(faults[:_SHOWN_ERRORS]) + more)
    if not records:
        raise InputError(f"{file} holds no record")
    return records


def write_records(path: str | os.PathLike[str], records: Iterable[Record]) -> int:
    """Write a record file; an existing one is replaced only when all is written.

    Returns:
        number of records.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
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


def _files(record: Record) -> list[str]:
    masks = [t.mask for turn in record.conversations for t in turn.targets if t.mask is not None]
    return [record.file_name, *([record.labels] if record.labels else []), *masks]


def _parse(raw: bytes) -> tuple[Record | None, list[str]]:
    """One line: its record (None for an empty or faulty one) and its faults."""
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
        return None, [_fault(fault) for fault in error.errors()]


def _fault(fault: dict) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown field {where}"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{where}: {message}" if where else message
