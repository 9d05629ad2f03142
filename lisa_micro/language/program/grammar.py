"""The rules of the grammar: which texts each of its levels accepts. They are put together from the words in
:mod:`lisa_micro.language.program.terms`.

Special tokens are single characters here (:data:`MARKS`).
"""

from __future__ import annotations

from lisa_micro.language import words
from lisa_micro.language.program import terms
from lisa_micro.language.program.level import Fragment, Level

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


def steps_rule(g: Level, sets: bool = True) -> Fragment:
    """Steps with ``; `` between them, each a union with `` | `` between its filters."""
    one, bar, semicolon = _filter(g, sets), g.text(" | "), g.text("; ")
    start = g.any(one, g.then(g.text("except "), g.any(one)))
    g.link(one[1], bar[0])
    g.link(bar[1], one[0])
    g.link(one[1], semicolon[0])
    g.link(semicolon[1], start[0])
    return start


def set_rule(g: Level, names: list[str], sets: bool) -> Fragment:
    """A set within braces: a noun and its steps, or the number of an earlier target."""
    named = g.then(g.texts(names), g.maybe(g.then(g.text(" "), steps_rule(g, sets))))
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


def value_rule(g: Level) -> Fragment:
    """What stands in a value slot."""
    single = g.then(g.any(_measure(g), g.then(g.text("list "), g.texts(terms.PROPERTIES))), g.maybe(_of(g)))
    distance = g.then(g.text("distance from "), g.one(ORDINAL), g.text(" to "), g.one(ORDINAL))
    operand = g.then(_measure(g), _of(g))
    two = g.then(operand, g.texts((" / ", " - ")), g.then(_measure(g), _of(g)))
    return g.any(single, distance, two)


def plot_rule(g: Level) -> Fragment:
    """What stands in a plot slot."""
    simple = g.then(g.texts(("histogram ", "cumulative ")), g.texts(terms.PROPERTIES))
    scatter = g.then(g.text("scatter "), g.texts(terms.PROPERTIES), g.text(" against "), g.texts(terms.PROPERTIES))
    more = g.many(g.then(g.text(" and "), g.one(ORDINAL)))
    return g.then(g.any(simple, scatter), g.maybe(g.then(_of(g), more)))


def reply_rule(g: Level, nouns: list[str]) -> Fragment:
    """A whole reply: targets with their slots, and a refusal, alone or at the end."""

    def refusal() -> Fragment:
        unknown = g.then(g.text(UNKNOWN), g.one(ANYTHING), g.many(g.one(ANYTHING)))
        return g.any(unknown, g.then(g.text(CANNOT), g.texts(terms.CANNOT_TOPICS)))

    def item() -> Fragment:
        slots = g.many(g.any(g.text(VALUE + END_VALUE), g.text(PLOT + END_PLOT)))
        return g.then(g.texts(nouns), g.text(SEG), g.maybe(g.text(WHERE + END_WHERE)), slots)

    items = g.then(item(), g.many(g.then(g.text(" "), item())))
    return g.any(refusal(), g.then(items, g.maybe(refusal())))
