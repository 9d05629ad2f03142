"""A conversation as plain data for the page. User input is sent as text, which the page never sets as HTML."""

from __future__ import annotations

from functools import partial
from typing import Any

from lisa_micro.io import format_length
from lisa_micro.results.answer import Answer
from lisa_micro.viz.browser import grey_png
from lisa_micro_app.handlers import SAMPLE_TITLES, Pending, sample_names
from lisa_micro_app.limits import Limits
from lisa_micro_app.scale_bars import is_marked, told
from lisa_micro_app.state.conversation import AS_READ, Picture, State, Turn
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.masks import image_view, layer_views, marks_key
from lisa_micro_app.views.replies import doubt_view, plot_names, reply_parts
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
    "which particles touch the largest one?",
    "what percentage of the particles are in contact?",
    "plot a histogram of the particle diameters",
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
            f"Read from the scale bar: {bar.text} = {bar.length_px:.1f} px (shown in the picture). Correct the bar, or "
            "type another value."
        )
    if bar is not None and is_marked(picture.micrograph):
        return (
            f"From the scale bar that you marked: {bar.text} = {bar.length_px:.1f} px. Type another value to change it."
        )
    origin = ORIGINS.get(picture.micrograph.pixel_size_origin, "from the file")
    return f"{origin[0].upper()}{origin[1:]}. Type another value to change it."


def turn_view(turn: Turn, shown: bool, last: bool = True) -> dict[str, Any]:
    """One request and its answer as plain data.

    Args:
        turn: the request.
        shown: whether its masks are shown.
        last: whether it is the last one about its micrograph.
    """
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
        "plots": plot_names(answer),
        "doubt": doubt_view(answer, turn.readings % 2 == 1, last),
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
        waiting = {
            "prompt": pending.words,
            "image": pending.name,
            "stage": pending.status,
            "seconds": pending.seconds,
            "again": pending.again,
        }
    last = {turn.picture: turn.number for turn in state.turns}
    return {
        "turns": [
            turn_view(turn, turn.number == state.shown, last[turn.picture] == turn.number and pending is None)
            for turn in state.turns
        ],
        "several": several,
        "pending": waiting,
        "notice": notice,
        "open": state.picture is not None,
        "suggestions": list(SUGGESTIONS) if state.picture is not None and not state.turns else [],
    }


def bar_view(picture: Picture) -> dict[str, Any]:
    """The scale bar of a micrograph: ``ends`` (px, ``None`` without a bar), ``length``, what is ``told`` about it, and
    whether the user ``changed`` it."""
    bar = picture.micrograph.scale_bar
    ends = None if bar is None else [bar.x0, bar.y - bar.drop / 2, bar.x1, bar.y + bar.drop / 2]
    return {
        "ends": ends,
        "length": "" if bar is None else bar.text,
        "told": told(picture),
        "changed": picture.looking != AS_READ,
    }


def viewer_view(session: Session, limits: Limits, notice: str = "") -> dict[str, Any]:
    """The current micrograph with its layers, the other micrographs, the samples, and the address for uploads."""
    state, turn = session.state, session.state.turn
    picture = state.picture
    pictures = [
        {
            "key": p.key,
            "name": p.name,
            "thumb": session.once(
                f"thumb-{p.key}{marks_key(p.micrograph)}", "image/png", partial(grey_png, p.micrograph, 96)
            ),
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
            layers = layer_views(session, turn.answer.segments, turn.colours, turn.key, limits.display_px)
    return {
        "image": image,
        "name": picture.name if picture else "",
        "facts": facts,
        "notes": notes,
        "turn": turn.number if turn else None,
        "nothing": turn.answer.text if turn is not None and _is_about_image(turn.answer) else "",
        "layers": layers,
        "bar": None if picture is None else bar_view(picture),
        "pictures": pictures,
        "samples": [{"name": name, "title": SAMPLE_TITLES.get(name, name)} for name in sample_names()],
        "upload": {"url": f"/lisa/upload/{session.token}", "mib": limits.upload_mib},
        "notice": notice,
    }


def _is_about_image(answer: Answer) -> bool:
    """Whether it says that something is not in the micrograph, which is then shown on it."""
    return not answer.segments and answer.declined and answer.refusal in ("", "absent")


def measure_view(session: Session, limits: Limits) -> dict[str, Any]:
    """Summary and table of the shown answer."""
    turn = session.state.turn
    if turn is None or not turn.answer.segments:
        return {"summary": [], "table": {"columns": [], "rows": [], "note": ""}}
    segments = list(zip(turn.answer.segments, turn.colours, strict=True))
    layers = [
        (f"{turn.key}-{k}", colour, segment)
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
