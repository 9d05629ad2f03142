"""The plain-English reading of a program: what was understood, in words that the runtime writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lisa_micro.language.clauses import Measure
from lisa_micro.language.program import terms
from lisa_micro.language.program.english import (
    STATISTIC_WORDS,
    WHOLE_WORDS,
    article,
    listed,
    property_word,
)
from lisa_micro.language.program.predicates import Predicate, order_phrase, predicate_of, ranked
from lisa_micro.language.program.syntax import (
    Distance,
    Filter,
    Listing,
    Measured,
    Named,
    Near,
    Operand,
    Pair,
    Pipeline,
    Plot,
    Program,
    Rank,
    SetRef,
    Step,
    Target,
    Value,
)
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary


@dataclass
class NounPhrase:
    """A noun phrase while steps are added to it.

    Attributes:
        singular, plural: the noun.
        predicates: what "that ..." says of several and of one, as long as the phrase is open.
        isolated: whether "isolated" stands before the noun.
        closed: the whole phrase with its article, once a rank, a union or an exclusion has ended it.
        one: whether it can be one instance only.
    """

    singular: str
    plural: str
    predicates: list[tuple[str, str]] = field(default_factory=list)
    isolated: bool = False
    closed: str = ""
    one: bool = False

    def bare(self, one: bool = False) -> str:
        """The open phrase without article."""
        noun = f"{'isolated ' if self.isolated else ''}{self.singular if one else self.plural}"
        said = " and ".join(pair[one] for pair in self.predicates)
        return f"{noun} that {said}" if said else noun

    def definite(self) -> str:
        """The phrase with its article."""
        return self.closed or f"the {self.bare()}"


class Describer:
    """Reads the parts of one program; ordinals are told by what they select.

    Args:
        targets: the targets of the program.
        vocabulary: for nouns.
    """

    def __init__(self, targets: Sequence[Target] = (), vocabulary: Vocabulary = FULL_VOCABULARY):
        self.targets, self.vocabulary = tuple(targets), vocabulary

    # noun phrases

    def phrase(self, concept: str | None, pipeline: Pipeline) -> NounPhrase:
        """The instances that a pipeline keeps."""
        phrase = NounPhrase(*self.vocabulary.nouns(concept))
        phrase.one = not self.vocabulary.has_instances(concept)
        for step in pipeline:
            self._add(phrase, step)
        return phrase

    def target(self, number: int) -> str:
        """Target ``number`` (from 1), with its article."""
        if not 1 <= number <= len(self.targets):
            return f"selection {number}"
        target = self.targets[number - 1]
        return self.phrase(target.concept, target.pipeline).definite()

    def predicate(self, number: int, plural: bool) -> str:
        """What is true of target ``number``, such as ``are isolated and touch a neck``; ``""`` where that takes more
        than a predicate (an order among them), or where nothing is asked of it."""
        target = self.targets[number - 1]
        phrase = self.phrase(target.concept, target.pipeline)
        if phrase.closed:
            return ""
        said = [("are" if plural else "is") + " isolated"] * phrase.isolated
        return " and ".join([*said, *(pair[not plural] for pair in phrase.predicates)])

    def number_of(self, number: int) -> str:
        """``the number of necks``."""
        target = self.targets[number - 1]
        phrase = self.phrase(target.concept, target.pipeline)
        return f"the number of {phrase.closed or phrase.bare()}"

    def member(self, of: SetRef, every: bool = False, same: str | None = None, negated: bool = False) -> str:
        """A member of a set: ``a neck``, ``another particle``, ``the largest particle``, ``one of the two darkest``."""
        if not isinstance(of, Named):
            known = 1 <= of.number <= len(self.targets)
            target = self.targets[of.number - 1] if known else Target(None)
            phrase = self.phrase(target.concept, target.pipeline)
            if not known:
                return f"selection {of.number}"
            of = Named(target.concept or "object", target.pipeline)
        else:
            phrase = self.phrase(of.concept, of.pipeline)
        if phrase.closed:
            if phrase.one:
                return phrase.closed
            return f"{'each' if every else 'any' if negated else 'one'} of {phrase.closed}"
        one = phrase.bare(True)
        if every:
            return f"every {'other ' if of.concept == same and not phrase.predicates else ''}{one}"
        if phrase.one and not phrase.predicates:
            return f"the {one}"
        if of.concept == same and not phrase.predicates:
            return f"any other {one}" if negated else f"another {one}"
        return f"any {one}" if negated else f"{article(one)} {one}"

    def group(self, of: SetRef) -> str:
        """A whole set with its article."""
        return self.phrase(of.concept, of.pipeline).definite() if isinstance(of, Named) else self.target(of.number)

    def counted(self, of: SetRef, number: int) -> str:
        """What follows a number of members: ``necks``, ``of the three largest particles``."""
        if not isinstance(of, Named):
            return f"of {self.target(of.number)}"
        phrase = self.phrase(of.concept, of.pipeline)
        return f"of {phrase.closed}" if phrase.closed else phrase.bare(number == 1)

    def _predicate(self, part: Filter, concept: str | None) -> Predicate:
        return predicate_of(part, self, concept)

    def _add(self, phrase: NounPhrase, step: Step) -> None:
        concept = next((n for n in self.vocabulary.names if self.vocabulary.nouns(n)[1] == phrase.plural), None)
        if any(isinstance(part, Rank | Near | Pair) for part in step.filters):
            self._add_ordered(phrase, step, concept)
            return
        predicates = [self._predicate(part, concept) for part in step.filters]
        if not phrase.closed:
            if len(predicates) == 1 and predicates[0].rest == "isolated" and not step.excluded:
                phrase.isolated = True
                return
            joint = " and " if step.excluded else " or "
            many, one = (joint.join(p.text(number, step.excluded) for p in predicates) for number in (True, False))
            phrase.predicates.append((many, one))
            return
        if phrase.one:
            said = listed([p.text(False, step.excluded) for p in predicates], "and" if step.excluded else "or")
            phrase.closed = f"{phrase.closed}, if it {said},"
            return
        said = " or ".join(p.text(True, False) for p in predicates)
        if step.excluded:
            phrase.closed = f"{phrase.closed}, without those that {said},"
        else:
            phrase.closed = f"those of {phrase.closed} that {said}"

    def _add_ordered(self, phrase: NounPhrase, step: Step, concept: str | None) -> None:
        if step.excluded:
            gone = [self._elliptical(part, concept) for part in step.filters]
            phrase.closed = f"{phrase.definite()} except {listed(gone)}"
            phrase.one = False
            return
        match step.filters:
            case (Near(),) | (Rank(first=1),) if phrase.one and phrase.closed:
                return  # the first of a single one is that one
        kept = []
        for part in step.filters:
            if not isinstance(part, Rank | Near | Pair):
                kept.append(f"those of {phrase.definite()} that {self._predicate(part, concept).text(True, False)}")
                continue
            base = "" if phrase.closed else phrase.bare(ranked(part) == 1)
            others = "" if phrase.closed else " and ".join(many for many, _ in phrase.predicates)
            kept.append(order_phrase(part, self, base, phrase.closed, others))
        phrase.closed = listed(kept)
        phrase.one = len(step.filters) == 1 and ranked(step.filters[0]) == 1
        phrase.predicates = []

    def _elliptical(self, part: Filter, concept: str | None) -> str:
        """What is left out by an exclusion, without its noun."""
        if isinstance(part, Rank | Near | Pair):
            return order_phrase(part, self, "one" if ranked(part) == 1 else "", "")
        return f"those that {self._predicate(part, concept).text(True, False)}"

    # slots

    def operand(self, operand: Operand, short: bool = False) -> str:
        """What an operand measures; ``short`` leaves out of what."""
        if isinstance(operand, Distance):
            return f"the distance between {self.target(operand.one)} and {self.target(operand.other)}"
        if isinstance(operand, Listing):
            words = f"the {property_word(operand.prop)}"
            return words if short else f"{words} of each of {self.target(operand.of)}"
        assert isinstance(operand, Measured)
        words = f"the {measure_words(operand.measure)}"
        if words == "the number" and not short:
            return self.number_of(operand.of)
        return words if short else f"{words} of {self.target(operand.of)}"

    def value(self, value: Value) -> str:
        """What a value slot measures."""
        if value.first is None:
            return "a value that was not understood"
        if value.second is None:
            return self.operand(value.first)
        if value.op == "-":
            return f"the difference between {self.operand(value.first)} and {self.operand(value.second)}"
        if isinstance(value.first, Measured) and isinstance(value.second, Measured):
            part, whole = self.targets[value.first.of - 1], self.targets[value.second.of - 1]
            counts = value.first.measure == value.second.measure == Measure("count")
            said = self.predicate(value.first.of, True)
            if counts and said and part.concept == whole.concept and not whole.pipeline:
                return f"the percentage of {self.vocabulary.nouns(whole.concept)[1]} that {said}"
        return f"the ratio of {self.operand(value.first)} to {self.operand(value.second)}"

    def plot(self, plot: Plot) -> str:
        """What a plot shows."""
        if not plot.kind:
            return "a plot that was not understood"
        of = listed([self.target(number) for number in plot.of])
        if plot.kind == "scatter":
            return f"a plot of {property_word(plot.prop)} against {property_word(plot.against)} of {of}"
        name = "a histogram" if plot.kind == "histogram" else "the cumulative distribution"
        return f"{name} of the {property_word(plot.prop)} of {of}"


def measure_words(measure: Measure) -> str:
    """A measure in words without article: ``mean diameter``, ``number``, ``time of the first coalescence``."""
    if measure.event:
        return f"{measure.event} count" if measure.stat == "count" else f"time of the {measure.stat} {measure.event}"
    if measure.prop:
        words = f"{STATISTIC_WORDS[measure.stat]} {property_word(measure.prop)}"
    else:
        words = WHOLE_WORDS.get(measure.stat, measure.stat)
    if measure.when in ("change", "rate"):
        return f"{'change' if measure.when == 'change' else 'rate of change'} in the {words}"
    if measure.when:
        return f"{words} {measure.when.replace('at start', 'at the start').replace('at end', 'at the end')}"
    return words


def describe(program: Program, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """What a program asks for, as a noun phrase: ``the three largest particles that do not touch any neck``.

    Targets that values or plots refer to are told with those. ``""`` for a reply of words only.
    """
    describer = Describer(program.targets, vocabulary)
    used = {number for value in program.values for number in _numbers(value)}
    used |= {number for plot in program.plots for number in plot.of}
    pieces = []
    for number, target in enumerate(program.targets, 1):
        if target.problem:
            pieces.append(f"something whose constraint {target.problem}")
        elif number not in used:
            pieces.append(describer.target(number))
    pieces += [describer.value(value) for value in program.values]
    pieces += [describer.plot(plot) for plot in program.plots]
    for refusal in program.refusals:
        if refusal.kind == "unknown":
            pieces.append(f"something that was never learnt ({refusal.subject or 'without a name'})")
        elif refusal.kind == "cannot":
            pieces.append(f"something that cannot be asked ({terms.CANNOT_TOPICS[refusal.subject]})")
    return tidy(listed(pieces))


def tidy(text: str) -> str:
    """A phrase without a comma at its end or two in a row."""
    return text.replace(",,", ",").rstrip(",")


def _numbers(value: Value) -> set[int]:
    numbers: set[int] = set()
    for operand in (value.first, value.second):
        if isinstance(operand, Distance):
            numbers |= {operand.one, operand.other}
        elif operand is not None:
            numbers.add(operand.of)
    return numbers
