"""Value slots and plots measured on selections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lisa_micro.execution.columns import column, scale_of, statistic
from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.execution.results import Measurement, Number, PlotData, Selection, Series
from lisa_micro.execution.uncertainty import standard_error
from lisa_micro.language.clauses import Measure
from lisa_micro.language.program import terms
from lisa_micro.language.program.syntax import Distance, Listing, Measured, Operand, Plot, Value

ONE_IMAGE = "it needs a video"
_ADDITIVE = ("count", "total", "area fraction")
"""Measures of which a part has a share in the whole."""


class Moments(Protocol):
    """Measures of a video: at moments, changes, rates, events."""

    def measure(self, measure: Measure, selection: Selection) -> Number:
        """The number of a measure that only a video has."""
        ...


class Measurer:
    """Measures the slots of one program.

    Args:
        executor: of the same program.
        selections: one a target.
        moments: where the scene is a video.
    """

    def __init__(self, executor: Executor, selections: Sequence[Selection], moments: Moments | None = None):
        self.executor, self.selections, self.moments = executor, tuple(selections), moments
        self.size = executor.measures.pixel_size_nm

    def value(self, slot: Value) -> Measurement:
        """A value slot."""
        if slot.first is None:
            return Measurement(slot, Number(np.nan, why="it was not understood"))
        if isinstance(slot.first, Listing):
            return self._listing(slot, slot.first)
        first = self.operand(slot.first)
        if slot.second is None:
            return Measurement(slot, first)
        second = self.operand(slot.second)
        share = slot.op == "/" and self._is_share(slot.first, slot.second)
        return Measurement(slot, combined(first, slot.op, second), first, second, share=share)

    def operand(self, operand: Operand) -> Number:
        """A measure of a target, or the distance between two."""
        if isinstance(operand, Distance):
            return self._distance(operand)
        selection = self.selections[operand.of - 1]
        if selection.problem:
            return Number(np.nan, why=selection.problem)
        assert isinstance(operand, Measured)
        measure = operand.measure
        if measure.of_video:
            if self.moments is None:
                return Number(np.nan, why=ONE_IMAGE)
            return self.moments.measure(measure, selection)
        return self._measure(measure, selection)

    def _measure(self, measure: Measure, selection: Selection) -> Number:
        n = selection.count
        height, width = self.executor.measures.shape
        if measure.stat == "count":
            return Number(float(n), error=self._error(measure, selection, 1.0))
        if measure.stat == "area fraction":
            if not height * width:
                return Number(np.nan, "%", "the image has no pixels")
            return Number(100 * float(selection.table()["area"].sum()) / (height * width), "%")
        if measure.stat == "number density":
            if not height * width:
                return Number(np.nan, why="the image has no pixels")
            if self.size is None:
                return Number(n / (height * width), "1/px2")
            return Number(n / (height * width * self.size**2 * 1e-6), "1/um2")
        if measure.stat in terms.WHOLE_DIMENSIONS:
            return self._whole(measure.stat, selection)
        values = column(measure.prop, selection.instances, selection.concept)
        if values is None:
            return Number(np.nan, why=f"the {measure.prop} was not measured")
        values = values[selection.keep]
        values = values[np.isfinite(values)]
        number = statistic(measure.stat, values) if len(values) else np.nan
        factor, unit = self.scale(measure.prop)
        why = "" if np.isfinite(number) else "nothing was found" if n == 0 else "too few to tell"
        return Number(number * factor, unit, why, self._error(measure, selection, factor))

    def _error(self, measure: Measure, selection: Selection, factor: float) -> float | None:
        """Standard error in the unit of the number; ``factor`` turns px into it."""
        error = standard_error(measure, selection, self.executor.targets[selection.number - 1].pipeline)
        return None if error is None else error * factor

    def _whole(self, name: str, selection: Selection) -> Number:
        """A measure of all instances together; of a part of them there is none."""
        known = selection.instances.whole.get(name)
        if known is None or not np.isfinite(known):
            return Number(np.nan, why=f"the {name} was not measured")
        if not selection.everything:
            return Number(np.nan, why=f"the {name} is one of all instances together")
        if terms.WHOLE_DIMENSIONS[name] == "length":
            return Number(known * (self.size or 1.0), "px" if self.size is None else "nm")
        return Number(known / (self.size or 1.0), "1/px" if self.size is None else "1/nm")

    def scale(self, prop: str) -> tuple[float, str]:
        """What turns px (px2) into the unit in which a property is told, and that unit."""
        return scale_of(prop, self.size)

    def _distance(self, operand: Distance) -> Number:
        one, other = self.selections[operand.one - 1], self.selections[operand.other - 1]
        for selection in (one, other):
            if selection.problem:
                return Number(np.nan, why=selection.problem)
            if not selection.count:
                return Number(np.nan, why="nothing was found")
            if len(selection.keep) != len(self.executor.instances(selection.concept)):
                return Number(np.nan, why="the selection was corrected by hand")
        try:
            pairs = self.executor.pairs(one.concept, other.concept)
        except Impossible as error:
            return Number(np.nan, why=str(error))
        gap = float(pairs.nearest(one.keep, other.keep).min())
        factor, unit = self.scale("gap")
        return Number(
            gap * factor if np.isfinite(gap) else np.nan, unit, "" if np.isfinite(gap) else "they are the same"
        )

    def _listing(self, slot: Value, listing: Listing) -> Measurement:
        selection = self.selections[listing.of - 1]
        if selection.problem:
            return Measurement(slot, Number(np.nan, why=selection.problem))
        values = column(listing.prop, selection.instances, selection.concept)
        if values is None:
            return Measurement(slot, Number(np.nan, why=f"the {listing.prop} was not measured"))
        factor, unit = self.scale(listing.prop)
        entries = values[selection.keep] * factor
        return Measurement(slot, Number(float(len(entries))), entries=entries, unit=unit)

    def _is_share(self, first: Operand, second: Operand) -> bool:
        """Whether a ratio tells which part of a set another one is: the same additive measure of one concept, all of
        the part within the whole."""
        if not (isinstance(first, Measured) and isinstance(second, Measured)) or first.measure != second.measure:
            return False
        part, whole = self.selections[first.of - 1], self.selections[second.of - 1]
        if first.measure.stat not in _ADDITIVE or part.concept != whole.concept:
            return False
        if part.instances is not whole.instances:
            return False
        return not bool((part.keep & ~whole.keep).any())

    def plot(self, slot: Plot) -> PlotData:
        """The numbers of a plot. Instances whose properties are not finite are left out."""
        if not slot.kind:
            return PlotData(slot, problem="it was not understood")
        series = []
        for number in slot.of:
            selection = self.selections[number - 1]
            if selection.problem:
                return PlotData(slot, problem=selection.problem)
            columns = []
            for prop in (slot.prop, slot.against) if slot.against else (slot.prop,):
                values = column(prop, selection.instances, selection.concept)
                if values is None:
                    return PlotData(slot, problem=f"the {prop} was not measured")
                columns.append(values[selection.keep] * self.scale(prop)[0])
            known = np.all(np.isfinite(columns), axis=0)
            name = self.executor.describer.target(number)
            against = columns[1][known] if slot.against else None
            series.append(Series(number, name, columns[0][known], against))
        against_unit = self.scale(slot.against)[1] if slot.against else ""
        return PlotData(slot, tuple(series), self.scale(slot.prop)[1], against_unit)


def combined(first: Number, op: str, second: Number) -> Number:
    """The ratio or the difference of two numbers."""
    for number in (first, second):
        if not number.known:
            return Number(np.nan, why=number.why)
    if op == "-":
        if first.unit != second.unit:
            return Number(np.nan, why="the two are measured in different units")
        return Number(first.value - second.value, first.unit)
    if second.value == 0:
        return Number(np.nan, why="the second is zero")
    unit = "" if first.unit == second.unit else f"{first.unit or '1'}/({second.unit or '1'})"
    return Number(first.value / second.value, unit)
