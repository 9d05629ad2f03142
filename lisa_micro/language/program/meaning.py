"""When two programs mean the same: units, order of commuting steps, and different words for one thing do not count."""

from __future__ import annotations

from lisa_micro.language import words
from lisa_micro.language.program import terms
from lisa_micro.language.program.syntax import (
    Amount,
    Between,
    Compare,
    Distance,
    Filter,
    Flag,
    Listing,
    Measured,
    Named,
    Near,
    Operand,
    Ordinal,
    Pair,
    Part,
    Pipeline,
    Plot,
    Program,
    Rank,
    Refusal,
    Relation,
    Relative,
    SetRef,
    SetStatistic,
    Step,
    Target,
    Value,
)

_DOUBLES = {"radius": "diameter", "neck radius": "neck width"}
_SORTS_AS = {"radius": "area", "diameter": "area", "neck radius": "neck width"}
"""Properties that put instances in the same order."""
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_DECIMALS = 6


def orders(part: Filter) -> bool:
    """Whether what a filter keeps depends on what is left when it is applied; such filters do not commute."""
    return isinstance(part, Rank | Near | Pair) or (isinstance(part, Compare) and isinstance(part.limit, Relative))


def normal_pipeline(pipeline: Pipeline, concept: str | None) -> tuple:
    """A form that is equal for pipelines over ``concept`` that mean the same."""
    out: list = []
    run: set = set()
    for step in pipeline:
        for piece in _normal_step(step, concept):
            if piece[0] == "ordered":
                out += [frozenset(run), piece]
                run = set()
            else:
                run.add(piece)
    return tuple(piece for piece in (*out, frozenset(run)) if piece)


def _normal_step(step: Step, concept: str | None) -> list:
    """One or more pieces that all must hold; ``("ordered", ...)`` where their place matters."""
    ordered = any(orders(part) for part in step.filters)
    if not ordered and len(step.filters) == 1:
        pieces = [_normal_filter(part, concept) for part in _split(step.filters[0])]
        if not step.excluded:
            return pieces
        if len(pieces) == 1:
            return [_negated(pieces[0])]
    union = frozenset(_union_member(part, concept) for part in step.filters)
    if step.excluded and not ordered and all(isinstance(member, tuple) for member in union):
        return [_negated(member) for member in union]  # all but "a or b" is neither a nor b
    whole = ("except" if step.excluded else "union", union)
    return [("ordered", whole)] if ordered else [whole]


def _union_member(part: Filter, concept: str | None):
    pieces = [_normal_filter(piece, concept) for piece in _split(part)]
    return pieces[0] if len(pieces) == 1 else frozenset(pieces)


def _split(part: Filter) -> list[Filter]:
    """A range is two comparisons."""
    if isinstance(part, Between):
        low, high = Amount(part.low, part.unit), Amount(part.high, part.unit)
        return [Compare(part.prop, ">=", low), Compare(part.prop, "<=", high)]
    return [part]


def _negated(piece: tuple) -> tuple:
    """The opposite of a normal form."""
    match piece:
        case ("flag", name, negated):
            return _normal_flag(name, not negated)
        case ("compare", prop, op, limit) if prop == "contacts" and isinstance(limit, float) and op in _OPPOSITE:
            return _whole_contacts(_OPPOSITE[op], limit)
        case ("not", inner):
            return inner
    return ("not", piece)


def _normal_flag(name: str, negated: bool) -> tuple:
    if name in ("isolated", "in contact"):
        touches = (name == "in contact") != negated
        return ("flag", "in contact" if touches else "isolated", False)
    return ("flag", name, negated)


def _normal_filter(part: Filter, concept: str | None) -> tuple:
    match part:
        case Flag(name, negated):
            return _normal_flag(name, negated)
        case Compare(prop, op, limit):
            return _normal_compare(prop, op, limit, concept)
        case Rank(by, first, last, percent):
            return ("rank", *_normal_order(by, concept), first, last, percent)
        case Near(n, to, farthest):
            return ("near", n, farthest, to if isinstance(to, str | tuple) else normal_set(to))
        case Relation(kind, of, distance, op, number):
            count = (op, number) if op else (">=", 1)
            if count[0] == ">":
                count = (">=", number + 1)
            elif count[0] == "<":
                count = ("<=", number - 1)
            if count in (("<=", 0), ("=", 0)):
                positive = Relation(kind, of, distance)
                return ("not", _normal_filter(positive, concept))
            return ("relation", kind, normal_set(of), _in_nm("length", distance) if distance else None, count)
    return ("filter", part)


def _normal_order(by: str, concept: str | None) -> tuple:
    if by in terms.RANK_WORDS:
        prop, descending = terms.RANK_WORDS[by]
        if concept == "neck" and prop == "area":
            prop = "neck width"
    else:
        end, _, prop = by.partition(" ")
        descending = end == terms.HIGHEST
        prop = _SORTS_AS.get(prop, prop)
    return prop, descending


def _normal_compare(prop: str, op: str, limit, concept: str | None) -> tuple:
    if isinstance(limit, Amount):
        if prop == "contacts":
            return _whole_contacts(op, limit.value)
        amount = _in_nm(terms.PROPERTIES[prop].dimension, limit)
        if prop in _DOUBLES:
            prop, amount = _DOUBLES[prop], (round(2 * amount[0], _DECIMALS), amount[1])
        return ("compare", prop, op, amount)
    factor = round(limit.factor, _DECIMALS)
    if isinstance(limit, SetStatistic):
        return ("compare", _DOUBLES.get(prop, prop), op, (limit.statistic, factor, normal_set(limit.of)))
    return ("compare", _DOUBLES.get(prop, prop), op, (limit.statistic, factor, round(limit.spread, _DECIMALS)))


def _whole_contacts(op: str, value) -> tuple:
    """Contacts are whole numbers: more than 2 is at least 3, and some or none have flags."""
    if isinstance(value, float) and value.is_integer():
        if op == ">":
            op, value = ">=", value + 1
        elif op == "<":
            op, value = "<=", value - 1
        if (op, value) == (">=", 1):
            return _normal_flag("in contact", False)
        if (op, value) in (("<=", 0), ("=", 0)):
            return _normal_flag("isolated", False)
    return ("compare", "contacts", op, value)


def _in_nm(dimension: str, amount: Amount) -> tuple[float, str]:
    factor = words.NM_PER_UNIT.get(amount.unit)
    if factor is None:
        return round(amount.value, _DECIMALS), amount.unit
    return round(amount.value * factor, _DECIMALS), "nm2" if dimension == "area" else "nm"


def normal_set(of: SetRef) -> tuple:
    """A form that is equal for sets that mean the same."""
    if isinstance(of, Ordinal):
        return ("target", of.number)
    assert isinstance(of, Named)
    return ("set", of.concept, normal_pipeline(of.pipeline, of.concept))


def _normal_operand(operand: Operand | None) -> tuple:
    match operand:
        case Measured(measure, of):
            return ("measure", measure, of)
        case Listing(prop, of):
            return ("list", prop, of)
        case Distance(one, other):
            return ("distance", frozenset((one, other)))
    return ()


def _normal_part(part: Part) -> tuple:
    match part:
        case Target(concept, pipeline, problem):
            return ("target", concept, bool(problem), normal_pipeline(pipeline, concept))
        case Value(first, op, second):
            return ("value", op, _normal_operand(first), _normal_operand(second))
        case Plot(kind, prop, against, of):
            return ("plot", kind, prop, against, tuple(sorted(of)))
        case Refusal("unknown"):
            return ("unknown",)  # the name is repeated, not looked up
        case Refusal(kind):
            return (kind,)
    raise TypeError(f"not a part with a meaning: {part!r}")


def normal_program(program: Program) -> tuple:
    """A form that is equal for programs that ask the runtime for the same."""
    kinds = (program.targets, program.values, program.plots, program.refusals)
    return tuple(tuple(map(_normal_part, parts)) for parts in kinds)


def same_program(one: Program, other: Program) -> bool:
    """Whether two programs mean the same: targets, values, plots and refusals in order.

    Words do not count, nor units (all in nm), the order of filters that commute, ``except`` for an opposite, ranges
    written as two comparisons, or the topic of a refusal.
    """
    return normal_program(one) == normal_program(other)
