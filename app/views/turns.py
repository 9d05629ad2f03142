"""A conversation as plain data for the page. User input is sent as text, which the page never sets as HTML."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from lisa_micro.io import format_length
from lisa_micro.language.words import CONCEPT_NOUNS
from lisa_micro.results.answer import Answer
from lisa_micro_app.handlers import SAMPLE_TITLES, Pending, sample_names
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.conversation import State, Turn
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.masks import grey_png, image_view, layer_views
from lisa_micro_app.views.tables import summary, table_view

ORIGINS = {
    "user": "typed by you",
    "imagej": "from the file (ImageJ)",
    "ome": "from the file (OME)",
    "fei": "from the file (Thermo Fisher / FEI)",
    "zeiss": "from the file (Zeiss)",
    "tvips": "from the file (TVIPS)",
    "olympus": "from the file (Olympus)",
    "gatan": "from the file (Gatan)",
    "tiff resolution": "from the file's resolution tags",
    "mrc": "from the file (MRC header)",
    "rosettasciio": "from the file",
    "side-car file": "from the text file beside it",
    "simulator": "from the simulator",
}
SUGGESTIONS = (
    "segment all particles",
    "segment the sintering necks",
    "what is the mean diameter of the particles?",
    "segment the three largest particles",
)


def pixel_size_words(state: State) -> str:
    """The origin of the pixel size of the current micrograph, in words."""
    picture = state.picture
    if picture is None:
        return "Of the open micrograph."
    if picture.micrograph.pixel_size_nm is None:
        return "Unknown: sizes are in px. Type it to get nm."
    bar = picture.micrograph.scale_bar
    if bar is not None and picture.micrograph.pixel_size_origin == "scale bar":
        return (
            f"Read from the scale bar: {bar.text} = {bar.x1 - bar.x0:.1f} px (marked). Type another value to change it."
        )
    origin = ORIGINS.get(picture.micrograph.pixel_size_origin, "from the file")
    return f"{origin[0].upper()}{origin[1:]}. Type another value to change it."


def reply_parts(answer: Answer) -> list[dict[str, Any]]:
    """Split the reply into ``{"text": ..., "layer": k or None}``, so that the words for segment k are parts of their
    own. The texts together are the reply."""
    text, spans, start = answer.text, [], 0
    for k, segment in enumerate(answer.segments):
        span = _find(text, segment.phrase, start) or _find_noun(text, segment.concept, start)
        if span is not None:
            spans.append((*span, k))
            start = span[1]
    parts: list[dict[str, Any]] = []
    last = 0
    for begin, end, k in spans:
        if begin > last:
            parts.append({"text": text[last:begin], "layer": None})
        parts.append({"text": text[begin:end], "layer": k})
        last = end
    if last < len(text):
        parts.append({"text": text[last:], "layer": None})
    return parts


def _find(text: str, phrase: str, start: int) -> tuple[int, int] | None:
    at = text.lower().find(phrase.lower(), start) if phrase else -1
    return None if at < 0 else (at, at + len(phrase))


def _find_noun(text: str, concept: str, start: int) -> tuple[int, int] | None:
    for noun in sorted(CONCEPT_NOUNS.get(concept, ()), key=len, reverse=True):
        match = re.compile(rf"\b{re.escape(noun)}\b", re.IGNORECASE).search(text, start)
        if match:
            return match.span()
    return None


def turn_view(turn: Turn, shown: bool) -> dict[str, Any]:
    """One request and its answer as plain data. shown: whether its masks are shown."""
    answer = turn.answer
    notes = dict.fromkeys((*answer.notes, *(note for segment in answer.segments for note in segment.notes)))
    if turn.micrograph.pixel_size_nm is None and answer.segments:
        notes["The pixel size is unknown; sizes are in px."] = None
    counts = [len(segment.table()) or segment.count for segment in answer.segments]
    return {
        "number": turn.number,
        "image": turn.name,
        "prompt": answer.prompt,
        "parts": reply_parts(answer),
        "nothing": answer.declined or not answer.segments,
        "chips": [
            {"layer": k, "phrase": segment.phrase or segment.concept, "colour": colour, "count": count}
            for k, (segment, colour, count) in enumerate(zip(answer.segments, turn.colours, counts, strict=True))
        ],
        "notes": list(notes),
        "seconds": round(turn.seconds, 1),
        "shown": shown,
    }


def chat_view(session: Session, pending: Pending | None = None, notice: str = "") -> dict[str, Any]:
    """The conversation.

    Args:
        session: whose conversation.
        pending: progress of the current request.
        notice: what is wrong.
    """
    state = session.state
    several = len({turn.picture for turn in state.turns} | {p.key for p in state.pictures}) > 1
    waiting = None
    if pending is not None:
        waiting = {"prompt": pending.words, "image": pending.name, "stage": pending.status, "seconds": pending.seconds}
    return {
        "turns": [turn_view(turn, turn.number == state.shown) for turn in state.turns],
        "several": several,
        "pending": waiting,
        "notice": notice,
        "open": state.picture is not None,
        "suggestions": list(SUGGESTIONS) if state.picture is not None and not state.turns else [],
    }


def viewer_view(session: Session, limits: Limits, notice: str = "") -> dict[str, Any]:
    """The current micrograph with its layers, the other micrographs, the samples, and the address for uploads."""
    state, turn = session.state, session.state.turn
    picture = state.picture
    pictures = [
        {
            "key": p.key,
            "name": p.name,
            "thumb": session.once(f"thumb-{p.key}", "image/png", partial(grey_png, p.micrograph, 96)),
            "current": p.key == state.current,
        }
        for p in state.pictures
    ]
    image, layers, facts, notes = None, [], "", []
    if picture is not None:
        micrograph = turn.micrograph if turn is not None else picture.micrograph
        image = image_view(session, micrograph, picture.key, limits.display_px)
        height, width = micrograph.shape
        facts = f"{width} × {height} px"
        if micrograph.pixel_size_nm is not None:
            nm = micrograph.pixel_size_nm
            facts += f" · {format_length(width * nm)} × {format_length(height * nm)}"
        notes = list(picture.micrograph.notes)
        if turn is not None:
            key = f"{picture.key}-{turn.number}"
            layers = layer_views(session, turn.answer.segments, turn.colours, key, limits.display_px)
    return {
        "image": image,
        "name": picture.name if picture else "",
        "facts": facts,
        "notes": notes,
        "turn": turn.number if turn else None,
        "nothing": turn.answer.text if turn is not None and not turn.answer.segments else "",
        "layers": layers,
        "pictures": pictures,
        "samples": [{"name": name, "title": SAMPLE_TITLES.get(name, name)} for name in sample_names()],
        "upload": {"url": f"/lisa/upload/{session.token}", "mib": limits.upload_mib},
        "notice": notice,
    }


def measure_view(session: Session, limits: Limits) -> dict[str, Any]:
    """Summary and table of the shown answer."""
    turn = session.state.turn
    if turn is None or not turn.answer.segments:
        return {"summary": [], "table": {"columns": [], "rows": [], "note": ""}}
    segments = list(zip(turn.answer.segments, turn.colours, strict=True))
    layers = [
        (f"{turn.picture}-{turn.number}-{k}", colour, segment)
        for k, (segment, colour) in enumerate(segments)
        if segment.concept != "substrate"
    ]
    return {
        "summary": [
            {"phrase": segment.phrase or segment.concept, "colour": colour, "lines": summary(segment)}
            for segment, colour in segments
        ],
        "table": table_view(layers, limits.table_rows),
    }
