"""Apply corrections to instance labels and replay their logs.

Everything here works on label images and plain records; no model is needed. During a correction every instance keeps
its number and no number is used twice; :meth:`Correction.result` renumbers the instances 1..n.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from scipy import ndimage

from lisa_micro.correction.actions import Add, CorrectionAction, Log, Merge, Remove, Split, problem_of, read_action
from lisa_micro.correction.split import along_line, by_shape, line_pixels
from lisa_micro.geometry import rle_decode
from lisa_micro.measure.contacts import areas, check_labels, compact
from lisa_micro.types import InputError

_PAST = {"remove": "removed", "add": "added", "split": "split", "merge": "merged"}


@dataclass(frozen=True)
class Correction:
    """Labels and the actions applied to them so far.

    Attributes:
        labels: ``(H, W)`` int32; numbers may be missing.
        highest: the highest instance number used so far, even if that instance was removed.
        actions: the actions, in order.
        said: one sentence per action.
    """

    labels: np.ndarray
    highest: int
    actions: tuple[CorrectionAction, ...] = ()
    said: tuple[str, ...] = ()

    def result(self) -> np.ndarray:
        """The corrected labels ``(H, W)`` int32, renumbered 1..n in the order of the numbers."""
        return compact(self.labels)[0]

    @property
    def summary(self) -> str:
        """A summary such as ``2 removed, 1 split``; empty without actions."""
        done = Counter(_PAST[action.action] for action in self.actions)
        return ", ".join(f"{number} {what}" for what, number in done.items())


def begin(labels: np.ndarray) -> Correction:
    """Start a correction.

    Args:
        labels: ``(H, W)`` integers, 0 = background; the array is not changed.

    Raises:
        InputError: unusable labels.
    """
    array = check_labels(labels).astype(np.int32)
    return Correction(array, int(array.max(initial=0)))


def apply(correction: Correction, action: object) -> Correction:
    """Apply one action.

    Args:
        action: an action of :mod:`lisa_micro.correction.actions`, or a dictionary with its fields.

    Raises:
        InputError: unknown action, unknown instance, or an action that cannot be done; then nothing changes.
    """
    return replay(correction, [action])


def replay(start: Correction | np.ndarray, actions: Iterable[object]) -> Correction:
    """Apply actions one after another; the same labels and actions always give the same result.

    Raises:
        InputError: as :func:`apply`, with the number of the action if there are several.
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
    """The instance that contains most pixels of a line of XY px; 0 if the line crosses none."""
    under = labels[line_pixels(line, labels.shape)]
    counts = np.bincount(under[under > 0]) if (under > 0).any() else np.zeros(1)
    return int(counts.argmax())


def _change(labels: np.ndarray, highest: int, action: CorrectionAction) -> tuple[int, str]:
    """Change ``labels`` in place; returns the highest number afterwards, and a sentence."""
    match action:
        case Remove(instances=instances):
            numbers = _there(labels, instances)
            labels[np.isin(labels, numbers)] = 0
            return highest, f"Removed {_list(numbers)}"
        case Merge(instances=instances):
            numbers = _there(labels, instances)
            if len(numbers) < 2:
                raise InputError("Merging needs two different instances or more; choose them first.")
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
                raise InputError("All its pixels belong to other instances already; remove or split those first.")
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
            raise InputError(f"The shape of {number} does not show where to split it; draw a line across it.")
    else:
        parts = along_line(mask, np.asarray(line, float) - (window[1].start, window[0].start))
        if parts.max() < 2:
            raise InputError(f"The line does not cross {number} from edge to edge; draw it right across.")
    new = [highest + k for k in range(1, int(parts.max()))]
    table = np.array([0, number, *new], np.int32)
    labels[window][mask] = table[parts[mask]]
    return highest + len(new), f"Split {number} into {_list([number, *new])}"


def _there(labels: np.ndarray, instances: Iterable[int]) -> list[int]:
    """Sort instance numbers and remove duplicates.

    Raises:
        InputError: a number that is not in the labels.
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


def fingerprint(labels: np.ndarray) -> str:
    """SHA-256 of a label image: of height, width and pixels as little-endian int32, row by row."""
    array = np.ascontiguousarray(labels, dtype="<i4")
    digest = hashlib.sha256(np.array(array.shape, "<i4").tobytes())
    digest.update(array.tobytes())
    return digest.hexdigest()


def make_log(labels: np.ndarray, correction: Correction, **about: str) -> Log:
    """Make the log of a correction.

    Args:
        labels: ``(H, W)``, as they were before the correction.
        about: ``image``, ``prompt``, ``phrase``, ``concept``.
    """
    return Log(
        labels_sha256=fingerprint(labels),
        result_sha256=fingerprint(correction.result()),
        actions=correction.actions,
        **about,
    )


def log_text(log: Log) -> str:
    """Format a log as JSON with one line per action."""
    record: dict[str, Any] = log.model_dump(mode="json", exclude_none=True)
    lines = [json.dumps(action, ensure_ascii=False) for action in record.pop("actions")]
    head = json.dumps(record, ensure_ascii=False, indent=1)
    body = ",\n  ".join(lines)
    return f'{head[:-2]},\n "actions": [\n  {body}\n ]\n}}\n' if lines else f'{head[:-2]},\n "actions": []\n}}\n'


def read_log(path: str | os.PathLike[str]) -> Log:
    """Read a log file.

    Raises:
        InputError: missing file, not JSON, or no correction log.
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
        raise InputError(f"{path.name} is no log of a correction: {problem_of(error)}.") from error


def replay_log(labels: np.ndarray, log: Log, name: str = "") -> Correction:
    """Replay a log on the labels that it was made for.

    Args:
        labels: ``(H, W)``, as they were before the correction.
        name: of the log's file, for messages.

    Raises:
        InputError: other labels, an action that cannot be done, or another result than the log states.
    """
    place = f"{name}: " if name else ""
    if fingerprint(labels) != log.labels_sha256:
        raise InputError(
            f"{place}These are not the labels that the log was made for; give those from before the correction."
        )
    try:
        correction = replay(labels, log.actions)
    except InputError as error:
        raise InputError(f"{place}{error}") from error
    if log.result_sha256 is not None and fingerprint(correction.result()) != log.result_sha256:
        raise InputError(
            f"{place}The log gives other labels here than where it was made; the log or the release has changed."
        )
    return correction
