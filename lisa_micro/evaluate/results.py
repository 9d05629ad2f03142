"""Results of an evaluation: metrics with their definitions and limits, tables and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        key: short name for JSON, unique within a suite.
        name: what it is, for tables.
        value: in ``unit``; fractions are 0..1 whatever the unit; NaN if there was nothing to evaluate.
        definition: how it is computed, one sentence.
        must, aim: limits set by the project, or ``None``.
        lower: whether lower is better.
        unit: ``""``, ``"%"`` (a fraction 0..1, shown in per cent), ``"s"`` or ``"GB"`` (1e9 bytes).
        n: number of cases.
    """

    key: str
    name: str
    value: float
    definition: str
    must: float | None = None
    aim: float | None = None
    lower: bool = False
    unit: str = ""
    n: int | None = None

    def reaches(self, limit: float | None) -> bool | None:
        """Whether the value reaches a limit; ``None`` without limit or value."""
        if limit is None or math.isnan(self.value):
            return None
        # a mean of ones may be 0.9999999999999999
        return self.value <= limit + 1e-9 if self.lower else self.value >= limit - 1e-9

    @property
    def verdict(self) -> str:
        """``"aim"``, ``"pass"`` (only the must is reached), ``"FAIL"``, or ``""`` without limit or value."""
        passed = self.reaches(self.must)
        if passed is None:
            return ""
        if not passed:
            return "FAIL"
        return "aim" if self.reaches(self.aim) else "pass"

    def show(self, value: float | None) -> str:
        """A value or limit as text with its unit; ``""`` for ``None``, ``"-"`` for NaN."""
        if value is None:
            return ""
        if math.isnan(value):
            return "-"
        if self.unit == "%":
            return f"{100 * value:.4g} %"
        return f"{value:.3g} {self.unit}" if self.unit else f"{value:.4f}".rstrip("0").rstrip(".")

    def limit(self, value: float | None) -> str:
        """A limit with its direction, such as ``">= 0.93"``."""
        return "" if value is None else f"{'<=' if self.lower else '>='} {self.show(value)}"

    def record(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {
            "key": self.key,
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "must": self.must,
            "aim": self.aim,
            "better": "lower" if self.lower else "higher",
            "verdict": self.verdict,
            "n": self.n,
            "definition": self.definition,
        }


@dataclass(frozen=True)
class SuiteResult:
    """Result of one suite.

    Attributes:
        suite: name of the suite.
        figures: the metrics.
        tables: title -> rows, shown below the metrics; all rows of a table have the same keys.
        details: file name ending in ``.csv`` -> rows, written beside the report and not shown.
        notes: notices, one sentence each.
        seconds: duration.
        pictures: file name ending in ``.png`` -> ``(H, W, 3)`` uint8, written beside the report.
    """

    suite: str
    figures: tuple[Metric, ...]
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    details: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Metric:
        """The metric with a given key.

        Raises:
            KeyError: no such metric.
        """
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise KeyError(key)

    def record(self) -> dict[str, Any]:
        """All fields except the details, for JSON."""
        return {
            "suite": self.suite,
            "seconds": round(self.seconds, 1),
            "figures": [figure.record() for figure in self.figures],
            "tables": {title: [dict(row) for row in rows] for title, rows in self.tables.items()},
            "details": sorted(self.details),
            "pictures": sorted(self.pictures),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Report:
    """Results of several suites on one model.

    Attributes:
        results: in the order in which they were run.
        provenance: what is needed to repeat it: version, commit, preset, sha256 of the weights, seed, limit, hardware,
            date.
    """

    results: tuple[SuiteResult, ...]
    provenance: Mapping[str, Any]

    @property
    def failed(self) -> tuple[Metric, ...]:
        """The metrics that miss their must."""
        return tuple(f for result in self.results for f in result.figures if f.verdict == "FAIL")

    def record(self) -> dict[str, Any]:
        """All fields except the details, for JSON."""
        return {
            "provenance": dict(self.provenance),
            "failed": [f.key for f in self.failed],
            "suites": [result.record() for result in self.results],
        }


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; NaN without values, without a warning."""
    return float(sum(values) / len(values)) if len(values) else math.nan


def share(hits: Sequence[bool]) -> float:
    """Fraction of the cases that are true, 0..1; NaN without cases."""
    return mean([float(hit) for hit in hits])
