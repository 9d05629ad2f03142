"""The grammar of ``<where>`` and ``<value>`` as an automaton over characters.

While the language model writes inside one of these tags, each token must keep the text a prefix of something
that the parser understands. The grammar is put together from the words in :mod:`lisa_micro.language.words` as
a non-deterministic automaton, which is made deterministic state by state as texts are read (a few hundred
states). It accepts exactly the canonical texts, and every text it accepts parses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from lisa_micro.language import words

DEAD = -1
"""The state after a character that the grammar does not allow; it stays there."""
DIGITS = "0123456789"
Fragment = tuple[int, int]
"""Entry and exit node of a part of an automaton."""


class Automaton:
    """A recogniser for one start symbol.

    States are integers, 0 the start. Build with :func:`where_automaton` or :func:`value_automaton`.
    """

    def __init__(self) -> None:
        self._free: list[list[int]] = []  # transitions that read nothing
        self._read: list[tuple[str, int] | None] = []  # one of the characters, then that node
        self._accepting = -1
        self._states: list[frozenset[int]] = []
        self._numbers: dict[frozenset[int], int] = {}
        self._steps: dict[tuple[int, str], int] = {}

    # building

    def _node(self) -> int:
        self._free.append([])
        self._read.append(None)
        return len(self._free) - 1

    def _chars(self, allowed: str) -> Fragment:
        entry, leave = self._node(), self._node()
        self._read[entry] = (allowed, leave)
        return entry, leave

    def literal(self, text: str) -> Fragment:
        """Exactly this text."""
        return self.sequence(*[self._chars(character) for character in text])

    def sequence(self, *fragments: Fragment) -> Fragment:
        """One after the other."""
        for (_, leave), (entry, _) in zip(fragments, fragments[1:], strict=False):
            self._free[leave].append(entry)
        return fragments[0][0], fragments[-1][1]

    def either(self, *fragments: Fragment) -> Fragment:
        """Any one of them."""
        entry, leave = self._node(), self._node()
        for first, last in fragments:
            self._free[entry].append(first)
            self._free[last].append(leave)
        return entry, leave

    def maybe(self, build: Callable[[], Fragment]) -> Fragment:
        """What ``build`` builds, or nothing."""
        entry, leave = self._node(), self._node()
        first, last = build()
        self._free[entry] += [first, leave]
        self._free[last].append(leave)
        return entry, leave

    def one_of(self, texts: Iterable[str]) -> Fragment:
        """Any of the texts."""
        return self.either(*[self.literal(text) for text in texts])

    def digits(self, most: int) -> Fragment:
        """1 to ``most`` digits."""
        first = self._chars(DIGITS)
        return self.sequence(first, self.maybe(lambda: self.digits(most - 1))) if most > 1 else first

    def counting(self, most: int) -> Fragment:
        """A number from 1 up with 1 to ``most`` digits, without a leading zero."""
        first = self._chars(DIGITS[1:])
        return self.sequence(first, self.maybe(lambda: self.digits(most - 1))) if most > 1 else first

    def number(self) -> Fragment:
        """Up to six digits, and up to three decimals."""
        return self.sequence(self.digits(6), self.maybe(lambda: self.sequence(self.literal("."), self.digits(3))))

    def finish(self, fragment: Fragment) -> Automaton:
        """Make the fragment the whole language."""
        self._accepting = fragment[1]
        self._state(self._closure({fragment[0]}))
        return self

    # reading

    def _closure(self, nodes: set[int]) -> frozenset[int]:
        seen, todo = set(nodes), list(nodes)
        while todo:
            for node in self._free[todo.pop()]:
                if node not in seen:
                    seen.add(node)
                    todo.append(node)
        return frozenset(n for n in seen if self._read[n] is not None or n == self._accepting)

    def _state(self, nodes: frozenset[int]) -> int:
        if not nodes:
            return DEAD
        if nodes not in self._numbers:
            self._numbers[nodes] = len(self._states)
            self._states.append(nodes)
        return self._numbers[nodes]

    def step(self, state: int, text: str) -> int:
        """The state after ``text`` (any length) from ``state``; :data:`DEAD` where it cannot be continued."""
        for character in text:
            if state == DEAD:
                break
            key = (state, character)
            after = self._steps.get(key)
            if after is None:
                nodes = set()
                for node in self._states[state]:
                    reads = self._read[node]
                    if reads is not None and character in reads[0]:
                        nodes.add(reads[1])
                after = self._steps[key] = self._state(self._closure(nodes))
            state = after
        return state

    def accepts(self, state: int) -> bool:
        """Whether the text so far is complete."""
        return state != DEAD and self._accepting in self._states[state]

    def next_characters(self, state: int) -> str:
        """The characters that may follow, sorted."""
        if state == DEAD:
            return ""
        allowed = {c for node in self._states[state] if self._read[node] for c in self._read[node][0]}
        return "".join(sorted(allowed))

    def continuations(self, prefix: str) -> list[str]:
        """The literal pieces that may follow a prefix, each as long as there is no choice in it.

        Empty where the prefix cannot be continued. A complete text may have continuations too: see
        :meth:`accepts`.
        """
        state = self.step(0, prefix)
        pieces = []
        for character in self.next_characters(state):
            piece, after = character, self.step(state, character)
            while not self.accepts(after) and len(self.next_characters(after)) == 1:
                piece += self.next_characters(after)
                after = self.step(state, piece)
            pieces.append(piece)
        return pieces

    def alphabet(self) -> str:
        """All characters that any text of the language uses."""
        return "".join(sorted({c for reads in self._read if reads for c in reads[0]}))


def _clause(g: Automaton) -> Fragment:
    rank = g.sequence(
        g.one_of(words.RANKS),
        g.literal(" "),
        g.either(g.counting(3), g.sequence(g.counting(2), g.literal(" %"))),
    )
    # "not isolated" is "in contact" and the reverse: one way to say it
    flag = g.one_of([*words.FLAGS, "not touching border", "not in agglomerate"])
    region = g.sequence(g.literal("in "), g.one_of(words.REGIONS))
    place = g.either(g.one_of(["centre", *words.CORNERS]), g.sequence(g.digits(5), g.literal(","), g.digits(5)))
    nearest = g.sequence(g.literal("nearest "), g.counting(3), g.literal(" to "), place)
    return g.either(rank, flag, region, nearest, *[_comparison(g, name) for name in words.PROPERTIES])


def _comparison(g: Automaton, name: str) -> Fragment:
    units = words.UNITS[words.PROPERTIES[name].dimension]

    def with_unit(number: Fragment) -> Fragment:
        if not units:
            return number
        return g.sequence(number, g.maybe(lambda: g.one_of(f" {unit}" for unit in units)))

    compare = g.sequence(
        g.one_of(words.COMPARATORS),
        g.literal(" "),
        g.either(with_unit(g.number()), g.one_of(words.RELATIVE)),
    )
    between = g.sequence(g.literal("between "), g.number(), g.literal(" and "), with_unit(g.number()))
    return g.sequence(g.literal(f"{name} "), g.either(compare, between))


@cache
def where_automaton() -> Automaton:
    """The recogniser of what stands between ``<where>`` and ``</where>``: 1 to ``words.MAX_CLAUSES``
    clauses."""
    g = Automaton()

    def more(left: int) -> Fragment:
        first = _clause(g)
        if left == 1:
            return first
        return g.sequence(first, g.maybe(lambda: g.sequence(g.literal("; "), more(left - 1))))

    return g.finish(more(words.MAX_CLAUSES))


@cache
def value_automaton() -> Automaton:
    """The recogniser of what stands between ``<value>`` and ``</value>``.

    While decoding a value always belongs to the target before it; the parser also reads "of target k".
    """
    g = Automaton()
    statistic = g.sequence(g.one_of(words.STATISTICS), g.literal(" "), g.one_of(words.PROPERTIES))
    image = g.either(g.one_of(words.WHOLE_MEASURES), statistic)
    frame = g.sequence(g.literal("at frame "), g.counting(5))
    time = g.sequence(g.literal("at "), g.number(), g.literal(" "), g.one_of(words.TIME_UNITS))
    when = g.sequence(g.literal(" "), g.either(g.one_of(words.MOMENTS), frame, time))
    events = [text.format(event) for event in words.EVENTS for text in words.EVENT_MEASURES]
    of_image = g.sequence(image, g.maybe(lambda: when))
    return g.finish(g.either(g.one_of([*words.VIDEO_MEASURES, *events]), of_image))


def in_grammar(text: str, automaton: Automaton) -> bool:
    """Whether the text is complete and canonical."""
    return automaton.accepts(automaton.step(0, text))
