"""Words against boxes, points and detected boxes; wordings against each other."""

from lisa_micro.evaluate.comparison.prompts import Comparison, compare_prompts, read_boxes
from lisa_micro.evaluate.comparison.report import REPORT_FILES, WORDING_FILES
from lisa_micro.evaluate.comparison.ways import Way, inner_points, jittered
from lisa_micro.evaluate.comparison.wordings import WordingComparison, compare_wordings

__all__ = [
    "REPORT_FILES",
    "WORDING_FILES",
    "Comparison",
    "Way",
    "WordingComparison",
    "compare_prompts",
    "compare_wordings",
    "inner_points",
    "jittered",
    "read_boxes",
]
