"""A piece for every construct of a pipeline: what it means, and how it is said."""

from __future__ import annotations

from collections.abc import Callable

from lisa_micro.datasets.texts import clause_phrases, numbers
from lisa_micro.datasets.texts.programs.frames import pick
from lisa_micro.datasets.texts.programs.pieces import (
    BEARERS,
    CONTAINERS,
    CONTENTS,
    NEIGHBOURS,
    Maker,
    Piece,
    property_word,
)
from lisa_micro.language.clauses import Clause, render_clause
from lisa_micro.language.concepts import ALL_CONCEPTS
from lisa_micro.language.program import parse_pipeline, terms
from lisa_micro.language.program.english import ordinal_word
from lisa_micro.language.program.syntax import (
    Amount,
    Box,
    Compare,
    Filter,
    Near,
    Pair,
    Pipeline,
    Rank,
    Region,
    Relation,
    Relative,
    SetStatistic,
)

_ADJECTIVES = {
    "largest": ("largest", "biggest"),
    "smallest": ("smallest", "tiniest"),
    "longest": ("longest",),
    "roundest": ("roundest", "most circular"),
    "darkest": ("darkest",),
    "brightest": ("brightest",),
}
_NECK_ADJECTIVES = {"largest": ("widest", "thickest", "largest"), "smallest": ("narrowest", "thinnest", "smallest")}


# constructs that version 1 had: its wordings serve


_STAND_INS = {"particle": "particle", "neck": "neck", "pore": "pore", "agglomerate": "agglomerate"}


def _old(maker: Maker, kind: str) -> tuple[Filter, clause_phrases.ClausePhrase]:
    stand_in = _STAND_INS.get(maker.concept, "pore")
    while True:
        said = clause_phrases.draw_clause(maker.voice, stand_in, kind=kind)
        # "with a neck" is a relation to necks now, and precipitates are a concept of their own
        if said.place != "pre" and not any(word in said.words for word in ("precipitate", "neck", "bridge")):
            return as_filter(said.clause), said


def as_filter(clause: Clause) -> Filter:
    """A clause of version 1 as a filter of version 2."""
    steps, bad = parse_pipeline(render_clause(clause))
    assert not bad
    return steps[0].filters[0]


def _old_post(kind: str) -> Callable[[Maker], Piece]:
    def make(maker: Maker) -> Piece:
        part, said = _old(maker, kind)
        return maker.post(part, said.words)

    return make


def _rank(maker: Maker) -> Piece:
    while True:
        part, said = _old(maker, "rank")
        if isinstance(part, Rank) and not part.percent and (said.form or {}).get("kind") != "some":
            return maker.order(part, said.words, part.last == 1)


def _per_cent(maker: Maker) -> Piece:
    while True:
        part, said = _old(maker, "rank")
        if isinstance(part, Rank) and part.percent:
            return maker.order(part, said.words, False)


def _near_place(maker: Maker) -> Piece:
    place = maker.voice.choose(("centre", "centre", *terms.PLACES[1:5]))
    return _near(maker, place, pick(maker.voice, f"places/{place}"), "near place", False)


# new constructs


def _adjective(maker: Maker) -> tuple[str, str]:
    weights = clause_phrases.RANK_WEIGHTS.get(maker.concept, clause_phrases.RANK_WEIGHTS["pore"])
    by = maker.voice.weighted(weights)
    words = _NECK_ADJECTIVES if maker.concept == "neck" else _ADJECTIVES
    return by, maker.voice.choose(words.get(by, _ADJECTIVES[by]))


def _rank_range(maker: Maker) -> Piece:
    by, adjective = _adjective(maker)
    first = int(maker.voice.rng.integers(2, 6))
    one = maker.voice.chance(0.6)
    last = first if one else first + int(maker.voice.rng.integers(1, 9))
    words = pick(maker.voice, f"rank range/{'one' if one else 'many'}")
    slots = {"{adj}": adjective, "{n}": str(first), "{m}": str(last)}
    slots |= {"{nth}": ordinal_word(first), "{mth}": ordinal_word(last)}
    return maker.order(Rank(by, first, last), filled(words, slots), one)


def _rank_by_property(maker: Maker) -> Piece:
    prop, word = maker.prop()
    end = maker.voice.choose((terms.HIGHEST, terms.LOWEST))
    one = maker.voice.chance(0.55)
    n, number = (1, "") if one else maker.count()
    words = pick(maker.voice, f"rank by property/{'one' if one else 'many'}")
    slots = {"{prop}": word, "{end}": pick(maker.voice, f"ends/{end}"), "{n}": number}
    return maker.order(Rank(f"{end} {prop}", 1, n), filled(words, slots), one)


def _comparison_slots(maker: Maker, prop: str, word: str) -> tuple[str, dict[str, str]]:
    op = maker.voice.weighted({">": 5, ">=": 2, "<": 4, "<=": 1})
    slots = {"{prop}": word, "{op}": pick(maker.voice, f"ops/{op}"), "{sign}": op}
    slots["{side}"] = "above" if op in (">", ">=") else "below"
    return op, slots


def _with_factor(maker: Maker) -> Piece:
    prop, word = maker.prop()
    op, slots = _comparison_slots(maker, prop, word)
    stat = maker.voice.weighted({"mean": 6, "median": 3})
    factor = maker.voice.choose((0.5, 0.8, 1.2, 1.5, 1.5, 2.0, 2.0, 2.5, 3.0))
    slots |= {"{factor}": pick(maker.voice, f"factors/{factor:g}"), "{stat}": stat, "{f}": f"{factor:g}"}
    words = pick(maker.voice, "compare with factor/post")
    return maker.post(Compare(prop, op, Relative(stat, factor)), filled(words, slots))


def _with_spread(maker: Maker) -> Piece:
    prop, word = maker.prop()
    spread = maker.voice.choose((1.0, 1.0, 2.0, 2.0, 3.0, 1.5))
    above = maker.voice.chance(0.6)
    words = pick(maker.voice, "compare with spread/post")
    if "{op}" in words or "{sign}" in words:
        op = maker.voice.choose((">", ">=", "<"))
        sign = maker.voice.choose((1, -1))
    else:  # said without an operator
        op, sign = (">", 1) if above else ("<", -1)
    stat = "mean" if maker.voice.chance(0.85) else "median"
    slots = {"{prop}": word, "{op}": pick(maker.voice, f"ops/{op}"), "{sign}": op, "{stat}": stat, "{f}": f"{spread:g}"}
    slots |= {"{plus}": "plus" if sign > 0 else "minus", "{plusign}": "+" if sign > 0 else "-"}
    slots["{side}"] = "above" if above else "below"
    return maker.post(Compare(prop, op, Relative(stat, 1.0, sign * spread)), filled(words, slots))


def _with_set(maker: Maker) -> Piece:
    concept = maker.voice.choose((maker.concept, "particle", "pore"))
    if maker.concept == "neck":
        concept = "neck"
    prop, word = maker.voice.choose(("diameter", "area", "circularity")), ""
    if maker.concept == "neck":
        prop = "neck width"
    word = property_word(prop, maker.concept)
    op, slots = _comparison_slots(maker, prop, word)
    stat = maker.voice.weighted({"mean": 6, "median": 2, "min": 1, "max": 1, "D90": 0.5})
    other = maker.set(concept)
    slots |= {"{stat}": pick(maker.voice, f"set statistics/{stat}"), "{set}": other.whole}
    words = pick(maker.voice, "compare with set/post")
    return maker.post(Compare(prop, op, SetStatistic(other.ref, stat)), filled(words, slots))


def _equality(maker: Maker) -> Piece:
    n, number = maker.count()
    return maker.post(
        Compare("contacts", "=", Amount(float(n))), pick(maker.voice, "equality/post").replace("{n}", number)
    )


def _third(maker: Maker) -> Piece:
    name = maker.voice.choose(terms.THIRDS)
    return maker.post(Region(name), pick(maker.voice, f"thirds/{name}"))


def _box(maker: Maker) -> Piece:
    x0, y0 = (10 * int(v) for v in maker.voice.rng.integers(0, 30, 2))
    x1, y1 = (int(a + 10 * v) for a, v in zip((x0, y0), maker.voice.rng.integers(5, 40, 2), strict=True))
    slots = {"{a}": str(x0), "{b}": str(y0), "{c}": str(x1), "{d}": str(y1)}
    return maker.post(Box(float(x0), float(y0), float(x1), float(y1)), filled(pick(maker.voice, "box/post"), slots))


def _near_edge(maker: Maker) -> Piece:
    edge = maker.voice.choose(terms.EDGES)
    one = maker.voice.chance(0.6)
    n, number = (1, "") if one else maker.count()
    words = pick(maker.voice, f"near edge{'' if one else ' many'}/{edge}")
    return maker.order(Near(n, edge), words.replace("{n}", number), one)


def _near(maker: Maker, to, place: str, path: str, farthest: bool) -> Piece:
    one = maker.voice.chance(0.55)
    n, number = (1, "") if one else maker.count()
    words = pick(maker.voice, f"{path}/{'one' if one else 'many'}")
    slots = {"{place}": place, "{set}": place, "{n}": number}
    return maker.order(Near(n, to, farthest), filled(words, slots), one)


def _far(maker: Maker) -> Piece:
    if maker.depth and maker.voice.chance(0.5):
        other = maker.set(part=True)
        return _near(maker, other.ref, other.whole, "far", True)
    place = maker.voice.choose(("centre", "centre", *terms.PLACES[1:5]))
    return _near(maker, place, pick(maker.voice, f"places/{place}"), "far", True)


def _near_set(maker: Maker) -> Piece:
    other = maker.set(part=True)
    return _near(maker, other.ref, other.whole, "near set", False)


def _pair(maker: Maker) -> Piece:
    separate = maker.voice.chance(0.5)
    return maker.order(Pair(separate), pick(maker.voice, f"pair/{'separate' if separate else 'any'}"), False)


def _contact(maker: Maker, kind: str, path: str, table: dict[str, tuple[str, ...]], **more) -> Piece:
    other = maker.set(maker.other(table), part=kind == "touching")
    words = pick(maker.voice, path)
    return maker.post(
        Relation(kind, other.ref, **more), filled(words, {"{member}": other.member, "{set}": other.whole})
    )


def _touching(maker: Maker) -> Piece:
    if maker.concept == "particle" and maker.voice.chance(0.5):
        return _contact(maker, "touching", "touching/post", {"particle": ("particle", "pore")})
    return _contact(maker, "touching", "touching/post", NEIGHBOURS)


def _inside(maker: Maker) -> Piece:
    if maker.concept in CONTENTS and (maker.concept not in CONTAINERS or maker.voice.chance(0.5)):
        return _contact(maker, "containing", "inside/containing", CONTENTS)
    return _contact(maker, "inside", "inside/inside", CONTAINERS)


def _with(maker: Maker) -> Piece:
    return _contact(maker, "with", "with/post", BEARERS)


def _within(maker: Maker) -> Piece:
    x = numbers.quantity(maker.voice, "gap", numbers.unit_for(maker.voice, "gap", True) or "nm")
    other = maker.set()
    words = filled(pick(maker.voice, "within/post"), {"{x}": x.text, "{member}": other.member})
    return maker.post(Relation("within", other.ref, Amount(x.value, x.unit)), words)


def _counted(maker: Maker) -> Piece:
    kind, table = maker.voice.choose((("touching", NEIGHBOURS), ("with", BEARERS), ("containing", CONTENTS)))
    if maker.concept not in table:
        kind, table = "touching", NEIGHBOURS
    other = maker.set(maker.other(table), several=True)
    op = maker.voice.choose(terms.COUNTERS)
    n, number = maker.count(9)
    count = pick(maker.voice, f"counts/{op}").replace("{n}", number)
    words = filled(pick(maker.voice, f"counted/{kind}"), {"{count}": count, "{set}": other.bare})
    return maker.post(Relation(kind, other.ref, None, op, n), words)


def _side(maker: Maker) -> Piece:
    kind = maker.voice.choose(("left of", "right of", "above", "below"))
    other = maker.set(part=True)
    return maker.post(Relation(kind, other.ref), pick(maker.voice, f"side/{kind}").replace("{every}", other.every))


def _size_order(maker: Maker) -> Piece:
    kind = maker.voice.choose(("larger than", "smaller than"))
    other = maker.set(maker.voice.choose((maker.concept, maker.other())), part=True)
    return maker.post(
        Relation(kind, other.ref), pick(maker.voice, f"size order/{kind}").replace("{every}", other.every)
    )


def _among(maker: Maker) -> Piece:
    other = maker.set(maker.concept, part=True, several=True)
    return maker.post(Relation(terms.AMONG, other.ref), pick(maker.voice, "among/post").replace("{set}", other.whole))


def filled(words: str, slots: dict[str, str]) -> str:
    """Words with their slots replaced; ``{noun}`` and ``{nouns}`` stay."""
    for slot, text in slots.items():
        words = words.replace(slot, text)
    return " ".join(words.split())


MAKERS: dict[str, Callable[[Maker], Piece]] = {
    "rank": _rank,
    "rank range": _rank_range,
    "rank per cent": _per_cent,
    "rank by property": _rank_by_property,
    "compare": _old_post("compare"),
    "between": _old_post("between"),
    "flag": _old_post("flag"),
    "region": _old_post("region"),
    "compare with factor": _with_factor,
    "compare with spread": _with_spread,
    "compare with set": _with_set,
    "equality": _equality,
    "third": _third,
    "box": _box,
    "near place": _near_place,
    "near edge": _near_edge,
    "far": _far,
    "near set": _near_set,
    "pair": _pair,
    "touching": _touching,
    "side": _side,
    "inside": _inside,
    "with": _with,
    "counted relation": _counted,
    "within": _within,
    "size order": _size_order,
    "among": _among,
}
"""Construct -> what makes a piece of it."""
NEEDS_SET = frozenset(
    {"compare with set", "near set", "touching", "side", "inside", "with", "counted relation", "within", "size order",
    "among"}
)  # fmt: skip
PLAIN_CONCEPTS = tuple(name for name in ALL_CONCEPTS if name in NEIGHBOURS)


def suits(construct: str, concept: str) -> bool:
    """Whether a construct makes sense for a concept."""
    if construct == "with":
        return concept in BEARERS
    if construct == "inside":
        return concept in CONTAINERS or concept in CONTENTS
    if construct == "equality":
        return concept in ("particle", "grain")
    return not (construct == "pair" and concept in ("layer", "shell"))


def pipeline_of(pieces: list[Piece]) -> Pipeline:
    """The steps of some pieces."""
    return tuple(piece.step for piece in pieces)
