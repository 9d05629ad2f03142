"""The page "Find all like this" as plain data."""

from __future__ import annotations

from typing import Any

from lisa_micro_app.handlers import Pending
from lisa_micro_app.limits import Limits
from lisa_micro_app.state import like as liking
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.masks import image_view, layer_views
from lisa_micro_app.views.tables import summary, table_view

COLOUR = "#e5539b"
"""Colour of what is alike; like boxes are green, unlike boxes orange."""


def like_view(session: Session, limits: Limits, pending: Pending | None = None, notice: str = "") -> dict[str, Any]:
    """The micrograph to draw examples on, and what was found.

    Args:
        session: whose micrograph.
        limits: of the app.
        pending: progress of a search.
        notice: what is wrong.
    """
    picture = session.state.picture
    session.like.views += 1
    view: dict[str, Any] = {
        # numbered, because the page ignores data that have not changed, such as the same error twice
        "number": session.like.views,
        "image": None,
        "name": picture.name if picture else "",
        "layer": None,
        "text": "",
        "notes": [],
        "notice": notice,
        "pending": None,
        "upload": {"url": f"/lisa/upload/{session.token}", "mib": limits.upload_mib},
        "loaded": liking.loaded_words(session),
    }
    if pending is not None:
        view["pending"] = {"stage": pending.status, "seconds": pending.seconds}
    if picture is None:
        return view
    found = liking.current(session)
    image = picture.micrograph if found is None else found.picture.micrograph
    view["image"] = image_view(session, image, picture.key, limits.display_px)
    if found is not None:
        view["layer"] = layer_views(session, [found.segment], [COLOUR], _key(found.number), limits.display_px)[0]
        view["text"] = liking.sentence(found)
        view["notes"] = list(dict.fromkeys((*found.notes, *found.segment.notes)))
    return view


def like_measures(session: Session, limits: Limits) -> dict[str, Any]:
    """Summary and table of what was found."""
    found = liking.current(session)
    if found is None or not found.segment.count:
        return {"summary": [], "table": {"columns": [], "rows": [], "note": ""}}
    segment = found.segment
    return {
        "summary": [{"phrase": segment.phrase, "colour": COLOUR, "lines": summary(segment)}],
        "table": table_view([(f"{_key(found.number)}-0", COLOUR, segment)], limits.table_rows),
    }


def _key(number: int) -> str:
    return f"like{number}"
