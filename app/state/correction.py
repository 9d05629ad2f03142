"""Corrections by hand, and training examples.

Each layer of each answer has its own correction, which can be undone back to the model's segmentation.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Generator, Iterator, Mapping
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
from lisa_micro_app.archives import SCRIPT_HEAD, command_options, copy_input, plain_name, zip_folder
from lisa_micro_app.errors import still_answering
from lisa_micro_app.handlers import NOTHING_OPEN, Pending, job_progress
from lisa_micro_app.jobs import Job, JobQueue
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.comparison import clean_boxes
from lisa_micro_app.state.conversation import Turn
from lisa_micro_app.state.pages import LayerEdit
from lisa_micro_app.state.session import Session

EXAMPLES = "examples"
"""Folder of the session's own training examples; they are kept until the session ends."""
NOTHING_SEGMENTED = "There is nothing to correct; segment something on the page “Chat” first."
_NO_LAYER = "The answer has no such layer; choose one from the list."


def edits_of(session: Session) -> dict[tuple[int, int], LayerEdit]:
    """The corrections of a session, by (number of the turn, layer); those of removed turns are dropped."""
    edits = session.correction.edits
    numbers = {turn.number for turn in session.state.turns}
    for key in [key for key in edits if key[0] not in numbers]:
        edits.pop(key, None)
    return edits


def shown_turn(session: Session) -> Turn | None:
    """The shown answer, or ``None`` if it has nothing to correct."""
    turn = session.state.turn
    return turn if turn is not None and layers_of(turn) else None


def layers_of(turn: Turn) -> list[int]:
    """Numbers of the layers that have instances: all but the substrate."""
    return [k for k, segment in enumerate(turn.answer.segments) if segment.concept != "substrate"]


def current(session: Session) -> tuple[Turn, int, LayerEdit]:
    """The chosen layer of the shown answer, and its correction.

    Raises:
        InputError: there is nothing to correct.
    """
    turn = shown_turn(session)
    if turn is None:
        raise InputError(NOTHING_OPEN if session.state.picture is None else NOTHING_SEGMENTED)
    layers, chosen = layers_of(turn), session.correction.layer
    layer = chosen if chosen is not None and chosen in layers else layers[0]
    return turn, layer, edit_of(session, turn, layer)


def edit_of(session: Session, turn: Turn, layer: int) -> LayerEdit:
    """The correction of a layer; an empty one if there is none yet.

    Raises:
        InputError: the answer has no such layer.
    """
    if layer not in layers_of(turn):
        raise InputError(_NO_LAYER)
    segment = turn.answer.segments[layer]
    return edits_of(session).setdefault((turn.number, layer), LayerEdit(segment, correct.begin(segment.labels)))


def choose_layer(session: Session, layer: object) -> None:
    """Choose the layer to correct.

    Raises:
        InputError: the answer has no such layer.
    """
    turn = shown_turn(session)
    if turn is None or not isinstance(layer, int) or layer not in layers_of(turn):
        raise InputError(_NO_LAYER)
    session.correction.layer = int(layer)


# ------------------------------------------------------------------------------------------------- corrections


def act(session: Session, queue: JobQueue, action: object, limits: Limits) -> Iterator[Pending]:
    """Apply one action to the current layer. Yields the progress while the model segments.

    Args:
        session: whose layer.
        queue: runs the model.
        action: a record of :mod:`lisa_micro.correction.actions`; or ``{"action": "add"}`` with ``box`` (XYXY px) or
            ``points`` (XY px) and ``point_labels``, which the model segments; or ``{"action": "split"}`` with a
            ``line`` alone, which cuts the instance that it crosses.
        limits: of the app.

    Raises:
        InputError: there is nothing to correct, the action is unknown, or it cannot be done; nothing is changed then.
    """
    turn, _, edit = current(session)
    record = dict(action) if isinstance(action, Mapping) else {}
    if record.get("action") == "add" and "mask" not in record:
        record = yield from _segment_prompt(session, queue, turn, record, limits)
        if not record:
            return
    elif record.get("action") == "split" and record.get("instance") is None and record.get("line") is not None:
        record["instance"] = correct.instance_on_line(edit.correction.labels, record["line"])
        if not record["instance"]:
            raise InputError("The line crosses no instance; draw it across the one to split.")
    with edit.lock:
        if len(edit.correction.actions) >= limits.corrections:
            raise InputError(f"The limit of {limits.corrections} steps is reached; accept them and ask again.")
        edit.correction = correct.apply(edit.correction, record)
        edit.undone.clear()


def _segment_prompt(
    session: Session, queue: JobQueue, turn: Turn, record: dict[str, Any], limits: Limits
) -> Generator[Pending, None, dict[str, Any]]:
    """Segment the object that a box or points mark; return the action with its mask, or ``{}`` if cancelled."""
    image = turn.micrograph
    if record.get("box") is not None:
        boxes = clean_boxes([record["box"]], image.shape, 1)
        if not boxes:
            raise InputError("The box has no area within the micrograph; draw it around one object.")
        prompt: dict[str, Any] = {"box": boxes[0]}
    elif record.get("points"):
        points, labels = check_points(record["points"], record.get("point_labels"), image.shape)
        if len(points) > limits.points:
            raise InputError(f"{len(points)} points are too many; set at most {limits.points}.")
        if not (labels == 1).any():
            raise InputError("No point is on the object; set at least one there.")
        prompt = {"points": points.round(1).tolist(), "point_labels": [int(label == 1) for label in labels]}
    else:
        raise InputError("Draw a box around the object, or click points on it.")
    if session.job is not None and not session.job.finished:
        raise still_answering()

    def task(job: Job[np.ndarray]) -> np.ndarray:
        job.step("Encoding the micrograph")
        queue.assistant.encode(image)
        job.step("Segmenting")
        if "box" in prompt:
            return queue.assistant.segment_boxes(image, [prompt["box"]]).labels == 1
        return queue.assistant.segment_points(image, prompt["points"], prompt["point_labels"]).labels == 1

    job = queue.submit(task)
    session.job = job
    yield from job_progress(job, queue, Pending("add", turn.name))
    if job.cancelled:
        return {}
    mask = job.outcome()
    if not mask.any():
        raise InputError("The model found no object there; draw a tighter box, or click other points.")
    return {"action": "add", "mask": rle_encode(mask), **prompt}


def step(session: Session, way: object) -> None:
    """Step through the history of the current layer.

    Args:
        session: whose layer.
        way: ``"undo"``: the last action; ``"redo"``: the action undone last; ``"reset"``: back to the model's
            segmentation.

    Raises:
        InputError: there is nothing to correct, to undo or to redo.
    """
    _, _, edit = current(session)
    with edit.lock:
        actions = list(edit.correction.actions)
        if way == "redo":
            if not edit.undone:
                raise InputError("There is nothing to redo.")
            edit.correction = correct.apply(edit.correction, edit.undone[-1])
            edit.undone.pop()
        elif way in ("undo", "reset"):
            if not actions:
                raise InputError("There is nothing to undo.")
            remaining = actions[:-1] if way == "undo" else []
            edit.correction = correct.replay(edit.segment.labels, remaining)
            edit.undone += actions[len(remaining) :][::-1]
        else:
            raise InputError(f"Unknown step {way!r}; use undo, redo or reset.")


def accept(session: Session) -> str:
    """Make the corrected layer part of the answer: its masks, its table, and the numbers of the reply.

    Returns:
        a sentence for the user.

    Raises:
        InputError: there is nothing to correct.
    """
    turn, layer, edit = current(session)
    with edit.lock:
        before = turn.answer.segments
        model = replace(turn.answer, segments=(*before[:layer], edit.segment, *before[layer + 1 :]))
        summary = edit.correction.summary
        answer = corrected_answer(model, layer, edit.correction.result(), turn.micrograph, summary)
        edit.accepted = edit.correction.actions
        _put_answer(session, turn, answer)
    return f"Accepted: {summary}." if summary else "Accepted without changes."


def _put_answer(session: Session, turn: Turn, answer: Answer) -> None:
    """Replace the answer of a turn. The turn gets a new number, so that the browser does not show cached masks."""
    state, number = session.state, session.state.counted + 1
    turns = tuple(replace(t, number=number, answer=answer) if t.number == turn.number else t for t in state.turns)
    edits = edits_of(session)
    for key in [key for key in edits if key[0] == turn.number]:
        edits[(number, key[1])] = edits.pop(key)
    page = session.correction
    page.accepted = (page.accepted - {turn.number}) | {number}
    shown = number if state.shown == turn.number else state.shown
    session.state = replace(state, turns=turns, shown=shown, counted=number)


# ------------------------------------------------------------------------------------------- training examples


def teach(session: Session, folder: Path | None, limits: Limits) -> str:
    """Save the current micrograph with all its accepted answers as a training example.

    Args:
        session: whose micrograph.
        folder: of the operator; ``None``: the session's own, see :func:`examples_zip`.
        limits: of the app.

    Returns:
        a sentence for the user.

    Raises:
        InputError: no answer is accepted, or the example cannot be written.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    page = session.correction
    turns = [turn for turn in session.state.about(picture.key) if turn.number in page.accepted]
    if not turns:
        raise InputError("Accept the segmentation first; only checked answers are saved as training examples.")
    saved = page.examples
    if picture.key not in saved and page.example_count >= limits.examples:
        raise InputError(f"The limit of {limits.examples} examples is reached; reload the page to start a new session.")
    target = folder or session.folder / EXAMPLES
    stem = Path(plain_name(picture.name)).stem
    example = save_example(target, picture.micrograph, [turn.answer for turn in turns], stem, saved.get(picture.key))
    saved[picture.key] = example.name
    page.example_count += not example.replaced
    requests = "1 request" if len(turns) == 1 else f"{len(turns)} requests"
    where = f"the training folder “{folder.name}”" if folder is not None else "your examples"
    replaced = ", replacing the earlier version" if example.replaced else ""
    total = "1 example" if example.count == 1 else f"{example.count} examples"
    return f"Saved {example.name} with {requests} in {where}{replaced}: {total} in total."


def examples_zip(session: Session) -> Path:
    """Pack the session's own examples into an archive.

    Raises:
        InputError: there are none.
    """
    folder = session.folder / EXAMPLES
    if not folder.is_dir():
        raise InputError("There are no examples yet; accept an answer and save it as a training example.")
    return zip_folder(folder, session.new_file(".zip"))


# --------------------------------------------------------------------------------------------------- downloads


def write_logs(session: Session, turn: Turn, folder: Path) -> list[tuple[Path, Path]]:
    """Write the logs of a turn's accepted corrections; return the paths (labels before, log) of each."""
    written = []
    for (number, layer), edit in sorted(edits_of(session).items(), key=lambda item: item[0]):
        if number != turn.number or not edit.accepted:
            continue
        tail = "" if layer == 0 else f"_{layer + 1}"
        names = (f"labels_before{tail}.tif", f"corrections{tail}.json")
        _write_log(folder, turn, edit.segment, correct.replay(edit.segment.labels, edit.accepted), *names)
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
    """Pack the correction of the current layer: the labels before, the log, the results, and ``repeat.sh``.

    Raises:
        InputError: there is nothing to correct, or the archive cannot be written.
    """
    turn, _, edit = current(session)
    root = session.new_file()
    root.mkdir()
    try:
        segment, done = edit.segment, edit.correction
        _write_log(root, turn, segment, done, "labels_before.tif", "corrections.json")
        new = measured(segment, done, turn.micrograph, done.result())
        text = f"{new.count} instances after {len(done.actions)} corrections."
        save_answer(Answer(text, (new,), turn.answer.prompt), turn.micrograph, root / "corrected")
        name = plain_name(turn.name)
        picture = next((p for p in session.state.pictures if p.key == turn.picture), None)
        comment = copy_input(picture.path if picture is not None else None, root / "input" / name)
        command = (
            f"lisa-micro correct input/{shlex.quote(name)} labels_before.tif corrections.json"
            f"{command_options(pixel_size_nm=turn.given_nm, looking=turn.looking)} --out again --force\n"
        )
        (root / "repeat.sh").write_text("\n".join(filter(None, [SCRIPT_HEAD, comment, command])), encoding="utf-8")
        return zip_folder(root, session.new_file(".zip"))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def measured(
    segment: Segmentation, done: correct.Correction, image: Micrograph, labels: np.ndarray | None = None
) -> Segmentation:
    """Measure the corrected segment.

    Args:
        segment: the model's segmentation.
        done: its correction.
        image: the micrograph.
        labels: ``(H, W)``; ``None``: the labels of the correction, whose numbers stay the same between actions.
    """
    return corrected_segment(segment, done.labels if labels is None else labels, image, done.summary)
