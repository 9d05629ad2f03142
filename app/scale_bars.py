"""The scale bar of the current micrograph: marked by the user, none, or as it was read. Without Gradio, as
:mod:`lisa_micro_app.handlers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lisa_micro.io import MarkedBar
from lisa_micro.types import InputError, Micrograph
from lisa_micro_app.handlers import NOTHING_OPEN, read_again
from lisa_micro_app.state.conversation import AS_READ, Picture, State, with_scale

ACTIONS = ("mark", "none", "read")
"""What the page asks for: the bar that the user marked, no bar, the bar that is read from the picture."""


def change(state: State, action: object, ends: object = (), length: object = "") -> State:
    """What the page asks for.

    Args:
        state: of the conversation.
        action: one of :data:`ACTIONS`.
        ends, length: of a marked bar.

    Raises:
        InputError: an unknown action, or as :func:`mark`.
    """
    if action == "mark":
        return mark(state, ends if isinstance(ends, list | tuple) else (), str(length or ""))
    if action == "none":
        return without(state)
    if action == "read":
        return as_read(state)
    raise InputError(f"Unknown action {str(action)[:40]!r}; use {', '.join(ACTIONS)}.")


def mark(state: State, ends: Sequence[float], length: str) -> State:
    """Set the pixel size of the current micrograph from a scale bar that the user marked.

    Args:
        state: of the conversation.
        ends: ``x0, y0, x1, y1`` px from the left and upper edge.
        length: as typed, such as ``"20 nm"``.

    Raises:
        InputError: no micrograph is open, ends outside of it or at the same place, or no length with a unit.
    """
    picture = _current(state)
    if not ends:
        raise InputError("Mark both ends of the scale bar in the picture: click them, or drag along the bar.")
    looking = replace(picture.looking, scale_bar=True, mark=MarkedBar(tuple(ends), length))
    return with_scale(state, read_again(picture, looking, None))


def without(state: State) -> State:
    """Remove the scale bar of the current micrograph: nothing in the picture is one. The pixel size is then the typed
    one, or the file's own.

    Raises:
        InputError: no micrograph is open.
    """
    picture = _current(state)
    looking = replace(picture.looking, scale_bar=False, mark=None)
    return state if looking == picture.looking else with_scale(state, read_again(picture, looking, picture.given_nm))


def as_read(state: State) -> State:
    """Read the scale bar of the current micrograph from the picture again.

    Raises:
        InputError: no micrograph is open.
    """
    picture = _current(state)
    return state if picture.looking == AS_READ else with_scale(state, read_again(picture, AS_READ, picture.given_nm))


def is_marked(image: Micrograph) -> bool:
    """Whether the pixel size follows from a scale bar that the user marked, or is the same as if it did."""
    bar = image.scale_bar
    return bar is not None and image.pixel_size_origin == "user" and image.pixel_size_nm == bar.pixel_size_nm


def told(picture: Picture) -> str:
    """What is known about the scale bar of a micrograph, in one sentence."""
    bar = picture.micrograph.scale_bar
    if bar is not None:
        what = "Marked by you" if picture.looking.mark is not None else "Read from the picture"
        return f"{what}: {bar.text} = {bar.length_px:.1f} px."
    return "You said that there is none." if not picture.looking.scale_bar else "None was read from the picture."


def _current(state: State) -> Picture:
    if state.picture is None:
        raise InputError(NOTHING_OPEN)
    return state.picture
