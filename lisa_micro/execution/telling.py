"""Replies in English: sentences that the runtime writes from a result, every number in them measured."""

from __future__ import annotations

import numpy as np

from lisa_micro.execution.results import Measurement, Number, PlotData, Result, Selection
from lisa_micro.execution.sizes import mean_size
from lisa_micro.execution.topics import INSTEAD
from lisa_micro.language.program import terms
from lisa_micro.language.program.describe import Describer, measure_words, tidy
from lisa_micro.language.program.english import listed, property_word, sentence, unit_word
from lisa_micro.language.program.syntax import Distance, Listing, Measured, Refusal, Words
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary

IN_PIXELS = "The pixel size is unknown, so lengths and areas are in px."
NOTHING_ASKED = "I found nothing to do in that request; ask for something to segment, measure or plot."
TEACH = (
    "Draw a box around one and I find those alike (lisa-micro segment --like), or teach me the concept "
    "(docs: fine-tuning)."
)
MAX_LISTED = 30
"""Entries of a list that a reply tells; the table has them all."""
STANDARD_ERROR = "Standard error, with the model's own error as found on simulated micrographs: "
"""Beginning of the note with the standard errors of the numbers of a reply."""
_DENSITIES = {"1/um2": "per µm²", "1/px2": "per px²", "1/px": "per px", "1/nm": "per nm"}


def significant(value: float, digits: int = 3) -> str:
    """The number with ``digits`` significant digits and all digits before the point: ``12.4``, ``1240``, ``0.031``;
    with an exponent below 0.001."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def number_words(number: Number) -> str:
    """A number with its unit: ``5.9 nm``, ``31 %``, ``0.4 per µm²``."""
    unit = _DENSITIES.get(number.unit, unit_word(number.unit))
    return f"{significant(number.value)} {unit}".rstrip()


def error_words(error: float, unit: str, name: str) -> str:
    """A standard error, to two digits as is usual (GUM, JCGM 100:2008, 7.2.6), with what it belongs to."""
    return f"{significant(error, 2)} {unit_word(unit)}".rstrip() + f" for {tidy(name)}"


def error_note(result: Result, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """One sentence with the standard errors of the numbers that :func:`tell` tells; ``""`` where none is known.

    They are told apart from the numbers, since "5.9 ± 0.3 nm" of a mean size is commonly read as mean and standard
    deviation of the sizes.
    """
    errors = _Teller(result, vocabulary).errors()
    return f"{STANDARD_ERROR}{', '.join(errors)}." if errors else ""


def tell(result: Result, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """The reply to a request.

    Args:
        result: of :func:`lisa_micro.execution.execute`.
        vocabulary: the concepts that the model knows.

    Returns:
        one or more sentences. Every selection is told with its count and size, unless values or plots of it were asked
        for; whatever could not be read, found or measured is said.
    """
    return _Teller(result, vocabulary).tell()


class _Teller:
    def __init__(self, result: Result, vocabulary: Vocabulary):
        self.result, self.vocabulary = result, vocabulary
        self.describer = Describer(tuple(result.program.targets), vocabulary)
        self.in_pixels = False

    def tell(self) -> str:
        program = self.result.program
        if not (program.targets or program.values or program.plots):
            spoken = " ".join("".join(p.text for p in program.parts if isinstance(p, Words)).split())
            refused = [self.refusal(r) for r in program.refusals if r.kind != "absent"]
            return " ".join(filter(None, [spoken, *refused])) or NOTHING_ASKED
        asked = self.asked()
        sentences = [self.selection(s) for s in self.result.selections if s.number not in asked]
        problems = {s.problem for s in self.result.selections if s.problem and s.number in asked}
        sentences += [f"I could not select that: {problem}" for problem in sorted(problems)]
        if not problems:
            sentences += self.values()
            sentences += [self.plot(data) for data in self.result.plots]
        sentences += [self.refusal(refusal) for refusal in program.refusals if refusal.kind != "absent"]
        if self.in_pixels and self.result.pixel_size_nm is None:
            sentences.append(IN_PIXELS)
        return " ".join(sentence(tidy(text)) for text in dict.fromkeys(sentences) if text)

    def asked(self) -> set[int]:
        """The targets of which values or plots are asked, and those that only others refer to."""
        numbers: set[int] = set()
        for value in self.result.program.values:
            for operand in (value.first, value.second):
                if isinstance(operand, Distance):
                    numbers |= {operand.one, operand.other}
                elif operand is not None:
                    numbers.add(operand.of)
        return numbers | {number for plot in self.result.program.plots for number in plot.of}

    # selections

    def selection(self, selection: Selection) -> str:
        """A selection with its count and size."""
        target = self.result.program.targets[selection.number - 1]
        one, many = self.vocabulary.nouns(selection.concept)
        if selection.problem:
            return f"I could not select the {many}: {selection.problem}"
        if selection.found == 0:
            return self.none_of(selection)
        if not self.vocabulary.has_instances(selection.concept):
            return self.region(selection)
        sizes = self.sizes(selection)
        if not target.pipeline:
            return f"{selection.count} {one if selection.count == 1 else many}{sizes}"
        phrase = self.describer.target(selection.number)
        if selection.count == 0:
            said = self.describer.predicate(selection.number, False)
            if selection.found == 1 and said:
                return f"The only {one} found does not match: {tidy(phrase)}"
            none = f"None of the {selection.found} {many if selection.found > 1 else one} found"
            return f"{none} {said}" if said else f"{none} matches: {tidy(phrase)}"
        return f"{tidy(phrase)}: {selection.count} of {selection.found}{sizes}"

    def none_of(self, selection: Selection) -> str:
        """That a concept is not in the micrograph."""
        one, many = self.vocabulary.nouns(selection.concept)
        return f"There {'is' if one == many else 'are'} no {many} in this micrograph"

    def region(self, selection: Selection) -> str:
        """A concept that has no pieces to count, by the share of the image that it covers."""
        one, many = self.vocabulary.nouns(selection.concept)
        height, width = self.result.shape
        share = 100 * float(selection.table()["area"].sum()) / max(height * width, 1)
        return f"The {many} {'covers' if one == many else 'cover'} {significant(share)} % of the image"

    def sizes(self, selection: Selection) -> str:
        """``, mean width 5.9 nm (4.6 to 8.1)``; ``""`` where there is nothing to measure."""
        size = mean_size(selection, self.result)
        if size is None:
            return ""
        self.in_pixels = True
        mean = f"{size.word} {number_words(size.mean)}"
        if len(size.values) == 1:
            return f", {mean}"
        span = f"({significant(float(size.values.min()))} to {significant(float(size.values.max()))})"
        return f", mean {mean} {span}"

    def errors(self) -> list[str]:
        """``0.3 nm for the mean width of the necks``, for each number of the reply whose standard error is known."""
        asked, out = self.asked(), []
        for selection in self.result.selections:
            size = None if selection.number in asked else mean_size(selection, self.result)
            if size is not None and size.mean.error is not None:
                word = size.word if len(size.values) == 1 else f"mean {size.word}"
                name = f"the {word} of {self.describer.target(selection.number)}"
                out.append(error_words(size.mean.error, size.mean.unit, name))
        for value in self.result.values:
            error, slot = value.number.error, value.slot
            if error is not None and slot.first is not None:
                out.append(error_words(error, value.number.unit, self.describer.operand(slot.first)))
        return out

    # values

    def values(self) -> list[str]:
        """One sentence a slot, but several measures of one target together."""
        out: list[str] = []
        group: list[Measurement] = []
        for value in (*self.result.values, None):
            if value is not None and self.simple(value) and (not group or self.of(group[0]) == self.of(value)):
                group.append(value)
                continue
            if group:
                out.append(self.measured(group))
                group = []
            if value is not None:
                if self.simple(value):
                    group = [value]
                else:
                    out.append(self.composed(value))
        return out

    @staticmethod
    def simple(value: Measurement) -> bool:
        """Whether it is one measure of one target."""
        return isinstance(value.slot.first, Measured) and value.slot.second is None

    @staticmethod
    def of(value: Measurement) -> int:
        """The target of a simple value."""
        assert isinstance(value.slot.first, Measured)
        return value.slot.first.of

    def measured(self, group: list[Measurement]) -> str:
        """Measures of one target: ``The mean diameter of the necks is 5 nm and the median diameter 4.8 nm``."""
        number = self.of(group[0])
        selection = self.result.selections[number - 1]
        if selection.found == 0:
            return self.none_of(selection)
        of = self.describer.target(number)
        pieces = []
        for k, value in enumerate(group):
            assert isinstance(value.slot.first, Measured)
            measure = value.slot.first.measure
            if measure.stat == "count" and not measure.when and not measure.event:
                pieces.append((f"{self.count(selection)}", True))
                continue
            words = f"the {measure_words(measure)}"
            told = self.told(value.number)
            pieces.append((f"{words}{f' of {of}' if k == 0 else ''} is {told}", False))
        texts = [text for text, _ in pieces]
        return listed(texts)

    def count(self, selection: Selection) -> str:
        """``There are 12 particles that touch a neck``."""
        one, many = self.vocabulary.nouns(selection.concept)
        target = self.result.program.targets[selection.number - 1]
        n = selection.count
        if not target.pipeline:
            return f"there {'is' if n == 1 else 'are'} {n} {one if n == 1 else many}"
        found = f"{n} of the {selection.found} {many}" if selection.found > 1 else f"{n} of 1 {one}"
        said = self.describer.predicate(selection.number, n != 1)
        return f"{found} found {said}" if said else f"{self.describer.target(selection.number)}: {found} found"

    def told(self, number: Number) -> str:
        """A number, or why there is none."""
        if not number.known:
            return f"unknown ({number.why or 'it could not be measured'})"
        self.in_pixels = self.in_pixels or "px" in number.unit
        return number_words(number)

    def composed(self, value: Measurement) -> str:
        """A ratio, a difference, a list or a distance."""
        slot = value.slot
        if slot.first is None:
            return (
                f"I did not understand what to measure ('{slot.raw}')"
                if slot.raw
                else "I did not understand what to measure"
            )
        if isinstance(slot.first, Listing):
            return self.listing(value, slot.first)
        if slot.second is None:
            words = self.describer.operand(slot.first)
            return f"{words} is {self.told(value.number)}"
        first, second = value.first or Number(np.nan), value.second or Number(np.nan)
        names = self.describer.operand(slot.first), self.describer.operand(slot.second)
        if not value.number.known:
            return f"{self.describer.value(slot)} is {self.told(value.number)}"
        if value.share:
            return self.share(value, first, second)
        both = f"{names[0]} is {self.told(first)} and {names[1]} is {self.told(second)}"
        if slot.op == "-":
            size = Number(abs(value.number.value), value.number.unit)
            more = "no difference" if size.value == 0 else f"a difference of {self.told(size)}"
            side = (
                ""
                if size.value == 0
                else " (the first is larger)"
                if value.number.value > 0
                else " (the first is smaller)"
            )
            return f"{both}: {more}{side}"
        return f"{both}: a ratio of {self.told(value.number)}"

    def share(self, value: Measurement, first: Number, second: Number) -> str:
        """``12 of 40 particles (30 %) are ...``."""
        assert isinstance(value.slot.first, Measured) and isinstance(value.slot.second, Measured)
        part = self.result.selections[value.slot.first.of - 1]
        whole = self.describer.target(value.slot.second.of)
        percent = f"{significant(100 * value.number.value)} %"
        if value.slot.first.measure.stat == "count":
            of = f"{part.count} of {significant(second.value)} ({percent}) of {whole}"
            if not self.result.program.targets[value.slot.second.of - 1].pipeline:
                noun = self.vocabulary.nouns(part.concept)[second.value != 1]
                of = f"{part.count} of {significant(second.value)} {noun} ({percent})"
            said = self.describer.predicate(part.number, part.count != 1)
            return f"{of} {said}" if said else f"{of}: {self.describer.target(part.number)}"
        words = measure_words(value.slot.first.measure)
        of = self.describer.target(part.number)
        return f"the {words} of {of} is {percent} of that of {whole} ({self.told(first)} of {self.told(second)})"

    def listing(self, value: Measurement, listing: Listing) -> str:
        """A property of every instance, the first :data:`MAX_LISTED` of them."""
        of = self.describer.target(listing.of)
        head = f"the {property_word(listing.prop)} of {of}"
        if value.entries is None:
            return f"{head} is {self.told(value.number)}"
        if len(value.entries) == 0:
            return f"{head}: nothing was found"
        if value.unit:
            self.in_pixels = self.in_pixels or "px" in value.unit
        told = [significant(float(v)) if np.isfinite(v) else "unknown" for v in value.entries[:MAX_LISTED]]
        more = len(value.entries) - len(told)
        rest = f" and {more} more in the table" if more else ""
        return f"{head}: {', '.join(told)}{rest} {unit_word(value.unit)}".rstrip()

    # plots and refusals

    def plot(self, data: PlotData) -> str:
        """A plot with its numbers."""
        words = self.describer.plot(data.slot)
        if data.problem:
            return f"I could not draw {words}: {data.problem}"
        self.in_pixels = self.in_pixels or "px" in data.unit or "px" in data.against_unit
        pieces = []
        for series in data.series:
            n = len(series.values)
            name = f"{series.name}: " if len(data.series) > 1 else ""
            if n == 0:
                pieces.append(f"{name}nothing to plot")
            elif data.slot.kind == "scatter":
                pieces.append(f"{name}{n} point{'s' * (n != 1)}")
            else:
                d10, d50, d90 = (significant(float(v)) for v in np.percentile(series.values, [10, 50, 90]))
                pieces.append(f"{name}n = {n}, D10 {d10}, D50 {d50}, D90 {d90} {unit_word(data.unit)}".rstrip())
        return f"Here is {words} ({'; '.join(pieces)})"

    def refusal(self, refusal: Refusal) -> str:
        """What is unknown, or cannot be asked, with a way out."""
        if refusal.kind == "unknown":
            return f"I have not learnt to see {refusal.subject or 'that'}. {TEACH}"
        return INSTEAD[refusal.subject if refusal.subject in terms.CANNOT_TOPICS else "other"]
