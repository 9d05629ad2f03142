"""Corrections by hand: instances removed, added, split and merged, each step a small record that can be replayed.

Everything here works on label images and plain records; no model is needed to replay a log, because an added instance
is recorded as the pixels that it got. While a correction lasts every instance keeps its number, and a number is never
given twice; :meth:`Correction.result` numbers them 1..n.

A log (``corrections.json``)::

    {"format": "lisa-micro corrections 1", "labels_sha256": "...", "result_sha256": "...", "actions": [
     {"action": "remove", "instances": [3, 7]},
     {"action": "merge", "instances": [1, 2]},
     {"action": "split", "instance": 4, "line": [[10.5, 3.0], [22.0, 40.5]]},
     {"action": "split", "instance": 5},
     {"action": "add", "box": [4, 4, 30, 28], "mask": {"size": [480, 640], "counts": [1200, 12, ...]}}]}
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from scipy import ndimage

from lisa_micro.correction.cut import along_line, by_shape, raster
from lisa_micro.geometry import rle_decode
from lisa_micro.measure.contacts import areas, check_labels, compact
from lisa_micro.types import InputError

FORMAT = "lisa-micro corrections 1"
_NUMBER = Annotated[int, Field(ge=1, le=2**31 - 1)]
_PAST = {"remove": "removed", "add": "added", "split": "split", "merge": "merged"}


# ---------------------------------------------------------------------------------------------------- records


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Remove(_Strict):
    """Instances taken away; their pixels become background."""

    action: Literal["remove"]
    instances: tuple[_NUMBER, ...] = Field(min_length=1)


class Merge(_Strict):
    """Two or more instances made one, which keeps the lowest of their numbers."""

    action: Literal["merge"]
    instances: tuple[_NUMBER, ...] = Field(min_length=2)


class Split(_Strict):
    """One instance made several: along a line of XY px (:func:`~lisa_micro.correction.cut.along_line`), or, without
    one, by its shape (:func:`~lisa_micro.correction.cut.by_shape`)."""

    action: Literal["split"]
    instance: _NUMBER
    line: tuple[tuple[float, float], ...] | None = Field(default=None, min_length=2, max_length=200)


class Runs(_Strict):
    """A mask as uncompressed COCO run lengths, see :func:`lisa_micro.geometry.rle_encode`."""

    size: tuple[int, int]
    counts: tuple[Annotated[int, Field(ge=0)], ...]


class Add(_Strict):
    """A new instance. It gets what no other instance has; ``box`` (XYXY px) or ``points`` (XY px, ``point_labels`` 1 on
    it, 0 not) say what it was made from and are not needed to replay."""

    action: Literal["add"]
    mask: Runs
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] | None = None
    point_labels: tuple[Literal[0, 1], ...] | None = None


Action = Annotated[Remove | Merge | Split | Add, Field(discriminator="action")]
_ACTION: TypeAdapter[Remove | Merge | Split | Add] = TypeAdapter(Action)


class Log(_Strict):
    """A log file.

    Attributes:
        labels_sha256, result_sha256: :func:`fingerprint` of the labels that were corrected, and of the result.
        image, prompt, phrase, concept: what was corrected, for people.
        actions: in order.
    """

    format: Literal["lisa-micro corrections 1"] = FORMAT
    image: str = ""
    prompt: str = ""
    phrase: str = ""
    concept: str = "object"
    labels_sha256: str
    result_sha256: str | None = None
    actions: tuple[Action, ...] = ()

    @model_validator(mode="after")
    def _not_endless(self) -> Log:
        if len(self.actions) > 100_000:
            raise ValueError("more than 100000 actions")
        return self


def read_action(record: object) -> Remove | Merge | Split | Add:
    """An action from a plain record.

    Raises:
        InputError: no such action, or unusable fields.
    """
    if isinstance(record, Remove | Merge | Split | Add):
        return record
    try:
        return _ACTION.validate_python(record)
    except (ValidationError, RecursionError) as error:
        raise InputError(f"This is no action of a correction: {_fault(error)}.") from error


# -------------------------------------------------------------------------------------------------- correcting


@dataclass(frozen=True)
class Correction:
    """Labels with what was done to them so far.

    Attributes:
        labels: ``(H, W)`` int32; numbers may be missing.
        highest: the highest number given so far, whether or not it is still there.
        actions: what was done, in order.
        said: a sentence about each action.
    """

    labels: np.ndarray
    highest: int
    actions: tuple[Remove | Merge | Split | Add, ...] = ()
    said: tuple[str, ...] = ()

    def result(self) -> np.ndarray:
        """``(H, W)`` int32 labels, 1..n without gaps, in the order of the numbers."""
        return compact(self.labels)[0]

    @property
    def summary(self) -> str:
        """Such as ``2 removed, 1 split``; empty where nothing was done."""
        done = Counter(_PAST[action.action] for action in self.actions)
        return ", ".join(f"{number} {what}" for what, number in done.items())


def begin(labels: np.ndarray) -> Correction:
    """Begin to correct.

    Args:
        labels: ``(H, W)`` integers, 0 = background; they are not changed.

    Raises:
        InputError: unusable labels.
    """
    array = check_labels(labels).astype(np.int32)
    return Correction(array, int(array.max(initial=0)))


def apply(correction: Correction, action: object) -> Correction:
    """One more action.

    Args:
        action: a record, or one of the classes above.

    Raises:
        InputError: no such action, no such instance, or it cannot be done; nothing is changed then.
    """
    return replay(correction, [action])


def replay(start: Correction | np.ndarray, actions: Iterable[object]) -> Correction:
    """Actions one after another: the same labels and actions give the same labels.

    Raises:
        InputError: as :func:`apply`, with the number of the action where there are several.
    """
    correction = start if isinstance(start, Correction) else begin(start)
    labels, highest = correction.labels.copy(), correction.highest
    done, said = list(correction.actions), list(correction.said)
    listed = list(actions)
    for number, record in enumerate(listed, 1):
        try:
            action = read_action(record)
            highest, sentence = _change(labels, highest, action)
        except InputError as error:
            raise InputError(f"action {number}: {error}" if len(listed) > 1 else str(error)) from error
        done.append(action)
        said.append(sentence)
    return replace(correction, labels=labels, highest=highest, actions=tuple(done), said=tuple(said))


def instance_on_line(labels: np.ndarray, line: object) -> int:
    """The instance in which most of a line of XY px lies; 0 where it crosses none."""
    under = labels[raster(line, labels.shape)]
    counts = np.bincount(under[under > 0]) if (under > 0).any() else np.zeros(1)
    return int(counts.argmax())


def _change(labels: np.ndarray, highest: int, action: Remove | Merge | Split | Add) -> tuple[int, str]:
    """Change ``labels`` in place; the highest number afterwards, and a sentence."""
    match action:
        case Remove(instances=instances):
            numbers = _there(labels, instances)
            labels[np.isin(labels, numbers)] = 0
            return highest, f"Removed {_list(numbers)}"
        case Merge(instances=instances):
            numbers = _there(labels, instances)
            if len(numbers) < 2:
                raise InputError("To merge takes two different instances or more; choose them first.")
            labels[np.isin(labels, numbers[1:])] = numbers[0]
            return highest, f"Merged {_list(numbers)} into {numbers[0]}"
        case Split(instance=instance, line=line):
            return _split(labels, highest, instance, line)
        case Add(mask=mask):
            if tuple(mask.size) != labels.shape:
                sizes = [f"{w} x {h}" for h, w in (mask.size, labels.shape)]
                raise InputError(f"The added mask is {sizes[0]} px, the labels {sizes[1]} px; they must be alike.")
            wanted = rle_decode({"size": mask.size, "counts": mask.counts})
            free = wanted & (labels == 0)
            if not wanted.any():
                raise InputError("There is nothing to add: the mask is empty.")
            if not free.any():
                raise InputError("All of it belongs to other instances already; remove or split those first.")
            labels[free] = highest + 1
            return highest + 1, f"Added {highest + 1}"
    raise TypeError(f"not an action: {action!r}")


def _split(
    labels: np.ndarray, highest: int, instance: int, line: tuple[tuple[float, float], ...] | None
) -> tuple[int, str]:
    (number,) = _there(labels, (instance,))
    window = ndimage.find_objects((labels == number).astype(np.uint8))[0]
    mask = labels[window] == number
    if line is None:
        parts = by_shape(mask)
        if parts.max() < 2:
            raise InputError(f"The shape of {number} does not show where to split it; draw a cut across it.")
    else:
        parts = along_line(mask, np.asarray(line, float) - (window[1].start, window[0].start))
        if parts.max() < 2:
            raise InputError(f"The cut does not go through {number} from edge to edge; draw it right across.")
    new = [highest + k for k in range(1, int(parts.max()))]
    table = np.array([0, number, *new], np.int32)
    labels[window][mask] = table[parts[mask]]
    return highest + len(new), f"Split {number} into {_list([number, *new])}"


def _there(labels: np.ndarray, instances: Iterable[int]) -> list[int]:
    """Numbers without repetition, ascending.

    Raises:
        InputError: one of them is not in the labels.
    """
    numbers = sorted(set(instances))
    present = areas(labels, int(labels.max(initial=0))) > 0
    missing = [number for number in numbers if number >= len(present) or not present[number]]
    if missing:
        raise InputError(f"There is no instance {_list(missing)}; choose one that is there.")
    return numbers


def _list(numbers: Iterable[int]) -> str:
    words = [str(number) for number in numbers]
    if len(words) > 12:
        return f"{', '.join(words[:10])} and {len(words) - 10} more"
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


# -------------------------------------------------------------------------------------------------------- logs


def fingerprint(labels: np.ndarray) -> str:
    """SHA-256 of a label image: of its height and width and its pixels as little-endian int32, row by row."""
    array = np.ascontiguousarray(labels, dtype="<i4")
    digest = hashlib.sha256(np.array(array.shape, "<i4").tobytes())
    digest.update(array.tobytes())
    return digest.hexdigest()


def make_log(labels: np.ndarray, correction: Correction, **about: str) -> Log:
    """The log of a correction.

    Args:
        labels: ``(H, W)``, as they were when it began.
        about: ``image``, ``prompt``, ``phrase``, ``concept``.
    """
    return Log(
        labels_sha256=fingerprint(labels),
        result_sha256=fingerprint(correction.result()),
        actions=correction.actions,
        **about,
    )


def log_text(log: Log) -> str:
    """A log as JSON, one line an action."""
    record: dict[str, Any] = log.model_dump(mode="json", exclude_none=True)
    lines = [json.dumps(action, ensure_ascii=False) for action in record.pop("actions")]
    head = json.dumps(record, ensure_ascii=False, indent=1)
    body = ",\n  ".join(lines)
    return f'{head[:-2]},\n "actions": [\n  {body}\n ]\n}}\n' if lines else f'{head[:-2]},\n "actions": []\n}}\n'


def read_log(path: str | os.PathLike[str]) -> Log:
    """A log file.

    Raises:
        InputError: it is missing, no JSON, or no log.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give the log of a correction.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not JSON; give the log of a correction.") from error
    try:
        return Log.model_validate(content)
    except (ValidationError, RecursionError) as error:
        raise InputError(f"{path.name} is no log of a correction: {_fault(error)}.") from error


def replay_log(labels: np.ndarray, log: Log) -> Correction:
    """A log replayed on the labels that it was made for.

    Raises:
        InputError: they are other labels, or an action cannot be done, or another result comes out.
    """
    if fingerprint(labels) != log.labels_sha256:
        raise InputError("These are not the labels that the log was made for; give those from before the correction.")
    correction = replay(labels, log.actions)
    if log.result_sha256 is not None and fingerprint(correction.result()) != log.result_sha256:
        raise InputError("The log gives other labels here than where it was made; it was changed, or the release was.")
    return correction


def _fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    first: Mapping[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
