"""The syntax tree of version 2: filters, steps, sets, targets, value slots, plots, programs.

All are frozen and comparable; what they mean is in :mod:`lisa_micro.execution`, how they are written in
:mod:`lisa_micro.language.program.writing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lisa_micro.language.clauses import Between, Flag, Measure, Region

__all__ = [
    "Amount",
    "Between",
    "Box",
    "Compare",
    "Distance",
    "Filter",
    "Flag",
    "Limit",
    "Listing",
    "Measure",
    "Measured",
    "Named",
    "Near",
    "Operand",
    "Ordinal",
    "Pair",
    "Part",
    "Pipeline",
    "Plot",
    "Program",
    "Rank",
    "Refusal",
    "Region",
    "Relation",
    "Relative",
    "SetRef",
    "SetStatistic",
    "Step",
    "Target",
    "Value",
    "Words",
]


@dataclass(frozen=True)
class Named:
    """A set of this micrograph: all instances of a concept that a pipeline keeps."""

    concept: str
    pipeline: Pipeline = ()


@dataclass(frozen=True)
class Ordinal:
    """The instances of an earlier target of the same reply, counted from 1."""

    number: int


@dataclass(frozen=True)
class Amount:
    """A number with its unit, ``""`` where none was given or none exists."""

    value: float
    unit: str = ""


@dataclass(frozen=True)
class Relative:
    """``factor * statistic + spread * standard deviation`` of the instances that are left so far."""

    statistic: str
    factor: float = 1.0
    spread: float = 0.0


@dataclass(frozen=True)
class SetStatistic:
    """``factor * statistic`` of the same property over another set."""

    of: SetRef
    statistic: str
    factor: float = 1.0


@dataclass(frozen=True)
class Rank:
    """The ``first``-th to the ``last``-th in an order.

    Attributes:
        by: a key of ``terms.RANK_WORDS``, or ``"highest"`` or ``"lowest"`` and a property.
        first, last: counted from 1; with ``percent`` the first ``last`` per cent.
    """

    by: str
    first: int = 1
    last: int = 1
    percent: bool = False


@dataclass(frozen=True)
class Compare:
    """``property op limit``."""

    prop: str
    op: str
    limit: Limit


@dataclass(frozen=True)
class Box:
    """Centroid in a box, px, XYXY."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Near:
    """The ``n`` nearest to (or ``farthest`` from) a place of ``terms.PLACES``, a point ``(x, y)`` px, or a set."""

    n: int
    to: str | tuple[float, float] | SetRef
    farthest: bool = False


@dataclass(frozen=True)
class Pair:
    """The two instances with the smallest gap between them; ``separate``: of those that are not in contact."""

    separate: bool = False


@dataclass(frozen=True)
class Relation:
    """A relation of ``terms.RELATIONS`` to another set.

    Attributes:
        kind: which.
        of: the other set.
        distance: of ``within``: the largest gap.
        op, number: of a contact relation: how many members it must hold with; ``""``: at least one.
    """

    kind: str
    of: SetRef
    distance: Amount | None = None
    op: str = ""
    number: int = 0


@dataclass(frozen=True)
class Step:
    """A union of filters; ``excluded``: all but what they keep."""

    filters: tuple[Filter, ...]
    excluded: bool = False


Filter = Rank | Compare | Between | Flag | Region | Box | Near | Pair | Relation
Limit = Amount | Relative | SetStatistic
SetRef = Named | Ordinal
Pipeline = tuple[Step, ...]


@dataclass(frozen=True)
class Words:
    """Plain words."""

    text: str


@dataclass(frozen=True)
class Target:
    """One ``[SEG]``.

    Attributes:
        concept: a name of the vocabulary, None where the words before it name none.
        pipeline: its steps in order.
        problem: why the constraint could not be read, ``""`` where it could; a target with a problem selects nothing.
        where: the constraint as written.
        phrase: the words since the last target, slot or full stop, which refer to it.
    """

    concept: str | None
    pipeline: Pipeline = ()
    problem: str = ""
    where: str = field(default="", compare=False)
    phrase: str = field(default="", compare=False)


@dataclass(frozen=True)
class Measured:
    """A measure of target ``of``, counted from 1."""

    measure: Measure
    of: int


@dataclass(frozen=True)
class Listing:
    """A property of every instance of target ``of``."""

    prop: str
    of: int


@dataclass(frozen=True)
class Distance:
    """The smallest gap between two targets, edge to edge."""

    one: int
    other: int


Operand = Measured | Listing | Distance


@dataclass(frozen=True)
class Value:
    """A place for a measured number, or for two put together.

    Attributes:
        first: what to measure, None where it could not be read.
        op: ``"/"`` (ratio, or share), ``"-"`` (difference) or ``""``.
        second: the other operand.
        raw: the slot as written.
    """

    first: Operand | None
    op: str = ""
    second: Operand | None = None
    raw: str = field(default="", compare=False)


@dataclass(frozen=True)
class Plot:
    """A plot of a property over targets.

    Attributes:
        kind: of ``terms.PLOT_KINDS``, ``""`` where it could not be read.
        prop: the property; of a scatter plot the vertical one.
        against: of a scatter plot the horizontal property.
        of: the targets, counted from 1.
        raw: the slot as written.
    """

    kind: str
    prop: str = ""
    against: str = ""
    of: tuple[int, ...] = ()
    raw: str = field(default="", compare=False)


@dataclass(frozen=True)
class Refusal:
    """``unknown``: a thing that the model has never learnt, by its name; ``cannot``: a topic of
    ``terms.CANNOT_TOPICS``; ``absent``: something is not in this micrograph."""

    kind: str
    subject: str = ""


Part = Words | Target | Value | Plot | Refusal


@dataclass(frozen=True)
class Program:
    """A parsed reply: its parts in order, and one note for each piece that could not be read."""

    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets in order; ordinal k is entry k - 1."""
        return tuple(part for part in self.parts if isinstance(part, Target))

    @property
    def values(self) -> tuple[Value, ...]:
        """The value slots in order."""
        return tuple(part for part in self.parts if isinstance(part, Value))

    @property
    def plots(self) -> tuple[Plot, ...]:
        """The plots in order."""
        return tuple(part for part in self.parts if isinstance(part, Plot))

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What was refused, in order."""
        return tuple(part for part in self.parts if isinstance(part, Refusal))

    @property
    def absent(self) -> bool:
        """Whether the reply says that something is not in this micrograph."""
        return any(part.kind == "absent" for part in self.refusals)
