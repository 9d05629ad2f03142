"""Draw a clause of the reply language, and words for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lisa_micro.datasets.texts import numbers
from lisa_micro.datasets.texts.store import Voice, data
from lisa_micro.language import Between, Clause, Compare, Flag, Nearest, Rank, Region, parse_clause
from lisa_micro.language.words import CORNERS, PROPERTIES, REGIONS

SOME = 3
"""Number of instances that "the largest particles" means without a number."""
OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


@dataclass(frozen=True)
class ClausePhrase:
    """A clause and its words.

    Attributes:
        clause: the clause.
        place: ``"pre"`` or ``"post"``: the words precede or follow a noun; ``"whole"``: they are the whole phrase.
        words: may contain ``{noun}``, ``{nouns}`` and ``{image}``.
        form: kind and property of a rank.
    """

    clause: Clause
    place: str
    words: str
    form: dict | None = None

    @property
    def filters(self) -> bool:
        """Whether the phrase can take "all" and "every"."""
        return not isinstance(self.clause, Rank | Nearest)


KINDS = {
    "compare": 30,
    "rank": 24,
    "flag": 16,
    "region": 10,
    "between": 7,
    "relative": 6,
    "nearest": 6,
    "fixed": 5,
}
_BLOB_PROPERTIES = {
    "diameter": 9,
    "area": 3,
    "length": 2,
    "width": 2,
    "perimeter": 1,
    "circularity": 3,
    "aspect ratio": 3,
    "radius": 1.5,
}
PROPERTY_WEIGHTS: dict[str, dict[str, float]] = {
    "particle": _BLOB_PROPERTIES
    | {"diameter": 12, "neck width": 1.5, "neck ratio": 1, "intensity": 1.5, "gap": 2, "contacts": 2.5},
    "neck": {"neck width": 10, "neck ratio": 4, "neck radius": 2, "area": 1},
    "pore": _BLOB_PROPERTIES,
    "agglomerate": _BLOB_PROPERTIES,
}
RANK_WEIGHTS = {
    "particle": {"largest": 6, "smallest": 5, "longest": 2, "roundest": 2, "darkest": 2, "brightest": 2},
    "neck": {"largest": 5, "smallest": 4},
    "pore": {"largest": 5, "smallest": 4, "longest": 1, "roundest": 1},
    "agglomerate": {"largest": 5, "smallest": 4, "longest": 1},
}


def draw_clause(voice: Voice, concept: str, in_nm: bool = True, kind: str | None = None) -> ClausePhrase:
    """Draw a clause that makes sense for a concept, and words for it.

    Args:
        voice: source of wordings.
        concept: particle, neck, pore or agglomerate (the substrate has no instances).
        in_nm: whether lengths are mostly in nm.
        kind: one of :data:`KINDS` instead of a drawn one.
    """
    kind = kind or voice.weighted(KINDS)
    if kind == "fixed" and concept == "neck":
        kind = "relative"
    if kind == "rank":
        return _rank(voice, concept)
    if kind == "nearest":
        return _nearest(voice)
    if kind == "region":
        name = voice.choose(REGIONS)
        place = "pre" if voice.chance(0.15) else "post"
        return ClausePhrase(Region(name), place, voice.pick(f"clauses/regions/{name}/{place}"))
    if kind == "flag":
        return _flag(voice, concept)
    if kind == "fixed":
        return _fixed(voice, concept)
    if kind == "relative":
        return _relative(voice, concept)
    prop = voice.weighted(PROPERTY_WEIGHTS[concept])
    op = "between" if kind == "between" else voice.weighted({">": 6, "<": 5, ">=": 3, "<=": 3, "~": 1.5})
    if prop == "contacts" and op in ("between", "~"):
        op = voice.choose((">", ">=", "~"))
    return comparison(voice, concept, prop, op, numbers.unit_for(voice, prop, in_nm))


def comparison(voice: Voice, concept: str, prop: str, op: str, unit: str) -> ClausePhrase:
    """Draw words for ``prop op number unit``; ``op`` may be ``"between"``."""
    default = _is_default_size(concept, prop)
    place = "post"
    if default and unit and voice.chance(0.08):
        place, pattern = "pre", voice.pick(f"clauses/comparatives_pre/{op}")
    elif op in data("clauses")["special_comparatives"].get(prop, {}) and concept != "neck":
        special = voice.chance(0.6)
        pattern = (
            voice.pick(f"clauses/special_comparatives/{prop}/{op}")
            if special
            else _with_property_word(voice, concept, prop, op)
        )
    elif voice.chance(0.55 if default else 0.4):
        pattern = _comparative(voice, concept, prop, op, unit)
    else:
        pattern = _with_property_word(voice, concept, prop, op)
    x = numbers.quantity(voice, prop, unit, hyphen=place == "pre")
    if op != "between":
        clause: Clause = Compare(prop, op, x.value, unit)
        # "{x}" for "about": the plain size before the noun
        return ClausePhrase(clause, place, pattern.replace("{x}", x.text))
    second = numbers.draw_value(voice, prop, unit)
    if second == x.value:
        second = x.value * 2
    low, high = sorted((x.value, second))
    first = numbers.quantity(voice, prop, unit, low)
    last = numbers.quantity(voice, prop, unit, high, hyphen=place == "pre")
    start = first.bare if voice.chance(0.75) else first.text
    text = pattern.replace("{x}", start).replace("{y}", last.text)
    return ClausePhrase(Between(prop, low, high, unit), place, text)


def _is_default_size(concept: str, prop: str) -> bool:
    """Whether "larger than 5 nm" without a property means this one."""
    return prop == ("neck width" if concept == "neck" else "diameter")


def property_word(voice: Voice, concept: str, prop: str) -> str:
    """Draw a word for a property; the width of a neck is simply "width"."""
    if prop in ("neck width", "neck radius") and concept == "neck":
        return voice.pick(f"clauses/properties/{prop}/neck_words")
    # "particle diameter" of particles only
    return voice.pick(f"clauses/properties/{prop}/words", lambda w: concept == "particle" or w[:9] != "particle ")


def _with_property_word(voice: Voice, concept: str, prop: str, op: str) -> str:
    word = property_word(voice, concept, prop)
    if voice.chance(0.25):
        return voice.pick(f"clauses/property_verbs/{op}").replace("{prop}", word)
    operator = voice.pick(f"clauses/operators/{op}")
    plural = word + "s" if re.fullmatch(r"[a-z -]+[a-rt-xz]", word) else ""
    frame = voice.pick("clauses/property_frames", lambda f: bool(plural) or "{props}" not in f)
    return frame.replace("{props}", plural).replace("{prop}", word).replace("{op}", operator)


def _comparative(voice: Voice, concept: str, prop: str, op: str, unit: str) -> str:
    entry = data("clauses")["properties"][prop]
    default = _is_default_size(concept, prop)
    area_unit = unit.endswith("2") and unit != "px2"

    def fits(pattern: str) -> bool:
        asks = set(re.findall(r"\{(more|less|across)\}", pattern))
        if any(not entry[name] for name in asks):
            return False
        if PROPERTIES[prop].dimension == "none":
            return bool(asks) and "than" in pattern
        if default or area_unit:  # an area unit shows that the area is meant
            return True
        return "{across}" in pattern or (prop not in ("area", "neck width", "neck radius") and bool(asks))

    other_neck = prop == "neck width" and not default  # of a particle, "wider than" is not about its neck
    if other_neck or not voice.has(f"clauses/comparatives/{op}", fits):
        return _with_property_word(voice, concept, prop, op)
    pattern = voice.pick(f"clauses/comparatives/{op}", fits)
    for name in ("more", "less", "across"):
        if f"{{{name}}}" in pattern:
            pattern = pattern.replace(f"{{{name}}}", voice.pick(f"clauses/properties/{prop}/{name}"))
    return pattern


def _rank(voice: Voice, concept: str) -> ClausePhrase:
    by = voice.weighted(RANK_WEIGHTS[concept])
    base = f"clauses/ranks/{by}"
    special = concept == "neck"
    kind = voice.weighted({"one": 8, "many": 10, "many_by": 3, "some": 2, "percent": 2, "percent_by": 1})
    if kind.endswith("_by") and by in ("smallest", "darkest"):
        kind = kind.removesuffix("_by")
    form: dict = {"kind": kind, "by": by}
    if kind in ("one", "many") and not special and voice.chance(0.2):
        words = voice.pick(f"{base}/{kind}")
    else:
        words = voice.pick(f"clauses/rank_frames/{kind}")
    if "{adj}" in words:
        words = words.replace("{adj}", rank_adjective(voice, by, special))
    if "{by}" in words:
        neck_safe = (lambda text: "diameter" not in text) if special else (lambda text: True)
        words = words.replace("{by}", voice.pick(f"{base}/by", neck_safe))
    n = 1
    if kind == "some":
        n = SOME
    elif kind.startswith("percent"):
        n = int(voice.choose(numbers.PERCENTS))
        words = words.replace("{n}", str(n))
    elif kind != "one":
        n, text = numbers.count(voice)
        words = words.replace("{n}", text)
    return ClausePhrase(Rank(by, n, kind.startswith("percent")), "whole", words, form)


def rank_adjective(voice: Voice, by: str, neck: bool) -> str:
    """Draw a superlative; necks have their own for width."""
    special = neck and "neck_adjectives" in data("clauses")["ranks"][by]
    return voice.pick(f"clauses/ranks/{by}/{'neck_adjectives' if special else 'adjectives'}")


def _nearest(voice: Voice) -> ClausePhrase:
    place = voice.weighted({"centre": 4, "point": 3} | dict.fromkeys(CORNERS, 1))
    kind = voice.weighted({"one": 5, "many": 5, "some": 1})
    n = 1 if kind == "one" else SOME
    to: str | tuple[float, float] = place
    spot = {}
    if place == "point":
        x, y = (int(v) for v in voice.rng.integers(0, voice.choose((300, 1100)), 2))
        to, spot = (float(x), float(y)), {"{px}": str(x), "{py}": str(y)}
    if place == "point" and kind == "one" and voice.chance(0.3):
        words = voice.pick("clauses/nearest/at_point")
    else:
        words = voice.pick(f"clauses/nearest/{kind}")
        words = words.replace("{place}", voice.pick(f"clauses/nearest/places/{place}"))
    if kind == "many":
        n, text = numbers.count(voice)
        words = words.replace("{n}", text)
    for slot, value in spot.items():
        words = words.replace(slot, value)
    return ClausePhrase(Nearest(n, to), "whole", words)


def _flag(voice: Voice, concept: str) -> ClausePhrase:
    names = ["touching border", "not touching border"]
    if concept == "particle":
        names += ["isolated", "isolated", "in contact", "in contact", "in agglomerate", "not in agglomerate"]
    name = voice.choose(names)
    place = "pre" if voice.chance(0.35) else "post"
    clause = parse_clause(name)
    assert isinstance(clause, Flag)
    return ClausePhrase(clause, place, voice.pick(f"clauses/flags/{name}/{place}"))


def _fixed(voice: Voice, concept: str) -> ClausePhrase:
    entries = data("clauses")["fixed"]
    suits = [k for k, e in enumerate(entries) if concept == "particle" or "intensity" not in e["clause"]]
    k = voice.choose(suits)
    place = "pre" if voice.chance(0.5) else "post"
    clause = parse_clause(entries[k]["clause"])
    assert clause is not None
    return ClausePhrase(clause, place, voice.pick(f"clauses/fixed/{k}/{place}"))


def _relative(voice: Voice, concept: str) -> ClausePhrase:
    neck = concept == "neck"
    size = "neck width" if neck else "diameter"
    op = voice.choose((">", "<"))
    if voice.chance(0.5):
        key = ("neck_" if neck else "") + ("big" if op == ">" else "small")
        return ClausePhrase(Compare(size, op, "mean"), "pre", voice.pick(f"clauses/relative_pre/{key}"))
    prop = (
        size if neck or voice.chance(0.6) else voice.choose(("area", "length", "width", "circularity", "aspect ratio"))
    )
    entry = data("clauses")["properties"][prop]
    to = voice.choose(("mean", "mean", "median"))

    def fits(pattern: str) -> bool:
        if "{prop}" not in pattern and prop in ("area", "circularity"):
            return False
        return all(entry[name] for name in re.findall(r"\{(more|less)\}", pattern))

    words = voice.pick(f"clauses/relative/{op}/{to}", fits)
    for name in ("more", "less"):
        if f"{{{name}}}" in words:
            words = words.replace(f"{{{name}}}", voice.pick(f"clauses/properties/{prop}/{name}"))
    words = words.replace("{prop}", property_word(voice, concept, prop))
    return ClausePhrase(Compare(prop, op, to), "post", words)


def opposite(clause: Clause) -> Clause | None:
    """The filter that keeps what this one drops; None if the language has none."""
    if isinstance(clause, Compare) and clause.op in OPPOSITE:
        return Compare(clause.prop, OPPOSITE[clause.op], clause.value, clause.unit)
    if isinstance(clause, Flag):
        return parse_clause(clause.name if clause.negated else f"not {clause.name}")
    return None
