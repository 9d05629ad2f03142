"""Correction actions and correction logs as validated records.

A log (``corrections.json``)::

    {"format": "lisa-micro corrections 1", "labels_sha256": "...", "result_sha256": "...", "actions": [
     {"action": "remove", "instances": [3, 7]},
     {"action": "merge", "instances": [1, 2]},
     {"action": "split", "instance": 4, "line": [[10.5, 3.0], [22.0, 40.5]]},
     {"action": "split", "instance": 5},
     {"action": "add", "box": [4, 4, 30, 28], "mask": {"size": [480, 640], "counts": [1200, 12, ...]}}]}

An added instance is recorded as its pixels, so that replaying a log (:mod:`lisa_micro.correction.replay`) needs no
model.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from lisa_micro.datasets.bounds import validation_problem
from lisa_micro.types import InputError

FORMAT: Final = "lisa-micro corrections 1"
MAX_ACTIONS = 100_000
_Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Length = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Px = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Remove(_Strict):
    """Remove instances; their pixels become background."""

    action: Literal["remove"]
    instances: tuple[_Number, ...] = Field(min_length=1)


class Merge(_Strict):
    """Merge two or more instances into the one with the lowest number."""

    action: Literal["merge"]
    instances: tuple[_Number, ...] = Field(min_length=2)


class Split(_Strict):
    """Split one instance along a line of XY px (:func:`~lisa_micro.correction.split.along_line`) or, without a line, by
    its shape (:func:`~lisa_micro.correction.split.by_shape`)."""

    action: Literal["split"]
    instance: _Number
    line: tuple[tuple[_Px, _Px], ...] | None = Field(default=None, min_length=2, max_length=200)


class Runs(_Strict):
    """A mask as uncompressed COCO run lengths, see :func:`lisa_micro.geometry.rle_encode`."""

    size: tuple[_Length, _Length]
    counts: tuple[_Length, ...]


class Add(_Strict):
    """Add an instance on the mask's pixels that belong to no other instance.

    ``box`` (XYXY px) and ``points`` (XY px; ``point_labels`` 1 = on the object, 0 = not) record the prompt that gave
    the mask; replaying does not use them.
    """

    action: Literal["add"]
    mask: Runs
    box: tuple[_Px, _Px, _Px, _Px] | None = None
    points: tuple[tuple[_Px, _Px], ...] | None = None
    point_labels: tuple[Literal[0, 1], ...] | None = None


CorrectionAction = Remove | Merge | Split | Add
_Tagged = Annotated[CorrectionAction, Field(discriminator="action")]
_ACTION: TypeAdapter[CorrectionAction] = TypeAdapter(_Tagged)


class Log(_Strict):
    """A correction log.

    Attributes:
        labels_sha256, result_sha256: :func:`~lisa_micro.correction.replay.fingerprint` of the labels before the
            correction and of the result.
        image, prompt, phrase, concept: what was corrected, for the reader of the file.
        actions: in order, at most :data:`MAX_ACTIONS`.
    """

    format: Literal["lisa-micro corrections 1"] = FORMAT
    image: str = ""
    prompt: str = ""
    phrase: str = ""
    concept: str = "object"
    labels_sha256: str
    result_sha256: str | None = None
    actions: tuple[_Tagged, ...] = ()

    @model_validator(mode="after")
    def _limit_actions(self) -> Log:
        if len(self.actions) > MAX_ACTIONS:
            raise ValueError(f"more than {MAX_ACTIONS} actions")
        return self


def read_action(record: object) -> CorrectionAction:
    """Validate one action.

    Args:
        record: an action, or a dictionary with its fields.

    Raises:
        InputError: unknown action or unusable fields.
    """
    if isinstance(record, CorrectionAction):
        return record
    try:
        return _ACTION.validate_python(record)
    except (ValidationError, RecursionError) as error:
        raise InputError(f"This is no action of a correction: {problem_of(error)}.") from error


def problem_of(error: ValidationError | RecursionError) -> str:
    """The first problem of a validation, in one line."""
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    return validation_problem(error.errors()[0])
