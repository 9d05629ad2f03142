"""Compare ways of prompting (words, boxes, points, detected boxes), and wordings of one request."""

from lisa_micro.evaluate.comparison.boxes import read_boxes
from lisa_micro.evaluate.comparison.prompts import Comparison, ComparisonOptions, compare_prompts
from lisa_micro.evaluate.comparison.report import REPORT_FILES, WORDING_FILES
from lisa_micro.evaluate.comparison.ways import Way, inner_points, jittered
from lisa_micro.evaluate.comparison.wordings import WordingComparison, compare_wordings

__all__ = [
    "REPORT_FILES",
    "WORDING_FILES",
    "Comparison",
    "ComparisonOptions",
    "Way",
    "WordingComparison",
    "compare_prompts",
    "compare_wordings",
    "inner_points",
    "jittered",
    "read_boxes",
]
