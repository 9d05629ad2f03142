"""Judging an assistant on validation data: ``lisa-micro evaluate``.

Everything goes through the public interface of an assistant (``ask``, ``chat``, ``parse``), so that any model
can be judged.
"""

from lisa_micro.evaluate.context import Assistant, Context
from lisa_micro.evaluate.results import Figure, Report, SuiteResult
from lisa_micro.evaluate.runner import REPORT_FILES, evaluate, report_files, write_report
from lisa_micro.evaluate.suites import ALL, SUITES, Suite, suite_names
from lisa_micro.evaluate.tables import markdown, show, show_summary

__all__ = [
    "ALL",
    "Assistant",
    "Context",
    "Figure",
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
