"""A conversation as immutable data: the micrographs, and what was asked and answered about each. The same functions
serve the page, tests and programs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lisa_micro.results.answer import Answer
from lisa_micro.types import InputError, Micrograph
from lisa_micro.viz.overlay import PALETTE

_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """A micrograph of the conversation.

    Attributes:
        key: names it within the session.
        name: as the user calls it; to be shown, never to be opened.
        path: of the file that it was read from, or None.
        given_nm: pixel size that the user typed, or None.
    """

    key: str
    name: str
    micrograph: Micrograph
    path: str | None = None
    given_nm: float | None = None


@dataclass(frozen=True)
class Turn:
    """A request and its answer, about the micrograph as it was known then."""

    number: int
    picture: str
    name: str
    micrograph: Micrograph
    answer: Answer
    colours: tuple[str, ...]
    seconds: float = 0.0
    given_nm: float | None = None


@dataclass(frozen=True)
class State:
    """The conversation.

    Attributes:
        pictures: in the order in which they were added.
        current: key of the micrograph that is shown and asked about.
        turns: oldest first.
        shown: number of the turn whose masks are shown; None shows none.
        counted: turns so far, those undone included, so that a number is never used twice.
    """

    pictures: tuple[Picture, ...] = ()
    current: str | None = None
    turns: tuple[Turn, ...] = ()
    shown: int | None = None
    counted: int = 0

    @property
    def picture(self) -> Picture | None:
        """The current one."""
        return next((p for p in self.pictures if p.key == self.current), None)

    @property
    def turn(self) -> Turn | None:
        """The one that is shown."""
        return next((t for t in self.turns if t.number == self.shown), None)

    def about(self, key: str | None) -> tuple[Turn, ...]:
        """What was said about one micrograph."""
        return tuple(turn for turn in self.turns if turn.picture == key)


def hex_colour(colour: tuple[int, int, int]) -> str:
    """``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def layer_colours(count: int) -> tuple[str, ...]:
    """A colour for each segment of a reply, in order: those of the overlay that the command line draws."""
    return tuple(hex_colour(PALETTE[k % len(PALETTE)]) for k in range(count))


def with_picture(state: State, picture: Picture) -> State:
    """The micrograph added, shown, and asked about from now on."""
    return replace(state, pictures=(*state.pictures, picture), current=picture.key, shown=None)


def choose_picture(state: State, key: str) -> State:
    """Go on with another micrograph; what was last said about it is shown again.

    Raises:
        InputError: there is none of that key.
    """
    if key not in {picture.key for picture in state.pictures}:
        raise InputError("This micrograph is no longer part of the conversation.")
    said = state.about(key)
    return replace(state, current=key, shown=said[-1].number if said else None)


def choose_turn(state: State, number: int) -> State:
    """Show the masks of an earlier answer, on its micrograph.

    Raises:
        InputError: there is no such answer.
    """
    turn = next((turn for turn in state.turns if turn.number == number), None)
    if turn is None:
        raise InputError("This answer is no longer part of the conversation.")
    return replace(state, current=turn.picture, shown=number)


def with_pixel_size(state: State, nm: float | None, micrograph: Micrograph) -> State:
    """The current micrograph with another pixel size. Earlier answers keep the one they were measured with, so none of
    them is shown until it is chosen."""
    pictures = tuple(
        replace(p, micrograph=micrograph, given_nm=nm) if p.key == state.current else p for p in state.pictures
    )
    return replace(state, pictures=pictures, shown=None)


def with_turn(state: State, picture: Picture, answer: Answer, seconds: float, keep: int = 200) -> State:
    """An answer added, and shown where its micrograph still is."""
    number = state.counted + 1
    colours = layer_colours(len(answer.segments))
    turn = Turn(
        number, picture.key, picture.name, picture.micrograph, answer, colours, seconds, given_nm=picture.given_nm
    )
    shown = number if state.current == picture.key else state.shown
    return replace(state, turns=(*state.turns, turn)[-keep:], shown=shown, counted=number)


def without_last(state: State) -> tuple[State, str]:
    """The last request taken back, and its words, to be changed and asked again."""
    if not state.turns:
        return state, ""
    last, turns = state.turns[-1], state.turns[:-1]
    said = [turn for turn in turns if turn.picture == last.picture]
    known = last.picture in {picture.key for picture in state.pictures}
    shown = said[-1].number if said else None
    current = last.picture if known else state.current
    return replace(state, turns=turns, current=current, shown=shown), last.answer.prompt


def checked_colour(colour: object) -> str:
    """A colour as the page sends it.

    Raises:
        InputError: not ``#rrggbb``.
    """
    if not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
        raise InputError("A colour is #rrggbb.")
    return colour


def recoloured(state: State, number: int, layer: int, colour: str) -> State:
    """One layer of an answer in another colour ``#rrggbb``; unchanged where there is no such layer."""
    turns = tuple(
        replace(turn, colours=(*turn.colours[:layer], colour, *turn.colours[layer + 1 :]))
        if turn.number == number and 0 <= layer < len(turn.colours)
        else turn
        for turn in state.turns
    )
    return replace(state, turns=turns)
