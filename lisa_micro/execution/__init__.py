"""Programs of the reply language executed on measured instances, and the replies told from the results.

NumPy and pandas only; instances are supplied by whoever has them (:class:`Measures`), a micrograph or a video.
"""

from lisa_micro.execution.execute import execute, remeasured
from lisa_micro.execution.quantities import Moments
from lisa_micro.execution.results import Measurement, Number, PlotData, Result, Selection, Series
from lisa_micro.execution.scene import Instances, LabelledScene, Measures
from lisa_micro.execution.sizes import MeanSize, mean_size
from lisa_micro.execution.telling import STANDARD_ERROR, error_note, number_words, tell

__all__ = [
    "STANDARD_ERROR",
    "Instances",
    "LabelledScene",
    "MeanSize",
    "Measurement",
    "Measures",
    "Moments",
    "Number",
    "PlotData",
    "Result",
    "Selection",
    "Series",
    "error_note",
    "execute",
    "mean_size",
    "number_words",
    "remeasured",
    "tell",
]
