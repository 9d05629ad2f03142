"""The grammar of canonical programs as a stack of automata over characters.

Each level (a reply, the steps of a constraint, a value, a plot, a set within braces) is a small non-deterministic
automaton that is made deterministic state by state as texts are read. An opening mark (``{`` or a tag) puts a level on
the stack, its closing mark takes it off. States are tuples, so that what follows from them can be cached.

Special tokens are single characters here (:data:`MARKS`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lisa_micro.language import words
from lisa_micro.language.program import terms
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary

MARKS: dict[str, str] = {token: chr(0xE100 + k) for k, token in enumerate(terms.PROGRAM_TOKENS)}
"""Special token -> the character that stands for it."""
SEG, WHERE, END_WHERE, VALUE, END_VALUE = (
    MARKS[token] for token in (words.SEG, words.WHERE, words.END_WHERE, words.VALUE, words.END_VALUE)
)
PLOT, END_PLOT, UNKNOWN, CANNOT = (MARKS[t] for t in (terms.PLOT, terms.END_PLOT, terms.UNKNOWN, terms.CANNOT))
ORDINAL = "\ue000"
"""Stands for the number of a target; which are allowed depends on how many there are."""
ANYTHING = "\ue001"
"""Stands for any text: what follows ``<unknown>``."""
ANY_WORD = "x"
"""What a walk writes where any text may follow."""
DIGITS = "0123456789"
Fragment = tuple[int, int]
"""Entry and exit node of a part of an automaton."""
Frame = tuple[str, int, int, int]
"""Level, state, steps and filters so far."""
State = tuple[tuple[Frame, ...], int, int]
"""Stack of frames, targets and slots so far."""


class Level:
    """One automaton: nodes that read one character each, made deterministic as it is used."""

    def __init__(self) -> None:
        self._free: list[list[int]] = []
        self._read: list[tuple[str, int] | None] = []
        self._end = -1
        self._sets: list[frozenset[int]] = []
        self._numbers: dict[frozenset[int], int] = {}
        self._steps: dict[tuple[int, str], int] = {}
        self._nexts: dict[int, str] = {}

    # building

    def _node(self) -> int:
        self._free.append([])
        self._read.append(None)
        return len(self._free) - 1

    def one(self, allowed: str) -> Fragment:
        """One of some characters."""
        entry, leave = self._node(), self._node()
        self._read[entry] = (allowed, leave)
        return entry, leave

    def text(self, text: str) -> Fragment:
        """Exactly this text."""
        return self.then(*map(self.one, text))

    def then(self, *parts: Fragment) -> Fragment:
        """One after the other."""
        for (_, leave), (entry, _) in zip(parts, parts[1:], strict=False):
            self._free[leave].append(entry)
        return parts[0][0], parts[-1][1]

    def link(self, node: int, after: int) -> None:
        """Let ``after`` follow ``node`` without reading anything."""
        self._free[node].append(after)

    def any(self, *parts: Fragment) -> Fragment:
        """Any one of them."""
        entry, leave = self._node(), self._node()
        for first, last in parts:
            self._free[entry].append(first)
            self._free[last].append(leave)
        return entry, leave

    def texts(self, texts: Iterable[str]) -> Fragment:
        """Any of some texts."""
        return self.any(*map(self.text, texts))

    def maybe(self, part: Fragment) -> Fragment:
        """A part, or nothing."""
        entry, leave = self._node(), self._node()
        self._free[entry] += [part[0], leave]
        self._free[part[1]].append(leave)
        return entry, leave

    def many(self, part: Fragment) -> Fragment:
        """A part any number of times, also none."""
        entry, leave = self._node(), self._node()
        self._free[entry] += [part[0], leave]
        self._free[part[1]].append(entry)
        return entry, leave

    def digits(self, most: int) -> Fragment:
        """1 to ``most`` digits."""
        first = self.one(DIGITS)
        return first if most == 1 else self.then(first, self.maybe(self.digits(most - 1)))

    def counting(self, most: int) -> Fragment:
        """A number from 1 with 1 to ``most`` digits, without a leading zero."""
        first = self.one(DIGITS[1:])
        return first if most == 1 else self.then(first, self.maybe(self.digits(most - 1)))

    def number(self, whole: int = 6) -> Fragment:
        """A number as it is rendered: no leading zeros, up to three decimals, the last of them not zero."""
        decimals = self.any(*[self.then(*[self.one(DIGITS) for _ in range(k)], self.one(DIGITS[1:])) for k in range(3)])
        return self.then(
            self.any(self.text("0"), self.counting(whole)), self.maybe(self.then(self.text("."), decimals))
        )

    def finish(self, whole: Fragment) -> Level:
        """Make a part the whole language."""
        self._end = whole[1]
        self._state(self._closure({whole[0]}))
        return self

    # reading

    def _closure(self, nodes: set[int]) -> frozenset[int]:
        seen, todo = set(nodes), list(nodes)
        while todo:
            for node in self._free[todo.pop()]:
                if node not in seen:
                    seen.add(node)
                    todo.append(node)
        return frozenset(n for n in seen if self._read[n] is not None or n == self._end)

    def _state(self, nodes: frozenset[int]) -> int:
        if not nodes:
            return -1
        if nodes not in self._numbers:
            self._numbers[nodes] = len(self._sets)
            self._sets.append(nodes)
        return self._numbers[nodes]

    def step(self, state: int, character: str) -> int:
        """The state after a character, -1 where it is not allowed."""
        key = (state, character)
        after = self._steps.get(key)
        if after is None:
            nodes = {self._read[n][1] for n in self._sets[state] if self._read[n] and character in self._read[n][0]}
            after = self._steps[key] = self._state(self._closure(nodes))
        return after

    def accepts(self, state: int) -> bool:
        """Whether the text so far is complete."""
        return self._end in self._sets[state]

    def following(self, state: int) -> str:
        """The characters that may follow."""
        found = self._nexts.get(state)
        if found is None:
            characters = {c for n in self._sets[state] if self._read[n] for c in self._read[n][0]}
            found = self._nexts[state] = "".join(sorted(characters))
        return found


def _filter(g: Level, sets: bool) -> Fragment:
    """One filter; sets, where there may be any, are ``{}``, whose inside is a level of its own."""
    order = g.any(
        g.texts(terms.RANK_WORDS),
        g.then(g.texts((terms.HIGHEST, terms.LOWEST)), g.text(" "), g.texts(terms.PROPERTIES)),
    )
    span = g.then(g.counting(3), g.maybe(g.then(g.text("-"), g.counting(3))))
    rank = g.then(order, g.text(" "), g.any(span, g.then(g.any(g.counting(2), g.text("100")), g.text(" %"))))
    flags = g.texts([*terms.FLAGS, "not touching border", "not in agglomerate"])
    region = g.then(g.text("in "), g.texts(terms.REGIONS))
    box = g.then(g.text("in box "), g.number(5), *[g.then(g.text(","), g.number(5)) for _ in range(3)])
    point = g.then(g.number(5), g.text(","), g.number(5))
    place = g.any(g.texts(terms.PLACES), point, *([g.text("{}")] if sets else []))
    near = g.then(g.texts(("nearest ", "farthest ")), g.counting(3), g.text(" to "), place)
    pair = g.texts(("closest pair", "closest separate pair"))
    comparisons = [_comparison(g, dimension, sets) for dimension in ("length", "area", "none")]
    flat = g.any(rank, flags, region, box, near, pair, *comparisons)
    return g.any(flat, _relation(g)) if sets else flat


def _relation(g: Level) -> Fragment:
    number = g.any(g.text("0"), g.counting(3))
    counted = g.maybe(g.then(g.texts(terms.COUNTERS), g.text(" "), number, g.text(" ")))
    units = g.texts(f" {unit}" for unit in words.UNITS["length"])
    within = g.then(g.text("within "), g.number(), g.maybe(units), g.text(" of"))
    contact = g.then(g.any(g.texts(("touching", "inside", "containing", "with")), within), g.text(" "), counted)
    ordered = g.then(g.texts((*terms.ORDER_RELATIONS, terms.AMONG)), g.text(" "))
    return g.then(g.any(contact, ordered), g.text("{}"))


def _comparison(g: Level, dimension: str, sets: bool) -> Fragment:
    names = [name for name, prop in terms.PROPERTIES.items() if prop.dimension == dimension]

    def amount() -> Fragment:
        number = g.number()
        units = words.UNITS[dimension]
        return g.then(number, g.maybe(g.texts(f" {unit}" for unit in units))) if units else number

    factor = g.maybe(g.then(g.number(), g.text(" ")))
    spread = g.maybe(g.then(g.texts((" + ", " - ")), g.number(), g.text(" std")))
    rest = g.then(g.texts(terms.STATISTICS_OF_REST), spread)
    other = g.then(g.text("{}"), g.text("."), g.texts(terms.STATISTICS_OF_SET))
    relative = g.then(factor, g.any(rest, other) if sets else rest)
    compare = g.then(g.texts(terms.COMPARATORS), g.text(" "), g.any(amount(), relative))
    between = g.then(g.text("between "), g.number(), g.text(" and "), amount())
    return g.then(g.texts(names), g.text(" "), g.any(compare, between))


def _steps(g: Level, sets: bool = True) -> Fragment:
    """Steps with ``; `` between them, each a union with `` | `` between its filters."""
    one, bar, semicolon = _filter(g, sets), g.text(" | "), g.text("; ")
    start = g.any(one, g.then(g.text("except "), g.any(one)))
    g.link(one[1], bar[0])
    g.link(bar[1], one[0])
    g.link(one[1], semicolon[0])
    g.link(semicolon[1], start[0])
    return start


def _set(g: Level, names: list[str], sets: bool) -> Fragment:
    named = g.then(g.texts(names), g.maybe(g.then(g.text(" "), _steps(g, sets))))
    return g.any(named, g.one(ORDINAL)) if sets else named


def _measure(g: Level) -> Fragment:
    statistic = g.then(g.texts(terms.STATISTICS), g.text(" "), g.texts(terms.PROPERTIES))
    image = g.any(g.texts(terms.WHOLE_MEASURES), statistic)
    frame = g.then(g.text("at frame "), g.counting(5))
    time = g.then(g.text("at "), g.number(), g.text(" "), g.texts(words.TIME_UNITS))
    when = g.then(g.text(" "), g.any(g.texts(words.MOMENTS), frame, time))
    # of the measures that version 2 adds a video has no moments
    old = g.any(
        g.texts(words.WHOLE_MEASURES), g.then(g.texts(terms.STATISTICS), g.text(" "), g.texts(words.PROPERTIES))
    )
    events = [text.format(event) for event in words.EVENTS for text in words.EVENT_MEASURES]
    return g.any(image, g.then(old, when), g.texts([*words.VIDEO_MEASURES, *events]))


def _of(g: Level) -> Fragment:
    return g.then(g.text(" of "), g.one(ORDINAL))


def _value(g: Level) -> Fragment:
    single = g.then(g.any(_measure(g), g.then(g.text("list "), g.texts(terms.PROPERTIES))), g.maybe(_of(g)))
    distance = g.then(g.text("distance from "), g.one(ORDINAL), g.text(" to "), g.one(ORDINAL))
    operand = g.then(_measure(g), _of(g))
    two = g.then(operand, g.texts((" / ", " - ")), g.then(_measure(g), _of(g)))
    return g.any(single, distance, two)


def _plot(g: Level) -> Fragment:
    simple = g.then(g.texts(("histogram ", "cumulative ")), g.texts(terms.PROPERTIES))
    scatter = g.then(g.text("scatter "), g.texts(terms.PROPERTIES), g.text(" against "), g.texts(terms.PROPERTIES))
    more = g.many(g.then(g.text(" and "), g.one(ORDINAL)))
    return g.then(g.any(simple, scatter), g.maybe(g.then(_of(g), more)))


def _reply(g: Level, nouns: list[str]) -> Fragment:
    def refusal() -> Fragment:
        unknown = g.then(g.text(UNKNOWN), g.one(ANYTHING), g.many(g.one(ANYTHING)))
        return g.any(unknown, g.then(g.text(CANNOT), g.texts(terms.CANNOT_TOPICS)))

    def item() -> Fragment:
        slots = g.many(g.any(g.text(VALUE + END_VALUE), g.text(PLOT + END_PLOT)))
        return g.then(g.texts(nouns), g.text(SEG), g.maybe(g.text(WHERE + END_WHERE)), slots)

    items = g.then(item(), g.many(g.then(g.text(" "), item())))
    return g.any(refusal(), g.then(items, g.maybe(refusal())))


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
            "reply": (reply := Level()).finish(_reply(reply, sorted({plural for _, plural in nouns}))),
            "steps": (steps := Level()).finish(_steps(steps)),
            "set": (inner := Level()).finish(_set(inner, names, True)),
            "flat set": (flat := Level()).finish(_set(flat, names, False)),
            "ordinal": (ordinal := Level()).finish(ordinal.one(ORDINAL)),
            "value": (value := Level()).finish(_value(value)),
            "plot": (plot := Level()).finish(_plot(plot)),
        }
        self.start: State = ((("reply", 0, 0, 0),), 0, 0)

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
        """The level that an opening mark puts on the stack: of sets it depends on how deep they are. Earlier targets may
        be named at any depth. ``""`` where there can be none."""
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
