"""Words against boxes on the page: what was drawn is checked, both are run, and the outcome is pictures and numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from lisa_micro.io import read_labels
from lisa_micro.language import check_prompt
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz import draw_overlay
from lisa_micro_app.errors import Advice, AdvisedError
from lisa_micro_app.handlers import NOTHING_OPEN, Pending, follow, shown_name
from lisa_micro_app.jobs import Desk, Ticket
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.pages import Compared, Truth
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.masks import image_view, png
from lisa_micro_app.views.tables import number

_PICTURE_PX = 1400


def clean_boxes(drawn: object, shape: tuple[int, int], most: int) -> list[list[float]]:
    """Boxes as the page sends them (JSON, or a list), as XYXY px within the micrograph; those without area go.

    Raises:
        InputError: not boxes, or too many.
    """
    if drawn in (None, ""):
        return []
    try:
        boxes = np.asarray(json.loads(drawn) if isinstance(drawn, str) else drawn, float).reshape(-1, 4)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError("The boxes could not be read; draw them again.") from error
    if not np.isfinite(boxes).all():
        raise InputError("The boxes could not be read; draw them again.")
    if len(boxes) > most:
        raise InputError(f"{len(boxes)} boxes are too many; draw at most {most}.")
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    limit = np.array([shape[1], shape[0]], float)
    cut = np.concatenate([np.clip(low, 0, limit), np.clip(high, 0, limit)], 1).round(1)
    return cut[(cut[:, 2] - cut[:, 0] >= 1) & (cut[:, 3] - cut[:, 1] >= 1)].tolist()


def read_label_upload(session: Session, key: str) -> tuple[Micrograph, str]:
    """Take a label image that the browser, or a program, sent: the labels as a micrograph of int32 pixels, and the
    user's name for it. The file is removed.

    Raises:
        InputError: it did not arrive, or holds no labels; the message has the user's name, not a path of this machine.
    """
    upload = session.take_upload(key, "truth")
    name = shown_name(upload.name)
    try:
        return read_labels(upload.path), name
    except InputError as error:
        raise InputError(str(error).replace(str(upload.path), name).replace(upload.path.name, name)) from error
    except Exception as error:  # a reader of a foreign format may fail in ways that nobody foresaw
        raise InputError(f"{name} cannot be read as labels ({type(error).__name__}).") from error
    finally:
        upload.path.unlink(missing_ok=True)


def read_truth(session: Session, key: str) -> str:
    """Take true labels that the browser sent; a sentence about them.

    Raises:
        InputError: they did not arrive, are no labels, or do not fit the micrograph.
    """
    picture = session.state.picture
    labels, name = read_label_upload(session, key)
    if picture is None:
        raise InputError(NOTHING_OPEN)
    if labels.shape != picture.micrograph.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (labels.shape, picture.micrograph.shape)]
        raise InputError(f"The true labels are {sizes[0]} px, the micrograph {sizes[1]} px; they must be alike.")
    labels = labels.pixels
    session.comparison.truth = Truth(picture.key, labels, name)
    count = len(np.unique(labels[labels > 0]))
    return f"{name}: {count} true {'object' if count == 1 else 'objects'}."


def truth_for(session: Session) -> np.ndarray | None:
    """True labels of the current micrograph, where they were given."""
    truth = session.comparison.truth
    return truth.labels if truth is not None and truth.picture == session.state.current else None


def compare(session: Session, desk: Desk, words: object, drawn: object, limits: Limits) -> Iterator[Pending]:
    """Run words and boxes (and points and detected boxes) on the current micrograph: yields where the request stands;
    the outcome is ``session.comparison.compared`` at the end.

    Raises:
        InputError: no micrograph, nothing to compare, unusable boxes, or it cannot be done.
    """
    picture = session.state.picture
    if picture is None:
        raise InputError(NOTHING_OPEN)
    text, _ = check_prompt(str(words or ""), needed=False)
    boxes = clean_boxes(drawn, picture.micrograph.shape, limits.boxes)
    truth = truth_for(session)
    if not boxes and truth is None:
        raise InputError("Draw at least one box around an object, or give true labels, from which boxes are drawn.")
    if session.ticket is not None and not session.ticket.finished:
        raise AdvisedError("The last request is still being answered", Advice.WAIT)

    def job(ticket: Ticket) -> Any:
        from lisa_micro.evaluate.comparison import compare_prompts

        ticket.step("Looking at the micrograph")
        desk.opened.encode(picture.micrograph)
        ticket.step("Asking in words and with boxes")
        return compare_prompts(desk.opened, picture.micrograph, text or None, boxes or None, truth)

    session.ticket = ticket = desk.submit(job)
    yield from follow(ticket, desk, Pending(text or "boxes", picture.name))
    if ticket.cancelled:
        return
    if ticket.error is not None:
        raise ticket.error
    session.comparison.compared = Compared(
        ticket.result, picture.key, picture.name, picture.path, picture.given_nm, text, boxes
    )


def draw_view(session: Session, limits: Limits, reset: bool = False) -> dict[str, Any]:
    """The micrograph to draw boxes on.

    Args:
        reset: take away what is drawn.
    """
    picture, image = session.state.picture, None
    if picture is not None:
        image = image_view(session, picture.micrograph, picture.key, limits.display_px)
    return {"image": image, "name": picture.name if picture else "", "most": limits.boxes, "reset": reset}


def outcome_view(session: Session, pending: Pending | None = None, notice: str = "") -> dict[str, Any]:
    """What the last comparison gave: a sentence, scores, pictures side by side, and where they differ."""
    view: dict[str, Any] = {"notice": notice, "pending": None, "ready": False}
    if pending is not None:
        view["pending"] = {"stage": pending.said, "seconds": pending.seconds}
    kept = session.comparison.compared
    if kept is None or pending is not None:
        return view
    from lisa_micro.evaluate.comparison.pictures import difference_map, shrunk

    comparison = kept.comparison
    image = comparison.image
    shown = {name: way.labels for name, way in comparison.ways.items()}
    if comparison.truth is not None:
        shown["truth"] = comparison.truth

    reference = shown.get("truth", next(iter(shown.values())))

    def put(picture: np.ndarray) -> str:
        return session.put(png(shrunk(picture, _PICTURE_PX)), "image/png")

    if kept.pictures is None:
        kept.pictures = [
            {
                "name": name,
                "caption": f"{len(np.unique(labels[labels > 0]))} objects",
                "url": put(draw_overlay(image.pixels, numbered_as(labels, reference), image.pixel_size_nm)),
            }
            for name, labels in shown.items()
        ]
        pair = [name for name in ("words", "boxes", *shown) if name in shown]
        pair = list(dict.fromkeys(pair))[:2]
        if len(pair) == 2:
            one, other = (shown[name] > 0 for name in pair)
            kept.difference = {
                "url": put(difference_map(image.pixels, one, other)),
                "one": pair[0],
                "other": pair[1],
            }
    return view | {
        "ready": True,
        "image": kept.name,
        "sentence": comparison.sentence,
        "against": comparison.reference,
        "scores": plain_table(comparison.scores),
        "pictures": kept.pictures,
        "difference": kept.difference,
        "notes": list(comparison.notes),
    }


def numbered_as(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Labels under the numbers of the reference's objects that they overlap most, so that an object has one colour in
    all pictures. Each number is given once; what is left gets numbers that the reference does not have.

    Args:
        labels, reference: ``(H, W)`` int32.
    """
    both, wide = (labels > 0) & (reference > 0), int(reference.max(initial=0)) + 1
    codes, counts = np.unique(labels[both].astype(np.int64) * wide + reference[both], return_counts=True)
    given: dict[int, int] = {}
    taken: set[int] = set()
    for code in codes[np.argsort(-counts, kind="stable")].tolist():
        own, other = divmod(code, wide)
        if own not in given and other not in taken:
            given[own] = other
            taken.add(other)
    table = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    for own in np.unique(labels[labels > 0]).tolist():
        table[own] = given.setdefault(own, wide + len(given))
    return table[labels]


def plain_table(table: pd.DataFrame) -> dict[str, Any]:
    """A table of results as names of columns and rows of text."""
    columns = [name for name in table.columns if name != "compared with"]
    rows = [
        [value if isinstance(value, str) else number(value) for value in record]
        for record in table[columns].itertuples(index=False)
    ]
    return {"columns": columns, "rows": rows}
