"""Evaluate an assistant on validation data: ``lisa-micro evaluate``.

Suites use only the public methods of an assistant (``ask``, ``chat``, ``parse``), so any model can be evaluated.
"""

from lisa_micro.evaluate.context import Assistant, Context
from lisa_micro.evaluate.report import REPORT_FILES, report_files, write_report
from lisa_micro.evaluate.results import Metric, Report, SuiteResult
from lisa_micro.evaluate.runner import EvaluationSettings, evaluate
from lisa_micro.evaluate.suites import ALL, SUITES, Suite, suite_names
from lisa_micro.evaluate.tables import markdown, show, show_summary

__all__ = [
    "ALL",
    "Assistant",
    "Context",
    "EvaluationSettings",
    "Metric",
    "REPORT_FILES",
    "Report",
    "SUITES",
    "Suite",
    "SuiteResult",
    "evaluate",
    "markdown",
    "report_files",
    "show",
    "show_summary",
    "suite_names",
    "write_report",
]
