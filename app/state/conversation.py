"""A conversation as immutable data: micrographs, requests and answers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lisa_micro.io import Looking
from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz.overlay import PALETTE

AS_READ = Looking()
"""How a micrograph is read first: its scale bar is looked for."""
_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """A micrograph of the conversation.

    Attributes:
        key: unique name within the session.
        name: the user's name of the file, for display; never used as a path.
        micrograph: its pixels, pixel size and notes.
        path: of the file that it was read from, or ``None``.
        given_nm: pixel size as typed by the user, or ``None``.
        looking: how it was read: whether its scale bar is read, marked by the user, or none.
    """

    key: str
    name: str
    micrograph: Micrograph
    path: str | None = None
    given_nm: float | None = None
    looking: Looking = AS_READ


@dataclass(frozen=True)
class Turn:
    """A request and its answer.

    Attributes:
        number: unique within the session.
        picture, name: key and name of the micrograph.
        micrograph: with its pixel size at that time.
        answer: text and segments.
        colours: ``#rrggbb`` of each segment.
        seconds: time that the answer took.
        given_nm: pixel size as typed by the user at that time, or ``None``.
        looking: how the micrograph was read at that time.
        readings: how often the answer was replaced by that of another reading of the request.
    """

    number: int
    picture: str
    name: str
    micrograph: Micrograph
    answer: Answer
    colours: tuple[str, ...]
    seconds: float = 0.0
    given_nm: float | None = None
    looking: Looking = AS_READ
    readings: int = 0

    @property
    def key(self) -> str:
        """Name of this answer within the session; it changes when the answer is replaced."""
        return f"{self.picture}-{self.number}{f'-{self.readings}' if self.readings else ''}"


@dataclass(frozen=True)
class State:
    """The conversation.

    Attributes:
        pictures: in the order in which they were added.
        current: key of the current micrograph.
        turns: oldest first.
        shown: number of the turn whose masks are shown; ``None``: no masks.
        counted: number of turns so far, including undone ones, so that no number is used twice.
    """

    pictures: tuple[Picture, ...] = ()
    current: str | None = None
    turns: tuple[Turn, ...] = ()
    shown: int | None = None
    counted: int = 0

    @property
    def picture(self) -> Picture | None:
        """The current micrograph."""
        return next((p for p in self.pictures if p.key == self.current), None)

    @property
    def turn(self) -> Turn | None:
        """The turn whose masks are shown."""
        return next((t for t in self.turns if t.number == self.shown), None)

    def about(self, key: str | None) -> tuple[Turn, ...]:
        """The turns about one micrograph."""
        return tuple(turn for turn in self.turns if turn.picture == key)


def hex_colour(colour: tuple[int, int, int]) -> str:
    """Format a colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def layer_colours(count: int) -> tuple[str, ...]:
    """Colours of the segments of an answer, the same as in the overlay of the command line."""
    return tuple(hex_colour(PALETTE[k % len(PALETTE)]) for k in range(count))


def with_picture(state: State, picture: Picture) -> State:
    """Add a micrograph and make it the current one."""
    return replace(state, pictures=(*state.pictures, picture), current=picture.key, shown=None)


def choose_picture(state: State, key: str) -> State:
    """Make another micrograph the current one and show its last answer.

    Raises:
        InputError: the conversation has no micrograph with this key.
    """
    if key not in {picture.key for picture in state.pictures}:
        raise InputError("This micrograph is no longer part of the conversation.")
    turns = state.about(key)
    return replace(state, current=key, shown=turns[-1].number if turns else None)


def choose_turn(state: State, number: int) -> State:
    """Show the masks of an earlier answer on its micrograph.

    Raises:
        InputError: the conversation has no such answer.
    """
    turn = next((turn for turn in state.turns if turn.number == number), None)
    if turn is None:
        raise InputError("This answer is no longer part of the conversation.")
    return replace(state, current=turn.picture, shown=number)


def with_scale(state: State, picture: Picture) -> State:
    """Replace the current micrograph by ``picture``: the same one with another pixel size or scale bar. Earlier answers
    keep theirs, so none of them is shown until the user selects it."""
    return replace(state, pictures=tuple(picture if p.key == state.current else p for p in state.pictures), shown=None)


def with_turn(state: State, picture: Picture, answer: Answer, seconds: float, keep: int = 200) -> State:
    """Add an answer, and show it if its micrograph is the current one.

    Args:
        state: the conversation.
        picture: the micrograph of the request.
        answer: its answer.
        seconds: time that it took.
        keep: maximum number of turns; the oldest are removed.
    """
    number = state.counted + 1
    colours = layer_colours(len(answer.segments))
    turn = Turn(
        number,
        picture.key,
        picture.name,
        picture.micrograph,
        answer,
        colours,
        seconds,
        picture.given_nm,
        picture.looking,
    )
    shown = number if state.current == picture.key else state.shown
    return replace(state, turns=(*state.turns, turn)[-keep:], shown=shown, counted=number)


def with_reading(state: State, turn: Turn, answer: Answer, seconds: float) -> State:
    """Replace the answer of a turn by that of another reading of its request, and show it. The turn keeps its number.

    Args:
        state: the conversation.
        turn: the turn; nothing changes if it was undone in the meantime.
        answer: the new answer.
        seconds: time that it took.
    """
    if not any(one.number == turn.number for one in state.turns):
        return state
    colours = layer_colours(len(answer.segments))
    new = replace(turn, answer=answer, colours=colours, seconds=seconds, readings=turn.readings + 1)
    turns = tuple(new if one.number == turn.number else one for one in state.turns)
    shown = turn.number if state.current == turn.picture else state.shown
    return replace(state, turns=turns, shown=shown)


def without_last(state: State) -> tuple[State, str]:
    """Remove the last turn; return the new state and the text of the request."""
    if not state.turns:
        return state, ""
    last, turns = state.turns[-1], state.turns[:-1]
    earlier = [turn for turn in turns if turn.picture == last.picture]
    known = last.picture in {picture.key for picture in state.pictures}
    shown = earlier[-1].number if earlier else None
    current = last.picture if known else state.current
    return replace(state, turns=turns, current=current, shown=shown), last.answer.prompt


def checked_colour(colour: object) -> str:
    """Check a colour sent by the page.

    Raises:
        InputError: it is not ``#rrggbb``.
    """
    if not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
        raise InputError("The colour is not valid; use #rrggbb.")
    return colour


def recoloured(state: State, number: int, layer: int, colour: str) -> State:
    """Give one layer of an answer another colour ``#rrggbb``; nothing changes if the layer does not exist."""
    turns = tuple(
        replace(turn, colours=(*turn.colours[:layer], colour, *turn.colours[layer + 1 :]))
        if turn.number == number and 0 <= layer < len(turn.colours)
        else turn
        for turn in state.turns
    )
    return replace(state, turns=turns)
