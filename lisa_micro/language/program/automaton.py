"""The grammar of canonical programs as a stack of automata over characters.

Each level (a reply, the steps of a constraint, a value, a plot, a set within braces) is a small non-deterministic
automaton that is made deterministic state by state as texts are read. An opening mark (``{`` or a tag) puts a level on
the stack, its closing mark takes it off. States are tuples, so that what follows from them can be cached.
"""

from __future__ import annotations

from collections.abc import Callable

from lisa_micro.language.program import terms
from lisa_micro.language.program.grammar import (
    ANYTHING,
    END_PLOT,
    END_VALUE,
    END_WHERE,
    MARKS,
    ORDINAL,
    PLOT,
    SEG,
    VALUE,
    WHERE,
    plot_rule,
    reply_rule,
    set_rule,
    steps_rule,
    value_rule,
)
from lisa_micro.language.program.level import DIGITS, Level
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary

ANY_WORD = "x"
"""What a walk writes where any text may follow."""
Frame = tuple[str, int, int, int]
"""Level, state, steps and filters so far."""
State = tuple[tuple[Frame, ...], int, int]
"""Stack of frames, targets and slots so far."""

_OPENS = {
    WHERE: ("steps", END_WHERE),
    VALUE: ("value", END_VALUE),
    PLOT: ("plot", END_PLOT),
    "{": ("set", "}"),
}
_CLOSES = {END_WHERE: ("steps",), END_VALUE: ("value",), END_PLOT: ("plot",), "}": ("set", "flat set", "ordinal")}


class ProgramAutomaton:
    """A recogniser of canonical programs.

    Args:
        vocabulary: the concepts that targets and sets may name.
    """

    def __init__(self, vocabulary: Vocabulary = FULL_VOCABULARY) -> None:
        nouns = [vocabulary.nouns(name) for name in vocabulary.names]
        names = [singular for singular, _ in nouns]
        self._levels = {
            "reply": (reply := Level()).finish(reply_rule(reply, sorted({plural for _, plural in nouns}))),
            "steps": (steps := Level()).finish(steps_rule(steps)),
            "set": (inner := Level()).finish(set_rule(inner, names, True)),
            "flat set": (flat := Level()).finish(set_rule(flat, names, False)),
            "ordinal": (ordinal := Level()).finish(ordinal.one(ORDINAL)),
            "value": (value := Level()).finish(value_rule(value)),
            "plot": (plot := Level()).finish(plot_rule(plot)),
        }
        self.start: State = ((("reply", 0, 0, 0),), 0, 0)

    def alphabet(self) -> frozenset[str]:
        """All characters that any canonical program uses, marks and pseudo-characters among them."""
        return frozenset().union(*(level.alphabet() for level in self._levels.values())) | frozenset(DIGITS)

    def step(self, state: State, character: str) -> State | None:
        """The state after a character; None where the text cannot go on with it."""
        stack, targets, slots = state
        level, at, steps, filters = stack[-1]
        # of the targets so far a constraint may name those before its own, a value and a plot all
        named = targets if level in ("value", "plot") else targets - 1
        if level in _CLOSES.get(character, ()):
            return self._close(state, character)
        after = self._after(level, at, character, named)
        if after < 0:
            return None
        if character == ";":
            steps, filters = steps + 1, 0
        elif character == "|":
            filters += 1
        if steps >= terms.MAX_STEPS or filters >= terms.MAX_FILTERS:
            return None
        frames = (*stack[:-1], (level, after, steps, filters))
        if character == SEG:
            targets += 1
        if character in _OPENS:
            inner = self._inner(_OPENS[character][0], frames, targets)
            if not inner:
                return None
            slots += character in (VALUE, PLOT)
            frames = (*frames, (inner, 0, 0, 0))
        if targets > terms.MAX_TARGETS or slots > terms.MAX_SLOTS:
            return None
        return frames, targets, slots

    @staticmethod
    def _inner(level: str, frames: tuple[Frame, ...], targets: int) -> str:
        """The level that an opening mark puts on the stack: of sets it depends on how deep they are. Earlier targets
        may be named at any depth. ``""`` where there can be none."""
        if level != "set":
            return level
        depth, earlier = 1 + sum(frame[0] == "set" for frame in frames), targets > 1
        if depth > terms.MAX_DEPTH:
            return "ordinal" if earlier else ""
        return "set" if depth < terms.MAX_DEPTH or earlier else "flat set"

    def _after(self, level: str, at: int, character: str, ordinals: int) -> int:
        automaton = self._levels[level]
        if character in DIGITS and ORDINAL in automaton.following(at):
            return automaton.step(at, ORDINAL) if 1 <= int(character) <= ordinals else -1
        if character in (ORDINAL, ANYTHING):
            return -1
        after = automaton.step(at, character)
        if after < 0 and ANYTHING in automaton.following(at) and not "\ue000" <= character <= "\ue1ff":
            return automaton.step(at, ANYTHING)
        return after

    def _close(self, state: State, character: str) -> State | None:
        stack, targets, slots = state
        level, at, _, _ = stack[-1]
        if not self._levels[level].accepts(at):
            return None
        outer, before, steps, filters = stack[-2]
        after = self._levels[outer].step(before, character)
        return None if after < 0 else ((*stack[:-2], (outer, after, steps, filters)), targets, slots)

    def read(self, text: str, state: State | None = None) -> State | None:
        """The state after a text (special tokens as :data:`MARKS`), from a state or from the start."""
        now = self.start if state is None else state
        for character in text:
            after = self.step(now, character)
            if after is None:
                return None
            now = after
        return now

    def accepts(self, state: State) -> bool:
        """Whether the reply may end here."""
        (level, at, _, _), *others = state[0]
        return not others and self._levels[level].accepts(at)

    def free(self, state: State) -> bool:
        """Whether any text may follow."""
        level, at, _, _ = state[0][-1]
        return ANYTHING in self._levels[level].following(at)

    def following(self, state: State) -> str:
        """The characters that may follow, :data:`ANYTHING` left out."""
        level, at, _, _ = state[0][-1]
        candidates = set(self._levels[level].following(at)) - {ORDINAL, ANYTHING}
        if ORDINAL in self._levels[level].following(at):
            candidates |= set(DIGITS[1:])
        candidates |= {close for close, levels in _CLOSES.items() if level in levels}
        return "".join(sorted(c for c in candidates if self.step(state, c) is not None))

    def accepts_text(self, text: str) -> bool:
        """Whether a text with its special tokens written out is a canonical program."""
        state = self.read(marked(text))
        return state is not None and self.accepts(state)


def marked(text: str) -> str:
    """A text with its special tokens as single characters, the space before each left out as tokenizers do."""
    for token, mark in MARKS.items():
        text = text.replace(f" {token}", mark).replace(token, mark)
    return text


def walk(automaton: ProgramAutomaton, choose: Callable[[str, bool], str]) -> str:
    """A text of the grammar, special tokens written out.

    Args:
        automaton: the grammar.
        choose: the characters that may follow, and whether the text may end here -> one of them, or ``""`` to end.
    """
    state, out = automaton.start, []
    while True:
        following = automaton.following(state) or (ANY_WORD if automaton.free(state) else "")
        character = choose(following, automaton.accepts(state))
        if not character:
            break
        after = automaton.step(state, character)
        assert after is not None
        state = after
        out.append(character)
    tokens = {mark: token for token, mark in MARKS.items()}
    return "".join(f" {tokens[c]}" if c == SEG else tokens.get(c, c) for c in out)
