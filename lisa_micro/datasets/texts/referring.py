"""Express a constraint as a predicate, by a pronoun, or by what it excludes."""

from __future__ import annotations

import re

from lisa_micro.datasets.texts import noise
from lisa_micro.datasets.texts.clause_phrases import ClausePhrase, draw_clause, opposite, rank_adjective
from lisa_micro.datasets.texts.phrases import LEAVES_OUT, Noun, agree, draw_noun
from lisa_micro.datasets.texts.store import Voice
from lisa_micro.language import Compare, Flag, Rank, Region

_TO_VERB = (
    (r"^(that|which) ", ""),
    (r"^with (?!their)", "have "),
    (r"^(without) ", r"are \1 "),
)
_GERUNDS = {
    "having": "have", "showing": "show", "measuring": "measure", "exceeding": "exceed", "being": "are",
    "touching": "touch", "crossing": "cross", "overlapping": "overlap", "intersecting": "intersect",
    "belonging": "belong", "forming": "form",
}  # fmt: skip
_NO_PREDICATE = (
    *LEAVES_OUT, "whose", "where", "for which", "if ", "(", "filtered", "of ", "ignoring", "for ",
    "with their",
)  # fmt: skip
_SHORT_PLACE = re.compile(r"(in|on|at|above|below|over|under|near|towards|between|>|<|sub|up to|from)\b|[<>≥≤]")


def predicate(part: ClausePhrase) -> str | None:
    """Turn a constraint into a predicate: "are isolated", "touch the border"; None if the words allow none."""
    if part.place == "pre":
        simple = isinstance(part.clause, Flag) and part.clause.name != "touching border"
        fixed = isinstance(part.clause, Compare) and not re.search(r"\d", part.words)
        return f"are {part.words}" if simple or fixed else None
    if part.place != "post" or part.words.startswith(_NO_PREDICATE):
        return None
    first, _, rest = part.words.partition(" ")
    if first in _GERUNDS:
        return f"{_GERUNDS[first]} {rest}"
    for pattern, replacement in _TO_VERB:
        if re.match(pattern, part.words):
            return re.sub(pattern, replacement, part.words)
    return f"are {part.words}"


def draw_predicate(voice: Voice, concept: str, in_nm: bool) -> tuple[ClausePhrase, str]:
    """Draw a filter that can be a predicate, and the predicate."""
    while True:
        part = draw_clause(voice, concept, in_nm, voice.choose(("flag", "compare", "region", "relative", "fixed")))
        words = predicate(part)
        if words is not None:
            return part, words


def removable(part: ClausePhrase) -> bool:
    """Whether "without those ..." makes sense with the words of a clause."""
    leaves_out = part.words.startswith((*LEAVES_OUT, "not ", "that are not", "that do not"))
    return part.filters and not leaves_out and opposite(part.clause) is not None


def draw_removable(voice: Voice, concept: str, in_nm: bool) -> ClausePhrase:
    """Draw a filter that can be expressed by what it removes."""
    while True:
        part = draw_clause(voice, concept, in_nm, voice.choose(("flag", "compare", "relative", "fixed")))
        if removable(part):
            return part


def can_stand_alone(part: ClausePhrase) -> bool:
    """Whether the words make sense without a noun: "in the left half", "above 20 nm"."""
    short = _SHORT_PLACE.match(part.words) is not None and "{noun" not in part.words
    return part.place == "post" and short and isinstance(part.clause, Region | Compare)


def pronoun_phrase(voice: Voice, part: ClausePhrase, noun: Noun | None = None, concept: str = "particle") -> str:
    """Draw a pronoun phrase for the instances of a constraint: "those in the left half", "the 3 largest"."""
    noun = noun or draw_noun(voice, concept, 0.7)
    if part.place == "post":
        words = f"{voice.choose(('those', 'those', 'the ones', 'the ' + noun.plural))} {part.words}"
    elif part.place == "pre":
        words = f"the {part.words} {voice.choose(('ones', 'ones', noun.plural))}"
    elif part.form is not None and not part.form["kind"].startswith("percent") and voice.chance(0.7):
        words = _rank_alone(voice, part, noun.concept == "neck")
    else:
        words = "the " + part.words
    words = words.replace("{nouns}", noun.plural).replace("{noun}", agree(noun.singular))
    return noise.fill_images(voice, words)


def _rank_alone(voice: Voice, part: ClausePhrase, neck: bool) -> str:
    assert isinstance(part.clause, Rank) and part.form is not None
    words = voice.pick(f"followups/rank_forms/{part.form['kind']}")
    words = words.replace("{adj}", rank_adjective(voice, part.clause.by, neck))
    if "{by}" in words:
        by = voice.pick(f"clauses/ranks/{part.clause.by}/by", lambda text: "diameter" not in text)
        words = words.replace("{by}", by)
    return words.replace("{n}", str(part.clause.n))


def excluded(voice: Voice, part: ClausePhrase) -> ClausePhrase:
    """Express a clause as an exclusion, "except those smaller than 5 nm"; unchanged if that is impossible."""
    other = opposite(part.clause)
    if other is None or not removable(part):
        return part
    rest = f"{voice.pick('clauses/pronouns')} {part.words}"
    return ClausePhrase(other, "post", voice.pick("clauses/exclusions").replace("{rest}", rest))
