"""Words against boxes: check the boxes and true labels of a user, and run the comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.io import read_labels
from lisa_micro.language import check_prompt
from lisa_micro.types import InputError, Micrograph
from lisa_micro_app.errors import still_answering
from lisa_micro_app.handlers import NOTHING_OPEN, Pending, job_progress, shown_name
from lisa_micro_app.jobs import Job, JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.pages import Compared, Truth
from lisa_micro_app.state.session import Session

if TYPE_CHECKING:  # brings the evaluation suites
    from lisa_micro.evaluate.comparison import Comparison

_UNREADABLE = "The boxes could not be read; draw them again."


def clean_boxes(drawn: object, shape: tuple[int, int], most: int) -> list[list[float]]:
    """Check the boxes sent by the page, and clip them to the micrograph. Boxes without area are dropped.

    Args:
        drawn: ``(N, 4)`` px as a list or as JSON; corners in any order.
        shape: of the micrograph.
        most: maximum number of boxes.

    Returns:
        boxes XYXY px, rounded to 0.1 px.

    Raises:
        InputError: these are no boxes, or too many.
    """
    if drawn in (None, ""):
        return []
    try:
        boxes = np.asarray(json.loads(drawn) if isinstance(drawn, str) else drawn, float).reshape(-1, 4)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(_UNREADABLE) from error
    if not np.isfinite(boxes).all():
        raise InputError(_UNREADABLE)
    if len(boxes) > most:
        raise InputError(f"{len(boxes)} boxes are too many; draw at most {most}.")
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    limit = np.array([shape[1], shape[0]], float)
    clipped = np.concatenate([np.clip(low, 0, limit), np.clip(high, 0, limit)], 1).round(1)
    return clipped[(clipped[:, 2] - clipped[:, 0] >= 1) & (clipped[:, 3] - clipped[:, 1] >= 1)].tolist()


def read_label_upload(session: Session, key: str) -> tuple[Micrograph, str]:
    """Read and remove an uploaded label image.

    Returns:
        the labels as a micrograph of int32 pixels, and the user's name of the file.

    Raises:
        InputError: the file did not arrive or has no labels; the message has the user's name of the file, not its path.
    """
    upload = session.take_upload(key, "truth")
    name = shown_name(upload.name)
    try:
        return read_labels(upload.path), name
    except InputError as error:
        raise InputError(str(error).replace(str(upload.path), name).replace(upload.path.name, name)) from error
    except Exception as error:  # third-party readers raise exceptions of many types
        raise InputError(f"{name} cannot be read as labels ({type(error).__name__}).") from error
    finally:
        upload.path.unlink(missing_ok=True)


def read_truth(session: Session, key: str) -> str:
    """Read uploaded true labels of the current micrograph; return a sentence about them.

    Raises:
        InputError: the file did not arrive, has no labels, or differs in size from the micrograph.
    """
    picture = session.state.picture
    labels, name = read_label_upload(session, key)
    if picture is None:
        raise InputError(NOTHING_OPEN)
    if labels.shape != picture.micrograph.shape:
        sizes = [f"{shape[1]} x {shape[0]} px" for shape in (labels.shape, picture.micrograph.shape)]
        raise InputError(f"The true labels are {sizes[0]} and the micrograph {sizes[1]}; they must have the same size.")
    session.comparison.truth = Truth(picture.key, labels.pixels, name)
    count = len(np.unique(labels.pixels[labels.pixels > 0]))
    return f"{name}: {count} true {'object' if count == 1 else 'objects'}."


def truth_for(session: Session) -> np.ndarray | None:
    """True labels ``(H, W)`` of the current micrograph, or ``None``."""
    truth = session.comparison.truth
    return truth.labels if truth is not None and truth.picture == session.state.current else None


def compare(session: Session, queue: JobQueue, words: object, drawn: object, limits: Limits) -> Iterator[Pending]:
    """Compare words with boxes (and with points and detected boxes) on the current micrograph. Yields the progress; at
    the end the result is ``session.comparison.compared``.

    Args:
        session: whose micrograph.
        queue: runs the comparison.
        words: the request; may be empty.
        drawn: boxes as for :func:`clean_boxes`.
        limits: of the app.

    Raises:
        InputError: no micrograph, nothing to compare, unusable boxes, or the model cannot answer.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    text, _ = check_prompt(str(words or ""), needed=False)
    boxes = clean_boxes(drawn, picture.micrograph.shape, limits.boxes)
    truth = truth_for(session)
    if not boxes and truth is None:
        raise InputError("Draw at least one box around an object, or add true labels, from which boxes are derived.")
    if session.job is not None and not session.job.finished:
        raise still_answering()

    def task(job: Job[Comparison]) -> Comparison:
        from lisa_micro.evaluate.comparison import compare_prompts

        job.step("Encoding the micrograph")
        queue.assistant.encode(picture.micrograph)
        job.step("Segmenting by words and by boxes")
        return compare_prompts(queue.assistant, picture.micrograph, text or None, boxes or None, truth)

    job = queue.submit(task)
    session.job = job
    yield from job_progress(job, queue, Pending(text or "boxes", picture.name))
    if job.cancelled:
        return
    session.comparison.compared = Compared(
        job.outcome(),
        picture.key,
        picture.name,
        picture.path,
        picture.given_nm,
        text,
        boxes,
        looking=picture.looking,
    )
