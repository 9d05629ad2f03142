"""Build noun phrases: a concept with its constraint, in the forms that wordings have slots for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lisa_micro.datasets.texts.clause_phrases import ClausePhrase
from lisa_micro.datasets.texts.store import Voice, near_absent
from lisa_micro.language import Clause
from lisa_micro.language.clauses import orders
from lisa_micro.language.words import CONCEPT_NOUNS

ALL_FORMS = ("all {}", "all {}", "all the {}", "all of the {}", "each of the {}", "every one of the {}")
ALL_MASS_FORMS = ("the {}", "all of the {}", "the whole {}", "the entire {}")
NEAR_SHARE = 0.4
"""Probability that a noun outside the vocabulary is drawn from the materials science terms, not from all nouns."""
_VERBS = "lie|look|extend|exceed|stay|measure|sit|belong|stand|share|appear|form|possess|fall"
_AGREEMENT = (
    (r"\b(that|which) are\b", r"\1 is"),
    (r"\b(that|which) have\b", r"\1 has"),
    (r"\b(that|which) (do not|don't)\b", r"\1 does not"),
    (r"\b(that|which) aren't\b", r"\1 isn't"),
    (r"\b(that|which) (touch|reach)\b", r"\1 \2es"),
    (rf"\b(that|which) ({_VERBS})\b", r"\1 \2s"),
    (r"\btheir\b", "its"),
)


@dataclass(frozen=True)
class Noun:
    """A noun in a request; ``concept`` is None for nouns outside the vocabulary."""

    concept: str | None
    singular: str
    plural: str
    mass: bool = False


@dataclass(frozen=True)
class Phrase:
    """A noun phrase in all its forms.

    Attributes:
        slots: text by slot name; slots that make no sense for the phrase are missing.
        noun: its noun.
        clauses: its constraint, in canonical order.
        singular: whether verbs are in the singular.
    """

    slots: dict[str, str]
    noun: Noun
    clauses: tuple[Clause, ...] = ()
    singular: bool = False
    nouns: tuple[Noun, ...] = field(default=())


def plural_of(noun: str) -> str:
    """Form the regular plural."""
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def read_noun(entry: str, concept: str | None) -> Noun:
    """Parse an entry of the word lists: ``word``, ``singular/plural`` or ``~mass noun``."""
    if entry.startswith("~"):
        return Noun(concept, entry[1:], entry[1:], True)
    singular, slash, plural = entry.partition("/")
    # the slash of "singular/plural", not of a word that has one
    return Noun(concept, singular, plural if slash else plural_of(singular))


def draw_noun(voice: Voice, concept: str | None, canonical: float = 0.4) -> Noun:
    """Draw a noun for a concept, or one outside the vocabulary (``concept`` None)."""
    if concept is None:
        near = near_absent() if voice.chance(NEAR_SHARE) else ()
        noun = read_noun(voice.pick("absent", lambda item: not near or item in near), None)
        if voice.chance(0.07):
            adjective = voice.pick("concepts/foreign adjectives")
            noun = Noun(None, f"{adjective} {noun.singular}", f"{adjective} {noun.plural}", noun.mass)
        return noun
    if concept in voice.nouns:
        return Noun(concept, *voice.nouns[concept])
    if voice.chance(canonical):
        singular, plural = CONCEPT_NOUNS[concept]
        return Noun(concept, singular, plural, concept == "substrate")
    if concept == "particle" and voice.chance(0.2):
        base, material = voice.pick("concepts/particle/bases"), voice.pick("concepts/particle/materials")
        return Noun(concept, f"{material} {base}", f"{material} {plural_of(base)}")
    noun = read_noun(voice.pick(f"concepts/{concept}/nouns"), concept)
    if concept == "particle" and voice.chance(0.12):
        adjective = voice.pick("concepts/particle/adjectives")
        noun = Noun(concept, f"{adjective} {noun.singular}", f"{adjective} {noun.plural}")
    return noun


def agree(words: str) -> str:
    """Change words that follow a plural noun so that they follow a singular one."""
    for pattern, replacement in _AGREEMENT:
        words = re.sub(pattern, replacement, words)
    return words


def in_order(clauses: list[Clause]) -> tuple[Clause, ...]:
    """Sort clauses: filters in the order of the words, then comparisons with the mean, then ranks.

    So "the 3 largest isolated ones" are the 3 largest of the isolated ones.
    """
    return tuple(sorted(clauses, key=lambda c: 0 if not orders(c) else 1 if hasattr(c, "op") else 2))


def phrase(voice: Voice, noun: Noun, parts: list[ClausePhrase]) -> Phrase:
    """Build the phrase of a noun with up to two clauses, at most one of them a rank or nearest."""
    wholes = [p for p in parts if p.place == "whole"]
    before = [p for p in parts if p.place == "pre"]
    after = [p for p in parts if p.place == "post"]
    # an exclusion comes last
    after.sort(key=lambda p: p.words.startswith(("but ", "except", "exclud", "without those", "minus", "leaving")))
    pre = "".join(p.words + " " for p in before)
    joined = _join_after(voice, [p.words for p in after])
    joined = joined.replace("{nouns}", noun.plural).replace("{noun}", noun.singular)
    plural = f"{pre}{noun.plural}{joined}"
    singular = f"{pre}{noun.singular}{agree(joined)}"
    # the order of the words: if either order were possible, the model would learn neither well
    clauses = in_order([p.clause for p in (*before, *wholes, *after)])
    one = False
    bare = plural
    if wholes:
        bare = wholes[0].words.replace("{nouns}", plural).replace("{noun}", singular)
        one = wholes[0].words.find("{noun}") >= 0 or getattr(wholes[0].clause, "n", 2) == 1
        one = one and getattr(wholes[0].clause, "n", 1) == 1 and not getattr(wholes[0].clause, "percent", False)
    one = one or noun.mass
    slots = {
        "bare": bare,
        "the": f"the {bare}",
        "are": "is" if one else "are",
        "them": "it" if one else "them",
    }
    slots["do"] = "does" if one else "do"
    filters = not wholes
    if noun.mass:
        slots["all"] = voice.choose(ALL_MASS_FORMS).format(bare)
        slots["any"] = f"any {bare}"
    elif filters:
        form = voice.choose(ALL_FORMS)
        slots["all"] = form.format(bare)
        slots["every"] = f"{voice.choose(('every', 'every', 'each', 'every single'))} {singular}"
        slots["any"] = f"any {bare}"
    slots["nouns"], slots["noun"] = noun.plural, noun.singular
    return Phrase(slots, noun, clauses, one)


LEAVES_OUT = ("but ", "except", "exclud", "without", "minus", "ignoring", "leaving")


def _join_after(voice: Voice, pieces: list[str]) -> str:
    if not pieces:
        return ""
    out = " " + pieces[0]
    for piece in pieces[1:]:
        relative = piece.startswith(("that", "which", "whose"))
        plain = piece.startswith(LEAVES_OUT) or (
            voice.chance(0.3) and (relative or piece.startswith(("in the", "on the", "with ")))
        )
        if plain:
            out += f" {piece}"
        else:
            joiner = voice.pick("clauses/joiners")
            out += (" and " if relative and "are" in joiner else joiner) + piece
    return out


def listing(voice: Voice, phrases: list[Phrase]) -> Phrase:
    """Join several phrases: "the particles and the necks"."""

    def joined(pieces: list[str]) -> str:
        last = voice.choose((" and ", " and ", " as well as ", " and also ", " plus ", " & "))
        return ", ".join(pieces[:-1]) + last + pieces[-1]

    the = joined([p.slots["the"] for p in phrases])
    plain = all(not p.clauses for p in phrases)
    slots = {"the": the, "bare": joined([p.slots["bare" if plain else "the"] for p in phrases])}
    if plain and voice.chance(0.3):
        slots["the"] = joined([phrases[0].slots["the"], *[p.slots["bare"] for p in phrases[1:]]])
    if plain and all("all" in p.slots for p in phrases):
        slots["all"] = joined([p.slots["all"] for p in phrases])
    slots["are"], slots["them"], slots["do"] = "are", "them", "do"
    return Phrase(slots, phrases[0].noun, (), False, tuple(p.noun for p in phrases))
