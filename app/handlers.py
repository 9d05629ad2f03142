"""Handlers of the page Chat, without Gradio: functions of a session and plain values. The API and tests call the same
functions."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from lisa_micro.io import Looking, read_micrograph
from lisa_micro.io.units import check_pixel_size
from lisa_micro.language import check_prompt
from lisa_micro.protocols import Assistant, Conversation
from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError, Micrograph
from lisa_micro_app.errors import still_answering
from lisa_micro_app.jobs import Job, JobQueue
from lisa_micro_app.limits import SAMPLES, Limits
from lisa_micro_app.state.conversation import (
    AS_READ,
    Picture,
    State,
    choose_picture,
    with_picture,
    with_reading,
    with_scale,
    with_turn,
    without_last,
)
from lisa_micro_app.state.pages import ComparisonState, LikeState, ProgramState
from lisa_micro_app.state.session import Session

SAMPLE_TITLES = {
    "sintering_tem": "Sintering, BF-TEM",
    "sintering_stem": "Sintering, HAADF-STEM",
    "sintering_sem": "Sintering, SEM",
    "isolated_tem": "No contacts, BF-TEM",
}
NOTHING_OPEN = "Open a micrograph first: drop a file on the left, or click a sample."
_POLL_SECONDS = 0.15
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}(\.gz)?")


# ------------------------------------------------------------------------------------------------- micrographs


def shown_name(name: object) -> str:
    """A file's name for display: without folders and control characters, at most 120 characters. It is never used as a
    path."""
    text = PureWindowsPath(str(name)).name  # takes both kinds of slashes
    text = "".join(c for c in text if c.isprintable()).strip()
    return text[:120] or "micrograph"


def safe_suffix(name: object) -> str:
    """The suffix of a file's name, from which readers infer the format: lower case letters and digits, or ``""``."""
    suffix = Path(shown_name(name)).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def sample_names() -> list[str]:
    """Names of the sample micrographs; empty if they are not installed."""
    names, first = sorted(path.stem for path in SAMPLES.glob("*.tif")), list(SAMPLE_TITLES)
    return sorted(names, key=lambda name: first.index(name) if name in first else len(first))


def sample_path(name: object) -> Path:
    """Path of a sample micrograph.

    Raises:
        InputError: no sample has this name.
    """
    if name not in sample_names():
        raise InputError(f"There is no sample {shown_name(name)!r}; choose one of {', '.join(sample_names())}.")
    return SAMPLES / f"{name}.tif"


def read_picture(path: Path, name: str, key: str, looking: Looking = AS_READ, given_nm: float | None = None) -> Picture:
    """Read a micrograph that a user sent.

    Args:
        path: of the file.
        name: the user's name of the file, which notes and errors show in place of the path.
        key: names the micrograph within the session.
        looking: what is looked for in the picture.
        given_nm: pixel size as typed by the user, or ``None``.

    Raises:
        InputError: it cannot be read.
    """
    name = shown_name(name)
    try:
        micrograph = read_micrograph(path, given_nm, looking=looking)
    except InputError as error:
        raise InputError(_without_path(str(error), path, name)) from error
    except MemoryError as error:
        raise InputError(f"{name} does not fit into the memory of this computer.") from error
    except Exception as error:  # third-party readers raise exceptions of many types
        raise InputError(f"{name} cannot be read as a micrograph ({type(error).__name__}).") from error
    notes = tuple(_without_path(note, path, name) for note in micrograph.notes)
    micrograph = replace(micrograph, source=name, notes=notes, metadata={})
    return Picture(key, name, micrograph, str(path), given_nm, looking)


def read_again(picture: Picture, looking: Looking, given_nm: float | None) -> Picture:
    """The same micrograph, read again with another pixel size or scale bar; its pixels stay the same array.

    Raises:
        InputError: as :func:`read_picture`.
    """
    read = read_picture(Path(picture.path or ""), picture.name, picture.key, looking, given_nm)
    return replace(read, micrograph=replace(read.micrograph, pixels=picture.micrograph.pixels))


def _without_path(text: str, path: Path, name: str) -> str:
    return text.replace(str(path), name).replace(path.name, name)


def check_room(state: State, shape: tuple[int, int], limits: Limits) -> None:
    """Raises:
    InputError: the conversation cannot hold another micrograph of this shape.
    """
    if len(state.pictures) >= limits.images:
        raise InputError(
            f"The limit of {limits.images} micrographs in a conversation is reached; clear the conversation first."
        )
    pixels = shape[0] * shape[1] + sum(p.micrograph.pixels.size for p in state.pictures)
    if pixels > limits.megapixels * 1e6:
        raise InputError(
            f"The micrographs of a conversation may have at most {limits.megapixels} million px together; clear the "
            "conversation first."
        )


def open_upload(session: Session, queue: JobQueue, key: str, limits: Limits) -> None:
    """Read an uploaded micrograph and make it the current one. A file that cannot be read is removed.

    Args:
        key: of the upload.

    Raises:
        InputError: the file did not arrive, cannot be read, or exceeds the limits.
    """
    upload = session.take_upload(key, "image")
    try:
        picture = read_picture(upload.path, upload.name, f"p{session.state.counted}-{upload.path.stem}")
        check_room(session.state, picture.micrograph.shape, limits)
    except InputError:
        upload.path.unlink(missing_ok=True)
        raise
    session.state = with_picture(session.state, picture)
    encode_ahead(session, queue, picture.micrograph)


def open_sample(session: Session, queue: JobQueue, name: str, limits: Limits) -> None:
    """Open a sample and make it the current micrograph; if it is open already, select it.

    Raises:
        InputError: no sample has this name, or it exceeds the limits.
    """
    path, key = sample_path(name), f"sample-{name}"
    if any(picture.key == key for picture in session.state.pictures):
        session.state = choose_picture(session.state, key)
        return
    picture = read_picture(path, path.name, key)
    check_room(session.state, picture.micrograph.shape, limits)
    session.state = with_picture(session.state, picture)
    encode_ahead(session, queue, picture.micrograph)


def encode_ahead(session: Session, queue: JobQueue, image: Micrograph) -> None:
    """Encode a micrograph while the user types, unless other jobs wait."""
    if session.encoding is not None:
        session.encoding.cancel()
    session.encoding = queue.submit(lambda _: queue.assistant.encode(image), background=True)


def set_pixel_size(state: State, nm: object) -> State:
    """Set the pixel size of the current micrograph.

    Args:
        state: of the conversation.
        nm: as typed; empty restores the file's own pixel size, or that of a marked scale bar.

    Raises:
        InputError: not a positive number, or no micrograph is open.
    """
    picture = state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    text = "" if nm is None else str(nm).strip().lower().removesuffix("nm").strip().replace(",", ".")
    if not text:
        if picture.given_nm is None:
            return state
        return with_scale(state, read_again(picture, picture.looking, None))
    given, known = check_pixel_size(text), picture.micrograph.pixel_size_nm
    if known is not None and text in (shown_pixel_size(known), str(known)):  # as it stands in the page
        return state
    return with_scale(state, read_again(picture, picture.looking, given))


def shown_pixel_size(nm: float) -> str:
    """A pixel size as it stands in the page, nm."""
    return f"{nm:.6g}"


# ------------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Pending:
    """The progress of a request.

    Attributes:
        words: the request.
        name: of the micrograph.
        stage: what is being done.
        place: number of requests ahead; 0 while it is being answered.
        seconds: time so far.
        loading: whether the model is still loading.
        again: number of the turn whose answer is being replaced; ``None``: a new request.
    """

    words: str
    name: str
    stage: str = ""
    place: int = 0
    seconds: int = 0
    loading: bool = False
    again: int | None = None

    @property
    def status(self) -> str:
        """The progress in words."""
        if self.loading:
            return "The model is still loading; your request is next"
        if self.place:
            return f"In the queue: {self.place} {'request' if self.place == 1 else 'requests'} ahead of yours"
        return self.stage or "Starting"


@dataclass(frozen=True, eq=False)
class _Answered:
    """An answer, the conversation that it ends, and the time that it took, s."""

    answer: Answer
    conversation: Conversation
    seconds: float


def ask(session: Session, queue: JobQueue, words: object, limits: Limits) -> Iterator[Pending]:
    """Ask about the current micrograph. Yields the progress; at the end the answer is in the session's state. A
    cancelled request leaves no trace.

    Raises:
        InputError: an empty request, no open micrograph, the last request is still being answered, or the model cannot
            answer.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    text, notes = check_prompt(str(words or ""))
    if session.job is not None and not session.job.finished:
        raise still_answering()
    history = tuple(turn.answer for turn in session.state.about(picture.key))
    previous = session.conversation

    def task(job: Job[_Answered]) -> _Answered:
        start = time.perf_counter()
        conversation = continue_conversation(queue.assistant, picture.micrograph, history, previous)
        conversation.progress = lambda stage, done, total: job.step(f"{stage}: {done} of {total}")
        job.step("Encoding the micrograph")
        queue.assistant.encode(picture.micrograph)
        job.step("Reading the request and segmenting")
        answer = conversation.ask(text)
        job.step("Measuring")
        answer = replace(answer, notes=(*notes, *answer.notes))
        # the state keeps the same object, by which continue_conversation recognises an up-to-date conversation
        conversation.answers[-1] = answer
        return _Answered(answer, conversation, time.perf_counter() - start)

    job = queue.submit(task)
    session.job, session.asked = job, text
    yield from job_progress(job, queue, Pending(text, picture.name))
    if job.cancelled:
        return
    done = job.outcome()
    session.conversation = done.conversation
    session.state = with_turn(session.state, picture, done.answer, done.seconds, limits.turns)


def reinterpret(session: Session, queue: JobQueue, number: object) -> Iterator[Pending]:
    """Replace an answer by that of the other reading that it offers. Yields the progress; at the end the new answer,
    which offers the former reading, has the place and the number of the old one.

    Args:
        session: whose answer.
        queue: of the app.
        number: of the turn, which must be the last one about its micrograph.

    Raises:
        InputError: there is no such answer, it offers no other reading, a later one depends on it, a request is still
            being answered, or the model cannot answer.
    """
    turn = next((turn for turn in session.state.turns if turn.number == number), None)
    if turn is None:
        raise InputError("This answer is no longer part of the conversation.")
    reading = turn.answer.alternative
    if reading is None:
        raise InputError("There is no other reading of this request; ask again in other words.")
    about = session.state.about(turn.picture)
    if about[-1] is not turn:
        raise InputError("Later requests refer to this answer; undo them first, or ask again in other words.")
    if session.job is not None and not session.job.finished:
        raise still_answering()
    history, previous = tuple(one.answer for one in about), session.conversation

    def task(job: Job[_Answered]) -> _Answered:
        start = time.perf_counter()
        conversation = continue_conversation(queue.assistant, turn.micrograph, history, previous)
        conversation.progress = lambda stage, done, total: job.step(f"{stage}: {done} of {total}")
        job.step("Segmenting the other reading")
        return _Answered(conversation.reinterpret(reading), conversation, time.perf_counter() - start)

    job = queue.submit(task)
    session.job, session.asked = job, ""
    yield from job_progress(job, queue, Pending(turn.answer.prompt, turn.name, again=turn.number))
    if job.cancelled:
        return
    done = job.outcome()
    session.conversation = done.conversation
    session.correction.forget(turn.number)
    session.state = with_reading(session.state, turn, done.answer, done.seconds)


P = TypeVar("P", bound=Pending)


def job_progress(job: Job[Any], queue: JobQueue, pending: P) -> Iterator[P]:
    """Yield the progress of a job whenever it changes, until the job is finished. Closing the iterator cancels the job.

    Args:
        job: submitted to ``queue``.
        queue: that runs it.
        pending: the progress at the start.
    """
    start, last = time.monotonic(), None
    try:
        while not job.finished:
            now = replace(
                pending,
                stage=job.stage,
                place=job.place,
                seconds=int(time.monotonic() - start),
                loading=queue.state == "loading",
            )
            if now != last:
                yield now
                last = now
            job.wait(_POLL_SECONDS)
    except GeneratorExit:
        job.cancel()
        raise


def continue_conversation(
    assistant: Assistant, image: Micrograph, history: tuple[Answer, ...], previous: Conversation | None
) -> Conversation:
    """A conversation about a micrograph that contains exactly the answers ``history``.

    Args:
        assistant: the model.
        image: the micrograph.
        history: the answers so far.
        previous: the session's last conversation, which is continued if it fits, so that nothing is read twice.
    """
    if (
        previous is not None
        and previous.image is image
        and len(previous.answers) == len(history)
        and all(one is other for one, other in zip(previous.answers, history, strict=True))
    ):
        return previous
    return assistant.open_conversation(image, history=history)


def undo(session: Session) -> str:
    """Undo the last request, answered or not, and return its text for editing."""
    if session.cancel():
        return session.asked
    session.state, words = without_last(session.state)
    return words


def clear(session: Session) -> None:
    """Remove all micrographs, turns and files of the conversation."""
    session.cancel()
    for picture in session.state.pictures:
        path = Path(picture.path) if picture.path else None
        if path is not None and path.is_relative_to(session.folder):
            path.unlink(missing_ok=True)
    session.forget_assets()
    session.conversation = None
    session.correction = session.correction.without_conversation()
    session.comparison, session.like, session.programs = ComparisonState(), LikeState(), ProgramState()
    session.state = State(counted=session.state.counted)


def stop(session: Session) -> bool:
    """Cancel the current request; return whether there was one."""
    return session.cancel()
