"""The mean size of a selection that a reply tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_micro.execution.columns import column, scale_of
from lisa_micro.execution.results import Number, Result, Selection
from lisa_micro.execution.uncertainty import standard_error
from lisa_micro.language.clauses import Measure

_SIZES = {
    "neck": ("neck width", "width"),
    "fibre": ("length", "length"),
    "crack": ("length", "length"),
    "layer": ("thickness", "thickness"),
}
_DIAMETER = ("diameter", "diameter")


@dataclass(frozen=True, eq=False)
class MeanSize:
    """The size of the instances of a selection.

    Attributes:
        prop: the property, a key of ``terms.PROPERTIES``.
        word: what replies call it.
        values: ``(n,)`` finite, n at least 1, in the unit of the mean.
        mean: their mean, with its standard error where it is known.
    """

    prop: str
    word: str
    values: np.ndarray
    mean: Number


def mean_size(selection: Selection, result: Result) -> MeanSize | None:
    """The mean size of a selection of a result; ``None`` where nothing was measured."""
    prop, word = _SIZES.get(selection.concept, _DIAMETER)
    values = column(prop, selection.instances, selection.concept)
    if values is None:
        prop, word = _DIAMETER
        values = column(prop, selection.instances, selection.concept)
    values = np.zeros(0) if values is None else values[selection.keep]
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return None
    factor, unit = scale_of(prop, result.pixel_size_nm)
    pipeline = result.program.targets[selection.number - 1].pipeline
    error = standard_error(Measure("mean", prop), selection, pipeline)
    mean = Number(float(values.mean()) * factor, unit, error=None if error is None else error * factor)
    return MeanSize(prop, word, values * factor, mean)
