"""The one canonical text of each part of a program, which the grammar for decoding accepts."""

from __future__ import annotations

from lisa_micro.language.clauses import number_text, render_measure
from lisa_micro.language.program.syntax import (
    Amount,
    Between,
    Box,
    Compare,
    Distance,
    Filter,
    Flag,
    Limit,
    Listing,
    Measured,
    Named,
    Near,
    Operand,
    Pair,
    Pipeline,
    Plot,
    Rank,
    Region,
    Relation,
    Relative,
    SetRef,
    Step,
    Value,
)
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary


def render_pipeline(pipeline: Pipeline, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """The steps of a ``<where>``, ``; `` between them."""
    return "; ".join(render_step(step, vocabulary) for step in pipeline)


def render_step(step: Step, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """One step."""
    union = " | ".join(render_filter(part, vocabulary) for part in step.filters)
    return f"except {union}" if step.excluded else union


def render_set(of: SetRef, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """A set in its braces."""
    if not isinstance(of, Named):
        return f"{{{of.number}}}"
    inside = render_pipeline(of.pipeline, vocabulary)
    return f"{{{vocabulary.nouns(of.concept)[0]}{' ' if inside else ''}{inside}}}"


def render_filter(part: Filter, vocabulary: Vocabulary = FULL_VOCABULARY) -> str:
    """One filter.

    Raises:
        TypeError: it is none.
    """
    match part:
        case Rank(by, first, last, percent):
            amount = f"{last} %" if percent else str(last) if first == 1 else f"{first}-{last}"
            return f"{by} {amount}"
        case Compare(prop, op, limit):
            return f"{prop} {op} {_limit(limit, vocabulary)}"
        case Between(prop, low, high, unit):
            return f"{prop} between {number_text(low)} and {number_text(high)} {unit}".rstrip()
        case Flag(name, negated):
            return f"not {name}" if negated else name
        case Region(name):
            return f"in {name}"
        case Box(x0, y0, x1, y1):
            return f"in box {','.join(map(number_text, (x0, y0, x1, y1)))}"
        case Near(n, to, farthest):
            place = to if isinstance(to, str) else None
            if place is None:
                point = isinstance(to, tuple)
                place = ",".join(map(number_text, to)) if point else render_set(to, vocabulary)
            return f"{'farthest' if farthest else 'nearest'} {n} to {place}"
        case Pair(separate):
            return "closest separate pair" if separate else "closest pair"
        case Relation(kind, of, distance, op, number):
            start = f"within {_amount(distance)} of" if kind == "within" and distance else kind
            count = f"{op} {number} " if op else ""
            return f"{start} {count}{render_set(of, vocabulary)}"
    raise TypeError(f"not a filter: {part!r}")


def _amount(amount: Amount) -> str:
    return f"{number_text(amount.value)} {amount.unit}".rstrip()


def _limit(limit: Limit, vocabulary: Vocabulary) -> str:
    if isinstance(limit, Amount):
        return _amount(limit)
    factor = "" if limit.factor == 1 else f"{number_text(limit.factor)} "
    if isinstance(limit, Relative):
        text = factor + limit.statistic
        if limit.spread:
            text += f" {'-' if limit.spread < 0 else '+'} {number_text(abs(limit.spread))} std"
        return text
    return f"{factor}{render_set(limit.of, vocabulary)}.{limit.statistic}"


def render_operand(operand: Operand, last: int = 0) -> str:
    """One operand of a value slot; the target is left out where it is number ``last``."""
    if isinstance(operand, Distance):
        return f"distance from {operand.one} to {operand.other}"
    of = "" if operand.of == last else f" of {operand.of}"
    if isinstance(operand, Listing):
        return f"list {operand.prop}{of}"
    assert isinstance(operand, Measured)
    return render_measure(operand.measure) + of


def render_value(value: Value, last: int) -> str:
    """What stands in a value slot; ``last`` is the number of the target before it. ``""`` where it is unreadable."""
    if value.first is None:
        return ""
    if value.second is None:
        return render_operand(value.first, last)
    return f"{render_operand(value.first)} {value.op} {render_operand(value.second)}"


def render_plot(plot: Plot, last: int) -> str:
    """What stands in a plot slot; ``last`` is the number of the target before it. ``""`` where it is unreadable."""
    if not plot.kind:
        return ""
    what = f"{plot.prop} against {plot.against}" if plot.kind == "scatter" else plot.prop
    of = "" if plot.of == (last,) else " of " + " and ".join(map(str, plot.of))
    return f"{plot.kind} {what}{of}"
