"""Words against boxes, points and detected boxes; wordings against each other."""

from lisa_micro.compare.prompts import Comparison, compare_prompts, read_boxes
from lisa_micro.compare.report import REPORT_FILES, WORDING_FILES
from lisa_micro.compare.ways import Way, inner_points, jittered
from lisa_micro.compare.wordings import WordingComparison, compare_wordings

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
