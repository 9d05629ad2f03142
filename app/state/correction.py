"""Correct and teach, without the page: what is outlined is changed step by step, accepted, and kept as a training
example. Each answer's layer has a correction of its own, which can be undone back to what the model outlined."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.correction import replay as correct
from lisa_micro.correction.examples import save_example
from lisa_micro.correction.remeasure import corrected_answer, corrected_segment
from lisa_micro.geometry import rle_encode
from lisa_micro.io import write_files, write_labels
from lisa_micro.points import check_points
from lisa_micro.results import save_answer
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph
from lisa_micro_app.archives import plain_name, zip_folder
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.handlers import NOTHING_OPEN, Pending, follow
from lisa_micro_app.jobs import Desk, Ticket
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.comparison import clean_boxes
from lisa_micro_app.state.conversation import Turn
from lisa_micro_app.state.pages import Work
from lisa_micro_app.state.session import Session

EXAMPLES = "examples"
"""Folder of the session's own training examples; they stay until the session ends."""
NOTHING_OUTLINED = "There is nothing to correct: ask for something on the page “Chat” first."
NO_CHANGE = "Nothing is left to undo."


def works(session: Session) -> dict[tuple[int, int], Work]:
    """The session's corrections; those of turns that are gone are forgotten."""
    kept = session.correction.works
    numbers = {turn.number for turn in session.state.turns}
    for key in [key for key in kept if key[0] not in numbers]:
        kept.pop(key, None)
    return kept


def shown_turn(session: Session) -> Turn | None:
    """The answer that is shown, where there is something to correct."""
    turn = session.state.turn
    return turn if turn is not None and layers_of(turn) else None


def layers_of(turn: Turn) -> list[int]:
    """Numbers of the layers that have instances: all but the substrate."""
    return [k for k, segment in enumerate(turn.answer.segments) if segment.concept != "substrate"]


def current(session: Session) -> tuple[Turn, int, Work]:
    """The layer that is being corrected.

    Raises:
        InputError: nothing is outlined.
    """
    turn = shown_turn(session)
    if turn is None:
        raise InputError(NOTHING_OPEN if session.state.picture is None else NOTHING_OUTLINED)
    there, wanted = layers_of(turn), session.correction.layer
    layer = wanted if wanted in there else there[0]
    return turn, layer, work_on(session, turn, layer)


def work_on(session: Session, turn: Turn, layer: int) -> Work:
    """The correction of a layer, begun where there is none.

    Raises:
        InputError: the answer has no such layer.
    """
    if layer not in layers_of(turn):
        raise InputError("The answer has no such layer; choose one that is listed.")
    segment = turn.answer.segments[layer]
    return works(session).setdefault((turn.number, layer), Work(segment, correct.begin(segment.labels)))


def choose_layer(session: Session, layer: object) -> None:
    """Correct another layer of the answer.

    Raises:
        InputError: there is none of that number.
    """
    turn = shown_turn(session)
    if turn is None or layer not in layers_of(turn):
        raise InputError("The answer has no such layer; choose one that is listed.")
    session.correction.layer = int(layer)


# -------------------------------------------------------------------------------------------------- correcting


def act(session: Session, desk: Desk, wanted: object, limits: Limits) -> Iterator[Pending]:
    """Do one thing to the current layer: a record of :mod:`lisa_micro.correction.actions`; or ``{"action": "add"}``
    with
    ``box`` (XYXY px) or ``points`` (XY px) and ``point_labels``, which the model outlines; or ``{"action": "split"}``
    with a ``line`` alone, which cuts the instance that it crosses. Yields where it stands.

    Raises:
        InputError: nothing is outlined, no such action, or it cannot be done; nothing is changed then.
    """
    turn, _, work = current(session)
    record = dict(wanted) if isinstance(wanted, Mapping) else {}
    if record.get("action") == "add" and "mask" not in record:
        record = yield from _outline(session, desk, turn, record, limits)
        if not record:
            return
    elif record.get("action") == "split" and record.get("instance") is None and record.get("line") is not None:
        record["instance"] = correct.instance_on_line(work.correction.labels, record["line"])
        if not record["instance"]:
            raise InputError("The cut crosses nothing that is outlined; draw it across an instance.")
    with work.lock:
        if len(work.correction.actions) >= limits.corrections:
            raise InputError(f"There are {limits.corrections} steps already; accept them and ask anew.")
        work.correction = correct.apply(work.correction, record)
        work.undone.clear()


def _outline(session: Session, desk: Desk, turn: Turn, record: dict[str, Any], limits: Limits):
    """A record with the mask of what a box or points mean; an empty one where the request was called off."""
    image = turn.micrograph
    if record.get("box") is not None:
        boxes = clean_boxes([record["box"]], image.shape, 1)
        if not boxes:
            raise InputError("The box has no area within the micrograph; draw it around one object.")
        made: dict[str, Any] = {"box": boxes[0]}
    elif record.get("points"):
        points, labels = check_points(record["points"], record.get("point_labels"), image.shape)
        if len(points) > limits.points:
            raise InputError(f"{len(points)} points are too many; set at most {limits.points}.")
        if not (labels == 1).any():
            raise InputError("At least one point must lie on the object.")
        made = {"points": points.round(1).tolist(), "point_labels": [int(label == 1) for label in labels]}
    else:
        raise InputError("Draw a box around the object, or click points on it.")
    if session.ticket is not None and not session.ticket.finished:
        raise AdvisedError("The last request is still being answered", Advice.WAIT)

    def job(ticket: Ticket) -> np.ndarray:
        ticket.step("Looking at the micrograph")
        desk.opened.encode(image)
        ticket.step("Outlining")
        if "box" in made:
            return desk.opened.segment_boxes(image, [made["box"]]).labels == 1
        return desk.opened.segment_points(image, made["points"], made["point_labels"]).labels == 1

    session.ticket = ticket = desk.submit(job)
    yield from follow(ticket, desk, Pending("add", turn.name))
    if ticket.cancelled:
        return {}
    if ticket.error is not None:
        raise ticket.error
    if not ticket.result.any():
        raise InputError("The model sees no object there; draw the box closer, or click other points.")
    return {"action": "add", "mask": rle_encode(ticket.result), **made}


def step(session: Session, way: object) -> None:
    """``"undo"`` the last action, ``"redo"`` what was undone last, or ``"reset"`` to what the model outlined.

    Raises:
        InputError: nothing is outlined, or there is nothing to undo or redo.
    """
    _, _, work = current(session)
    with work.lock:
        actions = list(work.correction.actions)
        if way == "redo":
            if not work.undone:
                raise InputError("Nothing is left to redo.")
            work.correction = correct.apply(work.correction, work.undone[-1])
            work.undone.pop()
        elif way in ("undo", "reset"):
            if not actions:
                raise InputError(NO_CHANGE)
            kept = actions[:-1] if way == "undo" else []
            work.correction = correct.replay(work.segment.labels, kept)
            work.undone += actions[len(kept) :][::-1]
        else:
            raise InputError("There is no such step.")


def accept(session: Session) -> str:
    """The current layer as it is now becomes the answer: its masks, its table, and the numbers of the reply. A sentence
    about it.

    Raises:
        InputError: nothing is outlined.
    """
    turn, layer, work = current(session)
    with work.lock:
        before = turn.answer.segments
        model = replace(turn.answer, segments=(*before[:layer], work.segment, *before[layer + 1 :]))
        summary = work.correction.summary
        answer = corrected_answer(model, layer, work.correction.result(), turn.micrograph, summary)
        work.accepted = work.correction.actions
        _put_answer(session, turn, answer)
    return f"Accepted: {summary}." if summary else "Accepted as it is."


def _put_answer(session: Session, turn: Turn, answer: Answer) -> None:
    """Another answer in a turn's place, under a new number: what the browser keeps of the old one is not shown."""
    state, number = session.state, session.state.counted + 1
    turns = tuple(replace(t, number=number, answer=answer) if t.number == turn.number else t for t in state.turns)
    kept = works(session)
    for key in [key for key in kept if key[0] == turn.number]:
        kept[(number, key[1])] = kept.pop(key)
    page = session.correction
    page.accepted = (page.accepted - {turn.number}) | {number}
    shown = number if state.shown == turn.number else state.shown
    session.state = replace(state, turns=turns, shown=shown, counted=number)


# ---------------------------------------------------------------------------------------------------- teaching


def teach(session: Session, folder: Path | None, limits: Limits) -> str:
    """Keep the current micrograph with all its accepted answers as a training example; a sentence about it.

    Args:
        folder: of the operator; None: the session's own, see :func:`examples_zip`.

    Raises:
        InputError: nothing is accepted, or it cannot be written.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    page = session.correction
    turns = [turn for turn in session.state.about(picture.key) if turn.number in page.accepted]
    if not turns:
        raise InputError("Accept what is outlined first; only what somebody has looked at is kept as truth.")
    saved = page.examples
    if picture.key not in saved and page.example_count >= limits.examples:
        raise InputError(f"A session keeps {limits.examples} examples; reload the page to begin a new one.")
    place = folder or session.folder / EXAMPLES
    stem = Path(plain_name(picture.name)).stem
    kept = save_example(place, picture.micrograph, [turn.answer for turn in turns], stem, saved.get(picture.key))
    saved[picture.key] = kept.name
    page.example_count += not kept.replaced
    requests = "1 request" if len(turns) == 1 else f"{len(turns)} requests"
    where = f"the training folder “{folder.name}”" if folder is not None else "your examples"
    again = ", in place of the one before" if kept.replaced else ""
    number = "1 example" if kept.count == 1 else f"{kept.count} examples"
    return f"Saved as {kept.name} with {requests} in {where}{again}: {number} now."


def examples_zip(session: Session) -> Path:
    """The session's own examples as an archive.

    Raises:
        InputError: there are none.
    """
    folder = session.folder / EXAMPLES
    if not folder.is_dir():
        raise InputError("There are no examples yet; accept an answer and save it as one.")
    return zip_folder(folder, session.new_file(".zip"))


# --------------------------------------------------------------------------------------------------- downloads


def write_logs(session: Session, turn: Turn, folder: Path) -> list[tuple[Path, Path]]:
    """Logs of the corrections of a turn that were accepted, beside its results: (labels before, log) of each."""
    written = []
    for (number, layer), work in sorted(works(session).items(), key=lambda item: item[0]):
        if number != turn.number or not work.accepted:
            continue
        tail = "" if layer == 0 else f"_{layer + 1}"
        names = (f"labels_before{tail}.tif", f"corrections{tail}.json")
        _write_log(folder, turn, work.segment, correct.replay(work.segment.labels, work.accepted), *names)
        written.append((folder / names[0], folder / names[1]))
    return written


def _write_log(
    folder: Path, turn: Turn, segment: Segmentation, done: correct.Correction, before: str, log: str
) -> None:
    about = {"prompt": turn.answer.prompt, "phrase": segment.phrase, "concept": segment.concept}
    text = correct.log_text(correct.make_log(segment.labels, done, image=turn.name, **about))
    write_files(
        folder,
        {
            before: lambda path: write_labels(path, segment.labels, turn.micrograph.pixel_size_nm),
            log: lambda path: path.write_text(text, encoding="utf-8"),
        },
    )


def pack_correction(session: Session) -> Path:
    """The correction of the current layer as an archive: the labels before, the log, the results, and ``repeat.sh``,
    which makes them again.

    Raises:
        InputError: nothing is outlined.
    """
    turn, _, work = current(session)
    folder = session.new_file()
    folder.mkdir()
    try:
        segment, done = work.segment, work.correction
        _write_log(folder, turn, segment, done, "labels_before.tif", "corrections.json")
        new = measured(segment, done, turn.micrograph, done.result())
        text = f"{new.count} instances after {len(done.actions)} corrections."
        save_answer(Answer(text, (new,), turn.answer.prompt), turn.micrograph, folder / "corrected")
        name = plain_name(turn.name)
        picture = next((p for p in session.state.pictures if p.key == turn.picture), None)
        remark = f"# input/{name} is not in the archive: put your own file there\n"
        if picture is not None and picture.path and Path(picture.path).is_file():
            (folder / "input").mkdir()
            shutil.copyfile(picture.path, folder / "input" / name)
            remark = ""
        nm = "" if turn.given_nm is None else f" --pixel-size {turn.given_nm:.12g}"
        command = (
            f"lisa-micro correct input/{shlex.quote(name)} labels_before.tif corrections.json{nm} --out again --force"
        )
        script = f'#!/bin/sh\n# Makes corrected/ again, in again/.\nset -eu\ncd "$(dirname "$0")"\n{remark}{command}\n'
        (folder / "repeat.sh").write_text(script, encoding="utf-8")
        return zip_folder(folder, session.new_file(".zip"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measured(
    segment: Segmentation, done: correct.Correction, image: Micrograph, labels: np.ndarray | None = None
) -> Segmentation:
    """The segment as it is now, measured; with the numbers that instances have while they are corrected, or with
    ``labels``."""
    return corrected_segment(segment, done.labels if labels is None else labels, image, done.summary)
