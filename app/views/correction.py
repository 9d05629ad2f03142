"""The correction of a layer as plain data for the page; see :mod:`lisa_micro_app.views.turns`."""

from __future__ import annotations

from typing import Any

from lisa_micro.correction.replay import fingerprint
from lisa_micro.results.answer import Segmentation
from lisa_micro_app.handlers import Pending
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import correction as correct
from lisa_micro_app.state.pages import Measured
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.masks import image_view, layer_views
from lisa_micro_app.views.tables import summary, table_view

_SHOWN_STEPS = 200


def correct_view(
    session: Session, limits: Limits, pending: Pending | None = None, notice: str = "", message: str = ""
) -> dict[str, Any]:
    """The layer to correct and its steps.

    Args:
        session: whose layer.
        limits: of the app.
        pending: progress of the model, which segments an object to add.
        notice: what is wrong.
        message: what was done.
    """
    turn, picture = correct.shown_turn(session), session.state.picture
    # numbered, because the page ignores data that have not changed, such as the same error twice
    session.correction.views = number = session.correction.views + 1
    view: dict[str, Any] = {"image": None, "number": number, "open": picture is not None}
    view |= {"notice": notice, "message": message, "pending": None}
    if turn is None:
        return view
    _, layer, edit = correct.current(session)
    image, done = turn.micrograph, edit.correction
    colour, segment = turn.colours[layer], _measured(session)
    key = _key(session)
    if pending is not None:
        view["pending"] = {"stage": pending.status, "seconds": pending.seconds}
    return view | {
        "image": image_view(session, image, turn.picture, limits.display_px),
        "name": turn.name,
        "prompt": turn.answer.prompt,
        "layers": [
            {"layer": k, "phrase": s.phrase or s.concept, "colour": turn.colours[k], "current": k == layer}
            for k, s in enumerate(turn.answer.segments)
            if k in correct.layers_of(turn)
        ],
        "layer": layer_views(session, [segment], [colour], key, limits.display_px)[0],
        "concept": segment.concept,
        "steps": list(done.said[-_SHOWN_STEPS:]),
        "earlier": max(0, len(done.said) - _SHOWN_STEPS),
        "undo": bool(done.actions),
        "redo": bool(edit.undone),
        "accepted": edit.accepted is not None and edit.accepted == done.actions,
    }


def corrected_measures(session: Session, limits: Limits) -> dict[str, Any]:
    """Summary and table of the corrected layer."""
    turn = correct.shown_turn(session)
    if turn is None:
        return {"summary": [], "table": {"columns": [], "rows": [], "note": ""}}
    _, layer, _ = correct.current(session)
    colour, segment = turn.colours[layer], _measured(session)
    return {
        "summary": [{"phrase": segment.phrase or segment.concept, "colour": colour, "lines": summary(segment)}],
        "table": table_view([(f"{_key(session)}-0", colour, segment)], limits.table_rows),
    }


def _measured(session: Session) -> Segmentation:
    """The measured current layer; cached until it changes, because picture and table both need it."""
    turn, _, edit = correct.current(session)
    cached = session.correction.measured
    if cached is None or cached.correction is not edit.correction or cached.image is not turn.micrograph:
        new = correct.measured(edit.segment, edit.correction, turn.micrograph)
        cached = session.correction.measured = Measured(edit.correction, turn.micrograph, new)
    return cached.segment


def _key(session: Session) -> str:
    """Name of the current layer's picture: it changes with the labels."""
    turn, layer, edit = correct.current(session)
    return f"c{turn.number}-{layer}-{fingerprint(edit.correction.labels)[:16]}"
