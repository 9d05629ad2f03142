"""What the page can do, without the page: every function takes the session and plain values and gives the next state or
plain data. Gradio is not imported here; tests, and programs, call the same functions."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from lisa_micro.io import read_micrograph
from lisa_micro.io.units import check_pixel_size
from lisa_micro.language import check_prompt
from lisa_micro.types import InputError, Micrograph
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.jobs import Desk, Ticket
from lisa_micro_app.limits import SAMPLES, Limits
from lisa_micro_app.state.conversation import (
    Picture,
    State,
    choose_picture,
    with_picture,
    with_pixel_size,
    with_turn,
    without_last,
)
from lisa_micro_app.state.pages import ComparisonState, ProgramState
from lisa_micro_app.state.session import Session, Upload

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
    """A file's name as it is shown: without folders and control characters, 120 characters at most. It never becomes
    part of a path."""
    text = PureWindowsPath(str(name)).name  # takes both kinds of slashes
    text = "".join(c for c in text if c.isprintable()).strip()
    return text[:120] or "micrograph"


def safe_suffix(name: object) -> str:
    """The suffix of a file's name, by which some readers tell formats: lower case, letters and digits only."""
    suffix = Path(shown_name(name)).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def sample_names() -> list[str]:
    """Names of the micrographs that come with the checkout; empty where it has none."""
    there, first = sorted(path.stem for path in SAMPLES.glob("*.tif")), list(SAMPLE_TITLES)
    return sorted(there, key=lambda name: first.index(name) if name in first else len(first))


def sample_path(name: object) -> Path:
    """The file of a sample.

    Raises:
        InputError: there is none of that name.
    """
    if name not in sample_names():
        raise InputError("There is no sample of that name.")
    return SAMPLES / f"{name}.tif"


def read_picture(path: Path, name: str, key: str) -> Picture:
    """The micrograph in a file that a user sent, known by the user's name for it alone.

    Raises:
        InputError: it cannot be read; the message has the user's name, not a path of this machine.
    """
    name = shown_name(name)
    try:
        micrograph = read_micrograph(path)
    except InputError as error:
        raise InputError(_without_path(str(error), path, name)) from error
    except MemoryError as error:
        raise InputError(f"{name} is too large for this machine's memory.") from error
    except Exception as error:  # a reader of a foreign format may fail in ways that nobody foresaw
        raise InputError(f"{name} cannot be read as a micrograph ({type(error).__name__}).") from error
    notes = tuple(_without_path(note, path, name) for note in micrograph.notes)
    return Picture(key, name, replace(micrograph, source=name, notes=notes, metadata={}), str(path))


def _without_path(text: str, path: Path, name: str) -> str:
    return text.replace(str(path), name).replace(path.name, name)


def check_room(state: State, shape: tuple[int, int], limits: Limits) -> None:
    """Raises:
    InputError: the conversation has no room for a micrograph of ``shape``.
    """
    if len(state.pictures) >= limits.images:
        raise InputError(f"A conversation takes {limits.images} micrographs; clear it to begin a new one.")
    pixels = shape[0] * shape[1] + sum(p.micrograph.pixels.size for p in state.pictures)
    if pixels > limits.megapixels * 1e6:
        raise InputError(
            f"The micrographs of a conversation may have {limits.megapixels} million px together; clear it first."
        )


def open_upload(session: Session, desk: Desk, key: str, limits: Limits) -> None:
    """Read a file that the browser sent and go on with it. What cannot be read is removed.

    Raises:
        InputError: it did not arrive, cannot be read, or there is no room.
    """
    upload: Upload = session.take_upload(key, "image")
    try:
        picture = read_picture(upload.path, upload.name, f"p{session.state.counted}-{upload.path.stem}")
        check_room(session.state, picture.micrograph.shape, limits)
    except InputError:
        upload.path.unlink(missing_ok=True)
        raise
    session.state = with_picture(session.state, picture)
    look_ahead(session, desk, picture.micrograph)


def open_sample(session: Session, desk: Desk, name: str, limits: Limits) -> None:
    """Go on with a sample; one that is open already is shown again.

    Raises:
        InputError: there is none of that name, or no room.
    """
    path, key = sample_path(name), f"sample-{name}"
    if any(picture.key == key for picture in session.state.pictures):
        session.state = choose_picture(session.state, key)
        return
    picture = read_picture(path, path.name, key)
    check_room(session.state, picture.micrograph.shape, limits)
    session.state = with_picture(session.state, picture)
    look_ahead(session, desk, picture.micrograph)


def look_ahead(session: Session, desk: Desk, image: Micrograph) -> None:
    """Look at a micrograph while the user still types, where nobody waits for an answer."""
    if session.looking is not None:
        session.looking.cancel()
    session.looking = desk.submit(lambda ticket: desk.opened.encode(image), background=True)


def set_pixel_size(state: State, nm: object) -> State:
    """The current micrograph with a pixel size as typed: a number of nm; nothing brings back what the file says.

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
        original = read_picture(Path(picture.path or ""), picture.name, picture.key).micrograph
        return with_pixel_size(state, None, original)
    given = check_pixel_size(text)
    if given == picture.micrograph.pixel_size_nm:
        return state
    return with_pixel_size(state, given, replace(picture.micrograph, pixel_size_nm=given, pixel_size_origin="user"))


# ------------------------------------------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Pending:
    """A request on its way: what was asked about which micrograph, and where it stands. ``place`` counts the requests
    that come first; 0 when it is being answered."""

    words: str
    name: str
    stage: str = ""
    place: int = 0
    seconds: int = 0
    loading: bool = False

    @property
    def said(self) -> str:
        """Where it stands, in words."""
        if self.loading:
            return "The model is still loading; your request is next"
        if self.place:
            others = "1 request comes" if self.place == 1 else f"{self.place} requests come"
            return f"In the queue: {others} before yours"
        return self.stage or "Begins"


def ask(session: Session, desk: Desk, words: object, limits: Limits) -> Iterator[Pending]:
    """Ask about the current micrograph: yields where the request stands; the answer is in the session's state at the
    end. A request that is called off leaves no trace.

    Raises:
        InputError: nothing asked, no micrograph, the last request is still being answered, or it cannot be answered.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    text, notes = check_prompt(str(words or ""))
    if session.ticket is not None and not session.ticket.finished:
        raise AdvisedError("The last request is still being answered", Advice.WAIT)
    history = tuple(turn.answer for turn in session.state.about(picture.key))
    kept = session.conversation

    def job(ticket: Ticket) -> Any:
        start = time.perf_counter()
        ticket.step("Looking at the micrograph")
        desk.opened.encode(picture.micrograph)
        ticket.step("Reading your words and outlining")
        conversation = conversation_about(desk.opened, picture.micrograph, history, kept, ticket)
        answer = conversation.ask(text)
        ticket.step("Measuring")
        return replace(answer, notes=(*notes, *answer.notes)), conversation, time.perf_counter() - start

    session.ticket, session.asked = desk.submit(job), text
    ticket = session.ticket
    yield from follow(ticket, desk, Pending(text, picture.name))
    if ticket.cancelled:
        return
    if ticket.error is not None:
        raise ticket.error
    answer, conversation, seconds = ticket.result
    # the conversation keeps the very answers that the state keeps, by which it is known to be up to date
    conversation.answers[-1] = answer
    session.conversation = conversation
    session.state = with_turn(session.state, picture, answer, seconds, limits.turns)


def follow(ticket: Ticket, desk: Desk, pending: Pending) -> Iterator[Pending]:
    """Yield where a request stands whenever that changes, until it ends; who stops listening calls it off."""
    start, last = time.monotonic(), None
    try:
        while not ticket.finished:
            now = replace(
                pending,
                stage=ticket.stage,
                place=ticket.place,
                seconds=int(time.monotonic() - start),
                loading=desk.state == "loading",
            )
            if now != last:
                yield now
                last = now
            ticket.wait(_POLL_SECONDS)
    except GeneratorExit:
        ticket.cancel()
        raise


def conversation_about(assistant: Any, image: Micrograph, history: tuple, kept: Any, ticket: Ticket) -> Any:
    """The assistant's conversation about a micrograph that has come as far as ``history``: the one that was kept where
    it has, so that nothing is read twice; else a new one, which recites what was said."""
    if (
        kept is not None
        and kept.image is image
        and len(kept.answers) == len(history)
        and all(one is other for one, other in zip(kept.answers, history, strict=True))
    ):
        conversation = kept
    else:
        conversation = assistant.open_conversation(image, history=history)
    conversation.progress = lambda what, done, total: ticket.step(f"{what}: {done} of {total}")
    return conversation


def undo(session: Session) -> str:
    """Take the last request back, be it answered or on its way; its words, to be changed and asked again."""
    if session.cancel():
        return session.asked
    session.state, words = without_last(session.state)
    return words


def clear(session: Session) -> None:
    """Begin anew: no micrograph, nothing said, no files left."""
    session.cancel()
    for picture in session.state.pictures:
        path = Path(picture.path) if picture.path else None
        if path is not None and path.is_relative_to(session.folder):
            path.unlink(missing_ok=True)
    session.forget_assets()
    session.conversation = None
    session.correction = session.correction.without_conversation()
    session.comparison, session.programs = ComparisonState(), ProgramState()
    session.state = State(counted=session.state.counted)


def stop(session: Session) -> bool:
    """Call off the request on its way; whether there was one."""
    return session.cancel()
