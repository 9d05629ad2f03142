"""Requests of programs for everything that is like examples; see :mod:`lisa_micro_app.api.programs`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lisa_micro.types import InputError
from lisa_micro_app import exports_like
from lisa_micro_app.api.programs import Programs, overlay_url, segment_record
from lisa_micro_app.state import like as liking
from lisa_micro_app.state.session import Session

_MOST_EXEMPLARS = 32


@dataclass(frozen=True)
class LikeRequest:
    """One request; see the endpoint ``find_like``."""

    image: str
    boxes: Sequence[Sequence[float]] = ()
    not_like: Sequence[Sequence[float]] = ()
    exemplar: str = ""
    words: str = ""
    pixel_size_nm: float | None = None
    rows: int = 50


def find_like(programs: Programs, session: Session, request: LikeRequest) -> dict[str, Any]:
    """Find everything that is like examples.

    Raises:
        InputError: as :meth:`Programs.image` and :func:`lisa_micro_app.state.like.find`; or the exemplar is unknown.
    """
    known = session.programs.exemplars
    liking.unload(session)
    if request.exemplar in known:
        session.like.loaded = known[request.exemplar]
    elif request.exemplar:
        liking.read_upload(session, request.exemplar)
    programs.image(session, request.image, request.pixel_size_nm)
    before = session.like.searches
    drawn = {"like": list(request.boxes), "unlike": list(request.not_like)}
    for _ in liking.find(session, programs.queue, request.words, drawn, programs.limits):
        pass
    found = liking.current(session)
    if found is None or session.like.searches == before:
        raise InputError("The request was cancelled.")
    name = secrets.token_urlsafe(12)
    known[name] = found.exemplar
    while len(known) > _MOST_EXEMPLARS:
        known.pop(next(iter(known)))
    segment = found.segment
    return {
        "image": session.state.current,
        "text": liking.sentence(found),
        "found": segment.count > 0,
        **segment_record(session, segment, request.rows),
        "overlay": overlay_url(session, found.picture.micrograph, [segment] if segment.count else []),
        "exemplar": name,
        "exemplar_file": exports_like.put_exemplar(session, found.exemplar),
        "notes": list(dict.fromkeys((*found.notes, *segment.notes))),
    }
