"""What executing a program gives: a selection for each target, numbers, data of plots, notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.execution.scene import Instances
from lisa_micro.language.program.syntax import Plot, Program, Value

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Selection:
    """The instances of one target.

    Attributes:
        number: of the target, from 1.
        concept: what they are.
        keep: ``(n,)`` bool, which of all instances of the concept are selected.
        instances: all of them.
        problem: a clause that says why nothing could be selected, ``""`` where the constraint was applied.
        others: number of instances of the concept that ``instances`` leaves out, after a correction by hand.
    """

    number: int
    concept: str
    keep: np.ndarray
    instances: Instances
    problem: str = ""
    others: int = 0

    @property
    def count(self) -> int:
        """How many are selected."""
        return int(self.keep.sum())

    @property
    def found(self) -> int:
        """How many of the concept there are."""
        return len(self.keep) + self.others

    @property
    def everything(self) -> bool:
        """Whether all of the concept are selected."""
        return bool(self.keep.all()) and not self.others

    def table(self) -> pd.DataFrame:
        """The rows of the selected instances."""
        return self.instances.table[self.keep]

    def labels(self) -> np.ndarray:
        """``(H, W)`` int32: the selected instances, numbered 1..n without gaps.

        Raises:
            ValueError: there are no outlines.
        """
        numbers = np.zeros(len(self.keep) + 1, np.int32)
        numbers[1:][self.keep] = np.arange(1, self.count + 1)
        return numbers[self.instances.indexed]


@dataclass(frozen=True)
class Number:
    """A measured number.

    Attributes:
        value: NaN where there is none.
        unit: ``""`` for counts and ratios; ``px``, ``nm``, ``px2``, ``nm2``, ``%``, ``1/um2``, ``1/px2``, ``1/nm`` ...
        why: why there is no value.
        error: standard error, in ``unit``; None where it is not known.
    """

    value: float
    unit: str = ""
    why: str = ""
    error: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return bool(np.isfinite(self.value))


@dataclass(frozen=True)
class Measurement:
    """A value slot that was measured.

    Attributes:
        slot: what was asked for.
        number: the result (of a list the number of its entries).
        first, second: the operands of a ratio or difference.
        entries: of a list: one value an instance, in the unit of ``unit``.
        share: whether the ratio is the share of a set in another one of the same concept.
        unit: the unit of the entries.
    """

    slot: Value
    number: Number
    first: Number | None = None
    second: Number | None = None
    entries: np.ndarray | None = None
    share: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Series:
    """The values of one target in a plot; ``against``: of a scatter plot the horizontal ones."""

    target: int
    name: str
    values: np.ndarray
    against: np.ndarray | None = None


@dataclass(frozen=True)
class PlotData:
    """The numbers of a plot.

    Attributes:
        slot: what was asked for.
        series: one a target.
        unit, against_unit: ``""`` for properties without unit.
        problem: why there is no plot, ``""`` where there is one.
    """

    slot: Plot
    series: tuple[Series, ...] = ()
    unit: str = ""
    against_unit: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Result:
    """An executed program.

    Attributes:
        program: what was executed.
        selections: one a target, in order.
        values: one a value slot, in order.
        plots: one a plot, in order.
        notes: what a user should know, one sentence each.
        pixel_size_nm: of the micrograph, None where unknown.
        shape: ``(H, W)`` px.
    """

    program: Program
    selections: tuple[Selection, ...] = ()
    values: tuple[Measurement, ...] = ()
    plots: tuple[PlotData, ...] = ()
    notes: tuple[str, ...] = ()
    pixel_size_nm: float | None = None
    shape: tuple[int, int] = field(default=(0, 0))
