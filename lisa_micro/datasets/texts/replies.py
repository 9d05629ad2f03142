"""Write the reply to a request: always the same words for the same meaning, and short, since every token costs time."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_micro.datasets.texts.store import data
from lisa_micro.language import Clause, Measure, Nearest, Rank, render_clauses, render_measure
from lisa_micro.language.words import ABSENT, CONCEPT_NOUNS, END_VALUE, END_WHERE, SEG, VALUE, WHERE

# without digits: outside of the tags the language model may not write any
_STATISTIC_WORDS = {
    "min": "smallest",
    "max": "largest",
    "std": "standard deviation of the",
    "D10": "lower decile of the",
    "D90": "upper decile of the",
}
_PROPERTY_WORDS = {"contacts": "number of contacts"}


@dataclass(frozen=True)
class TargetTruth:
    """What a ``[SEG]`` of a reply refers to.

    Attributes:
        concept: one of ``lisa_micro.types.CONCEPTS``.
        clauses: its constraint, which is executed on all instances that the decoder segments.
        present: whether the image has any of the concept; if not, the mask is empty and its presence 0.
    """

    concept: str
    clauses: tuple[Clause, ...] = ()
    present: bool = True

    @property
    def singular(self) -> bool:
        """Whether it is a single instance by its meaning."""
        return self.concept == "substrate" or any(
            isinstance(c, Rank | Nearest) and c.n == 1 and not getattr(c, "percent", False) for c in self.clauses
        )


@dataclass(frozen=True)
class Turn:
    """One exchange.

    Attributes:
        user: what the user says.
        reply: what the language model must write, with special tokens as text.
        targets: one per ``[SEG]`` of the reply, in order.
        category: kind of request, for tables.
        forced_absent: the reply begins with ``<absent>`` because of the image, not because of the words.
            At run time the presence score then forces the token, so training should leave this first token out of the
            loss and learn what follows.
        novel: paths of the held-out wordings that were used.
    """

    user: str
    reply: str
    targets: tuple[TargetTruth, ...] = ()
    category: str = ""
    forced_absent: bool = False
    novel: tuple[str, ...] = ()


def target_text(target: TargetTruth) -> str:
    """The canonical noun, ``[SEG]`` and the constraint of a target."""
    noun = CONCEPT_NOUNS[target.concept][0 if target.singular else 1]
    where = f"{WHERE}{render_clauses(target.clauses)}{END_WHERE}" if target.clauses else ""
    return f"{noun} {SEG}{where}"


def _join(pieces: list[str]) -> str:
    return pieces[0] if len(pieces) == 1 else ", ".join(pieces[:-1]) + " and " + pieces[-1]


def outline_reply(targets: list[TargetTruth], yes: bool = False) -> str:
    """Write a segmentation reply, ``Here are the necks [SEG].``; with ``yes`` the answer to "are there any?"."""
    are = "is" if len(targets) == 1 and targets[0].singular else "are"
    start = f"Yes, here {are}" if yes else f"Here {are}"
    return f"{start} {_join([f'the {target_text(t)}' for t in targets])}."


_CHANGE_WORDS = {"change": "change in the ", "rate": "rate of change of the "}
_MOMENT_WORDS = {"at start": " at the start", "at end": " at the end"}


def _measure_words(measure: Measure, plain: bool) -> str:
    if measure.event:
        return f"{measure.event} count" if measure.stat == "count" else f"time of the {measure.stat} {measure.event}"
    return _CHANGE_WORDS.get(measure.when, "") + _image_words(measure, plain)


def _image_words(measure: Measure, plain: bool) -> str:
    if measure.stat == "count":
        return "number"
    if not measure.prop:
        return measure.stat
    prop = _PROPERTY_WORDS.get(measure.prop, measure.prop)
    if plain:
        return prop
    return f"{_STATISTIC_WORDS.get(measure.stat, measure.stat)} {prop}"


def _moment_words(measure: Measure) -> str:
    """Words for the time of a measure, without numbers, which occur in slots only."""
    if not measure.when or measure.when in _CHANGE_WORDS:
        return ""
    return _MOMENT_WORDS.get(measure.when, " at that time")


def value_text(measure: Measure) -> str:
    """Format a value slot."""
    return f"{VALUE}{render_measure(measure)}{END_VALUE}"


def measure_reply(target: TargetTruth, measures: list[Measure]) -> str:
    """Write a reply with numbers: ``The mean diameter of the particles [SEG] is <value>mean diameter</value>.``"""
    plain = target.singular and all(m.stat == "mean" for m in measures)
    first, *others = measures
    article = "" if first.stat == "count" and not target.singular else "the "
    subject = f"The {_measure_words(first, plain)} of {article}{target_text(target)}"
    start = f"{subject} is {value_text(first)}{_moment_words(first)}"
    more = [f"the {_measure_words(m, plain)} {value_text(m)}{_moment_words(m)}" for m in others]
    if not more:
        return f"{start}."
    return ", ".join([start, *more[:-1]]) + f" and {more[-1]}."


def counts_reply(targets: list[TargetTruth]) -> str:
    """Write a reply with the counts of two or more targets."""
    count = value_text(Measure("count"))
    pieces = [f"the number of {target_text(target)} is {count}" for target in targets]
    return "T" + _join(pieces)[1:] + "."


def absent_reply(noun: str, singular: bool = False) -> str:
    """Write the reply for something absent: ``<absent>There are no cats in this micrograph.``"""
    return ABSENT + absence(noun, singular)


def absence(noun: str, singular: bool = False) -> str:
    """Write the sentence that something is absent."""
    return f"There {'is' if singular else 'are'} no {noun} in this micrograph."


def absent_concepts_reply(concepts: list[str]) -> str:
    """Write the reply for absent built-in concepts, in the order of the request."""
    nouns = [CONCEPT_NOUNS[concept][1] for concept in concepts]
    text = nouns[0] if len(nouns) == 1 else ", ".join(nouns[:-1]) + " or " + nouns[-1]
    return absent_reply(text, concepts == ["substrate"])


def chat_reply(path: str) -> str:
    """The reply to a kind of small talk, such as ``"chat/thanks"``.

    Raises:
        ValueError: no such kind.
    """
    node: object = data("chat")
    for key in path.split("/")[1:]:
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict) or "reply" not in node:
        raise ValueError(f"no kind of talk: {path!r}")
    return str(node["reply"])
