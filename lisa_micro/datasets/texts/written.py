"""Read handwritten requests and conversations, each with its meaning.

The files ``written/*.txt`` hold one conversation per line, with turns separated by `` >> ``::

    outline every neck => neck >> only those above 4 nm => neck[neck width > 4 nm] >> and the pores? => pore

A meaning is

- targets, ``particle[isolated; largest 5] + neck``; after ``yes`` the answer to "are there any?";
- measures of one target, ``mean diameter, count of particle``, or counts of several, ``count of pore + count of neck``;
  of a video ``count at end of particle``, ``first coalescence time of particle``, ``mean neck width rate of neck``;
- ``absent cracks`` for something outside the vocabulary, alone or after targets: ``particle + absent cracks``;
- ``scene``, or ``chat`` and a kind of small talk (``chat define neck``).

As with all wordings, a fifth is held out (``store.is_held_out``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lisa_micro.datasets.texts import noise
from lisa_micro.datasets.texts.asking import outline_turn
from lisa_micro.datasets.texts.facts import SceneFacts, describe
from lisa_micro.datasets.texts.replies import (
    TargetTruth,
    Turn,
    absence,
    absent_concepts_reply,
    absent_reply,
    chat_reply,
    counts_reply,
    measure_reply,
    outline_reply,
)
from lisa_micro.datasets.texts.store import Voice, is_held_out, leaf
from lisa_micro.language import Clause, Measure, parse_clause
from lisa_micro.language.clauses import parse_measure
from lisa_micro.language.words import CONCEPT_NOUNS, MAX_CLAUSES, PROPERTIES, VIDEO_MEASURES

SINGLE = (
    "whole_1", "whole_2", "one_clause", "more_clauses", "measures", "other", "several",
    "foreign_4", "mixed_4", "mixed_5",
)  # fmt: skip
"""Files of single requests."""
RECENT = ("mixed_6", "mixed_7", "mixed_8")
"""Files with a weight of their own in training, since few of their kinds of request are in the others."""
DESCRIBED = ("described",)
"""The file of requests that describe all particles, with a weight of its own: few, and easily mistaken for
constraints."""
VIDEOS = ("videos",)
"""The file of questions about a video: times, changes, rates, events."""
DIALOGUES = ("dialogues", "dialogues_4", "dialogues_6", "dialogues_7")
"""Files of conversations."""
OTHER_NUMBERS = 0.5
"""Probability that the numbers of a conversation are replaced, both in its words and in its meanings."""

_TARGET = re.compile(r"([a-z]+)(?:\[([^\]]*)\])?")
_MEASURED = re.compile(r"(.+?) of ([a-z]+(?:\[[^\]]*\])?)")
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)?(?![\d])")
_PLURALS = frozenset({"people", "men", "women", "children", "mice", "feet", "teeth", "geese", "police", "cattle"})


@dataclass(frozen=True)
class Meaning:
    """The meaning of one turn.

    Attributes:
        targets: what to segment or measure, in order.
        measures: of a single target; with several targets, one count.
        yes: whether the turn asks if there are any.
        foreign: a noun outside the vocabulary.
        other: ``"scene"``, the path of a kind of small talk (``"chat/define/neck"``), or empty.
    """

    targets: tuple[TargetTruth, ...] = ()
    measures: tuple[Measure, ...] = ()
    yes: bool = False
    foreign: str = ""
    other: str = ""


@cache
def lines(name: str) -> tuple[str, ...]:
    """Read the conversations of a file, without comments."""
    text = files(__package__).joinpath("written", f"{name}.txt").read_text("utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def plain(words: str) -> str:
    """Remove capitals and punctuation except comparison signs, unless nothing would remain."""
    return re.sub(r"[^\w<>=≥≤]+", " ", words.lower()).strip() or words.strip()


@cache
def halves(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the conversations of some files into those for training and those held out, by the words of the first
    turn."""
    found = [(is_held_out("written", plain(line.split("=>")[0])), line) for name in names for line in lines(name)]
    return tuple(line for held, line in found if not held), tuple(line for held, line in found if held)


def split_line(line: str) -> list[tuple[str, str]]:
    """Split a conversation into (words, text of the meaning) of each turn.

    Raises:
        ValueError: a turn without ``=>``, or with two.
    """
    turns = []
    for turn in line.split(" >> "):
        words, arrow, meaning = turn.partition("=>")
        if not arrow or "=>" in meaning or not words.strip():
            raise ValueError(f"not 'words => meaning': {turn!r}")
        turns.append((words.strip(), meaning.strip()))
    return turns


def _target(text: str) -> TargetTruth:
    match = _TARGET.fullmatch(text.strip())
    if not match or match[1] not in CONCEPT_NOUNS:
        raise ValueError(f"no concept: {text!r}")
    concept, inside = match[1], match[2]
    clauses: list[Clause] = []
    for piece in inside.split(";") if inside is not None else ():
        clause = parse_clause(piece)
        if clause is None:
            raise ValueError(f"no clause: {piece!r}")
        prop = getattr(clause, "prop", None)
        if prop and concept not in PROPERTIES[prop].concepts:
            raise ValueError(f"{prop} is not a property of a {concept}")
        clauses.append(clause)
    if len(clauses) > MAX_CLAUSES or (clauses and concept == "substrate"):
        raise ValueError(f"too many clauses: {text!r}")
    return TargetTruth(concept, tuple(clauses))


def read_meaning(text: str) -> Meaning:
    """Parse the meaning of a turn, the text after ``=>``.

    Raises:
        ValueError: a text that is no meaning.
    """
    if text == "scene":
        return Meaning(other=text)
    if text.startswith("chat "):
        chat_reply("/".join(text.split()))
        return Meaning(other="/".join(text.split()))
    yes = text.startswith("yes ")
    targets, measures, foreign = [], [], ""
    for part in text.removeprefix("yes ").split(" + "):
        if foreign:
            raise ValueError(f"something foreign comes last: {text!r}")
        if part.startswith("absent "):
            foreign = part.removeprefix("absent ").strip()
            continue
        match = _MEASURED.fullmatch(part)
        targets.append(_target(match[2] if match else part))
        if match:
            asked = [parse_measure(piece.strip()) for piece in match[1].split(",")]
            if None in asked:
                raise ValueError(f"no measure: {match[1]!r}")
            measures.append([m for m in asked if m is not None])
    alone = len(targets) == 1 or all(asked == [Measure("count")] for asked in measures)
    if measures and (foreign or yes or len(measures) != len(targets) or not alone):
        raise ValueError(f"measures are of one thing, or counts of several: {text!r}")
    for measure in measures[0] if measures else ():
        if measure.prop and targets[0].concept not in PROPERTIES[measure.prop].concepts:
            raise ValueError(f"{measure.prop} is not a property of a {targets[0].concept}")
        if measure.stat in VIDEO_MEASURES and targets[0].concept != "neck":
            raise ValueError(f"the {measure.stat} is one of necks, not of a {targets[0].concept}")
    return Meaning(tuple(targets), tuple(measures[0]) if measures else (), yes, foreign)


def turn_of(voice: Voice, facts: SceneFacts, words: str, meaning: Meaning) -> Turn:
    """Make the turn of one request about an image."""
    novel = tuple(voice.novel)
    if meaning.other == "scene":
        return Turn(noise.spell(voice, words), describe(facts), (), "scene", novel=novel)
    if meaning.other:
        user = noise.spell(voice, words) if any(c.isalpha() for c in words) else words
        return Turn(user, chat_reply(meaning.other), (), "chat", novel=novel)
    if meaning.foreign:
        return _foreign(voice, facts, words, meaning)
    targets, measures = list(meaning.targets), list(meaning.measures)
    reply = None
    if measures:
        reply = measure_reply(targets[0], measures) if len(targets) == 1 else counts_reply(targets)
    category = "video" if any(measure.of_video for measure in measures) else "written"
    return outline_turn(voice, facts, words, targets, category, meaning.yes, reply)


def _foreign(voice: Voice, facts: SceneFacts, words: str, meaning: Meaning) -> Turn:
    singular = not is_plural(meaning.foreign)
    user = noise.spell(voice, words, meaning.foreign)
    novel = tuple(voice.novel)
    if not meaning.targets:
        return Turn(user, absent_reply(meaning.foreign, singular), (), "written", novel=novel)
    targets = [TargetTruth(t.concept, t.clauses, facts.present(t.concept)) for t in meaning.targets]
    sentence = absence(meaning.foreign, singular)
    if not any(t.present for t in targets):
        text = absent_concepts_reply(list(dict.fromkeys(t.concept for t in targets)))
        return Turn(user, f"{text} {sentence}", (), "written", True, novel)
    return Turn(user, f"{outline_reply(targets)} {sentence}", tuple(targets), "written", novel=novel)


@cache
def _known_nouns() -> tuple[frozenset[str], frozenset[str]]:
    """Irregular plurals, and words without a plural."""
    entries = leaf("absent")
    plural = {entry.partition("/")[2] for entry in entries if "/" in entry}
    return frozenset(plural) | _PLURALS, frozenset(entry[1:] for entry in entries if entry.startswith("~"))


def is_plural(noun: str) -> bool:
    """Whether a noun takes "there are no ...".

    >>> [is_plural(noun) for noun in ("cats", "glass", "bacteria", "ice")]
    [True, False, True, False]
    """
    plurals, mass = _known_nouns()
    head = re.split(r" (?:of|in|on|with|from|around) ", noun)[0]
    last = head.split(" ")[-1].lower()
    if noun in mass or head in mass:
        return False
    return noun in plurals or last in plurals or bool(re.search(r"[^sui]s$|ies$", last))


def other_numbers(voice: Voice, turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Replace the numbers of a conversation that occur once in the words and are unambiguous in the meanings.

    Numbers keep their decimals; those below 1 stay below 1.
    """
    texts = [words for words, _ in turns]
    meanings = [meaning for _, meaning in turns]
    if any(re.search(r" to \d+,\d", meaning) for meaning in meanings):  # a place in px looks like a decimal
        return turns
    new: dict[str, str] = {}
    for token in dict.fromkeys(_NUMBER.findall(" ".join(meanings))):
        value = float(token.replace(",", "."))
        said = [m[0] for words in texts for m in _NUMBER.finditer(words) if float(m[0].replace(",", ".")) == value]
        once = all(len([m for m in _NUMBER.findall(text) if m == token]) <= 1 for text in meanings)
        clear = once and len(said) == 1 and (value >= 3 or "." in token)
        if clear and not any(f"{token} %" in text for text in meanings):
            new[token] = _near(voice, token, value)
    if len(set(new.values())) < len(new):
        return turns

    def changed(text: str) -> str:
        def other(match: re.Match) -> str:
            for token, number in new.items():
                if float(match[0].replace(",", ".")) == float(token):
                    return number.replace(".", ",") if "," in match[0] else number
            return match[0]

        return _NUMBER.sub(other, text)

    result = [(changed(words), changed(meaning)) for words, meaning in turns]
    for _, meaning in result:
        for low, high in re.findall(r"between (\S+) and (\d\S*)", meaning):
            if float(low) >= float(high.rstrip("];")):
                return turns
    return result


def _near(voice: Voice, token: str, value: float) -> str:
    decimals = len(token.partition(".")[2])
    scaled = value * 2 ** float(voice.rng.uniform(-1, 1))
    if value < 1:
        scaled = min(scaled, 0.97)
    if decimals:
        return f"{max(scaled, 10**-decimals):.{decimals}f}"
    if value >= 100 and value % 10 == 0:
        return str(int(round(scaled, -1)))
    return str(max(2, round(scaled)))


def draw(voice: Voice, facts: SceneFacts, names: tuple[str, ...]) -> list[Turn]:
    """Draw a conversation from some files."""
    train, held = halves(names)
    novel = voice.split == "held_out"
    turns = split_line(voice.choose(held if novel else train))
    if voice.chance(OTHER_NUMBERS):
        turns = other_numbers(voice, turns)
    if novel:
        voice.novel.append("written")
    return [turn_of(voice, facts, words, read_meaning(meaning)) for words, meaning in turns]
