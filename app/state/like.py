"""Find all like this: read boxes and exemplars of a user, and run the search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from lisa_micro.exemplar import Exemplar, read_exemplar
from lisa_micro.language import check_prompt
from lisa_micro.results.answer import Segmentation
from lisa_micro.types import InputError
from lisa_micro_app.errors import still_answering
from lisa_micro_app.handlers import NOTHING_OPEN, Pending, job_progress, shown_name
from lisa_micro_app.jobs import Job, JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.pages import FoundAlike
from lisa_micro_app.state.session import Session

_UNREADABLE = "The boxes could not be read; draw them again."


def read_upload(session: Session, key: str) -> str:
    """Read an uploaded exemplar, to be used from now on; return a sentence about it.

    Raises:
        InputError: the file did not arrive, or is no exemplar.
    """
    upload = session.take_upload(key, "exemplar")
    name = shown_name(upload.name)
    try:
        exemplar = read_exemplar(upload.path)
    except InputError as error:
        raise InputError(str(error).replace(upload.path.name, name)) from error
    finally:
        upload.path.unlink(missing_ok=True)
    session.like.loaded, session.like.loaded_name = exemplar, name
    return loaded_words(session)


def loaded_words(session: Session) -> str:
    """A sentence about the loaded exemplar; empty without one."""
    exemplar = session.like.loaded
    if exemplar is None:
        return ""
    boxes = "1 box" if exemplar.like == 1 else f"{exemplar.like} boxes"
    source = f" on {shown_name(exemplar.source)}" if exemplar.source else ""
    return f"{session.like.loaded_name}: learnt from {boxes}{source}."


def unload(session: Session) -> None:
    """Forget the loaded exemplar."""
    session.like.loaded, session.like.loaded_name = None, ""


@dataclass(frozen=True, eq=False)
class _Found:
    """What a job gives: the instances, and what was learnt."""

    segment: Segmentation
    exemplar: Exemplar


def find(session: Session, queue: JobQueue, words: object, drawn: object, limits: Limits) -> Iterator[Pending]:
    """Find all that is like the drawn boxes and the loaded exemplar on the current micrograph. Yields the progress; at
    the end the result is ``session.like.found``.

    Args:
        session: whose micrograph.
        queue: runs the search.
        words: a condition; may be empty.
        drawn: ``{"like": boxes, "unlike": boxes}``, ``(N, 4)`` px each, or the same as JSON.
        limits: of the app.

    Raises:
        InputError: no micrograph, no example, unusable boxes, nothing alike, or the model cannot find by examples.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    text, notes = check_prompt(str(words or ""), needed=False)
    like, unlike = _boxes(drawn, limits)
    loaded = session.like.loaded
    if not like and loaded is None:
        raise InputError("Draw at least one box around an object that is meant, or load an exemplar.")
    if session.job is not None and not session.job.finished:
        raise still_answering()

    def task(job: Job[_Found]) -> _Found:
        assistant, image = queue.assistant, picture.micrograph
        job.step("Learning from the boxes")
        # first, so that what is wrong with the boxes is told
        segment = assistant.segment_like(
            image,
            like,
            unlike,
            exemplar=loaded,
            words=text,
            progress=lambda stage, done, total: job.step(f"{stage}: {done} of {total}"),
        )
        return _Found(segment, assistant.learn_exemplar(image, like, unlike, exemplar=loaded))

    job = queue.submit(task)
    session.job = job
    yield from job_progress(job, queue, Pending(text or "all like this", picture.name))
    if job.cancelled:
        return
    done = job.outcome()
    session.like.searches += 1
    session.like.found = FoundAlike(
        number=session.like.searches,
        picture=picture,
        words=text,
        like=like,
        unlike=unlike,
        segment=done.segment,
        exemplar=done.exemplar,
        notes=notes,
    )


def current(session: Session) -> FoundAlike | None:
    """The last result, if it belongs to the current micrograph."""
    found = session.like.found
    return found if found is not None and found.picture.key == session.state.current else None


def sentence(found: FoundAlike) -> str:
    """What was found, in a sentence."""
    segment = found.segment
    condition = f" ({segment.where})" if segment.where else ""
    if not segment.count:
        return f"Nothing like the example{condition} was found in this micrograph."
    return f"Found {segment.count} {'object' if segment.count == 1 else 'objects'} like the example{condition}."


def _boxes(drawn: object, limits: Limits) -> tuple[list[list[float]], list[list[float]]]:
    """Like and unlike boxes of a page or a program; the assistant checks the numbers."""
    if isinstance(drawn, str):
        try:
            drawn = json.loads(drawn) if drawn else {}
        except (ValueError, RecursionError) as error:
            raise InputError(_UNREADABLE) from error
    if not isinstance(drawn, dict):
        raise InputError(_UNREADABLE)
    like, unlike = (drawn.get(kind) or [] for kind in ("like", "unlike"))
    if not isinstance(like, list) or not isinstance(unlike, list):
        raise InputError(_UNREADABLE)
    if len(like) + len(unlike) > limits.boxes:
        raise InputError(f"{len(like) + len(unlike)} boxes are too many; draw at most {limits.boxes}.")
    return like, unlike
