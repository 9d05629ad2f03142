"""The correction of a layer as plain data for the page; see :mod:`lisa_micro_app.views.conversation`."""

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
    session: Session, limits: Limits, pending: Pending | None = None, notice: str = "", said: str = ""
) -> dict[str, Any]:
    """What is being corrected, and how far it is.

    Args:
        pending: an outline on its way.
        notice: what went wrong. said: what was done.
    """
    turn, picture = correct.shown_turn(session), session.state.picture
    # numbered, so that the page hears of it even where the same is refused for the same reason again
    session.correction.views = number = session.correction.views + 1
    view: dict[str, Any] = {"image": None, "number": number, "open": picture is not None}
    view |= {"notice": notice, "said": said, "pending": None}
    if turn is None:
        return view
    _, layer, work = correct.current(session)
    image, done = turn.micrograph, work.correction
    colour, segment = turn.colours[layer], _measured(session)
    key = _key(session)
    if pending is not None:
        view["pending"] = {"stage": pending.said, "seconds": pending.seconds}
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
        "redo": bool(work.undone),
        "accepted": work.accepted is not None and work.accepted == done.actions,
    }


def corrected_measures(session: Session, limits: Limits) -> dict[str, Any]:
    """Summary and table of the layer as it is now."""
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
    """The current layer measured; kept until it changes, as the picture and the table both need it."""
    turn, _, work = correct.current(session)
    kept = session.correction.measured
    if kept is None or kept.correction is not work.correction or kept.image is not turn.micrograph:
        new = correct.measured(work.segment, work.correction, turn.micrograph)
        kept = session.correction.measured = Measured(work.correction, turn.micrograph, new)
    return kept.segment


def _key(session: Session) -> str:
    turn, layer, work = correct.current(session)
    return f"c{turn.number}-{layer}-{fingerprint(work.correction.labels)[:16]}"
