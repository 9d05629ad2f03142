"""Standard errors of what was measured, where the model's own error is known.

The definitions are in :mod:`lisa_micro.measure.uncertainty`. Known are the error of the mean of a property, of the
property of a single instance, and of the number of all instances of a concept.
"""

from __future__ import annotations

import numpy as np

from lisa_micro.execution.columns import HALVES, column
from lisa_micro.execution.results import Selection
from lisa_micro.language.clauses import Measure
from lisa_micro.language.program import terms
from lisa_micro.language.program.syntax import Near, Pair, Pipeline, Rank

_STATISTICS_OF_ONE = ("mean", "median", "min", "max", "total", "D10", "D90")
"""Statistics that are the value itself of a single instance."""


def standard_error(measure: Measure, selection: Selection, pipeline: Pipeline) -> float | None:
    """Standard error of a measure of a selection.

    Args:
        measure: what is measured.
        selection: the instances.
        pipeline: what selected them.

    Returns:
        px, px2 or without unit, as the measured columns; ``None`` where it is not known.
    """
    known = selection.instances.error
    if known is None or measure.of_video:
        return None
    if measure.stat == "count":
        if known.count is None or pipeline or not selection.everything:
            return None
        return known.count.standard_error(_sizes(selection))
    if measure.stat != "mean" and not (selection.count == 1 and measure.stat in _STATISTICS_OF_ONE):
        return None
    curve = known.properties.get(terms.PROPERTIES[HALVES.get(measure.prop, measure.prop)].key)
    values = column(measure.prop, selection.instances, selection.concept)
    if curve is None or values is None:
        return None
    values, sizes = values[selection.keep], _sizes(selection)
    finite = np.isfinite(values) & np.isfinite(sizes)
    return curve.standard_error(values[finite], sizes[finite], sample=not is_particular(pipeline))


def is_particular(pipeline: Pipeline) -> bool:
    """Whether a pipeline picks particular instances, such as the largest ones, which are no sample of others alike."""
    picked = (part for step in pipeline if not step.excluded for part in step.filters)
    return any(isinstance(part, Rank | Pair | Near) for part in picked)


def _sizes(selection: Selection) -> np.ndarray:
    """``(n,)`` sizes by which errors are looked up, in px of the calibration."""
    error = selection.instances.error
    assert error is not None
    return selection.table()[error.size].to_numpy(float) * error.scale
