"""Statistics of a run as tables: ``statistics.csv``, ``comparisons.csv`` and ``outliers.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lisa_micro.batch.analysis import GroupSizes, Topic
from lisa_micro.batch.collect import write_csv
from lisa_micro.io.files import write_files
from lisa_micro.measure.statistics import BASES, Estimate

STATISTICS_TABLES = ("statistics.csv", "comparisons.csv", "outliers.csv")
STATISTICS_COLUMNS = (
    "request", "concept", "group", "quantity", "unit", "basis", "statistic", "value", "low", "high", "images",
    "particles",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "request", "concept", "first", "second", "ratio", "ratio_low", "ratio_high", "cliffs_delta", "ks_distance", "ks_p",
    "mann_whitney_p", "ks_p_holm", "mann_whitney_p_holm",
)  # fmt: skip
OUTLIER_COLUMNS = ("request", "concept", "image", "page", "group", "measure", "value", "typical")


def write_statistics(folder: Path, topics: Sequence[Topic]) -> list[Path]:
    """Write the tables; they exist even where they have no rows.

    Raises:
        InputError: the folder cannot be written.
    """
    return write_files(
        folder,
        {
            "statistics.csv": lambda path: write_csv(path, STATISTICS_COLUMNS, statistics_rows(topics)),
            "comparisons.csv": lambda path: write_csv(path, COMPARISON_COLUMNS, comparison_rows(topics)),
            "outliers.csv": lambda path: write_csv(path, OUTLIER_COLUMNS, outlier_rows(topics)),
        },
    )


def statistics_rows(topics: Sequence[Topic]) -> Iterator[dict[str, Any]]:
    """Rows of ``statistics.csv``: one for each statistic of each group."""
    for topic in topics:
        for group in topic.groups:
            common = {
                "request": topic.request,
                "concept": topic.concept,
                "group": group.name,
                "quantity": topic.quantity,
                "images": group.sample.n_images,
                "particles": len(group.sample),
            }
            for row in _of_group(group, topic.unit):
                yield common | row


def _of_group(group: GroupSizes, unit: str) -> Iterator[dict[str, Any]]:
    statistics = group.statistics
    density_unit = "per_um2" if unit == "nm" else "per_Mpx"
    yield {"statistic": "found", "value": group.found}
    yield {"statistic": "cut by frame", "value": group.cut}
    yield {"statistic": "number density", "unit": density_unit, "value": group.number_density}
    if statistics is None:
        return
    for basis in BASES:
        for percentile, value in statistics.percentiles[basis].items():
            yield {"basis": basis, "statistic": f"D{percentile}", "unit": unit, **_limits(value)}
        yield {"basis": basis, "statistic": "mean", "unit": unit, **_limits(statistics.means[basis])}
    number = {"basis": "number"}
    yield number | {"statistic": "std", "unit": unit, **_limits(statistics.std)}
    yield number | {"statistic": "mean without edge correction", "unit": unit, "value": group.plain_mean}
    parameters = statistics.parameters
    yield number | {"statistic": "lognormal median", "unit": unit, **_limits(parameters["median"])}
    yield number | {"statistic": "lognormal gsd", **_limits(parameters["gsd"])}
    yield number | {"statistic": "lognormal distance", "value": statistics.lognormal.distance}
    yield number | {"statistic": "Weibull scale", "unit": unit, **_limits(parameters["scale"])}
    yield number | {"statistic": "Weibull shape", **_limits(parameters["shape"])}
    yield number | {"statistic": "Weibull distance", "value": statistics.weibull.distance}
    yield number | {"statistic": "particles for D50 within 5 %", "value": group.enough_particles}
    yield number | {"statistic": "images for D50 within 5 %", "value": group.enough_images}


def _limits(value: Estimate) -> dict[str, float]:
    return {name: number for name, number in asdict(value).items() if number == number}


def comparison_rows(topics: Sequence[Topic]) -> Iterator[dict[str, Any]]:
    """Rows of ``comparisons.csv``: one for each pair of groups."""
    for topic in topics:
        for one in topic.comparisons:
            row = {name: value for name, value in vars(one).items() if name != "ratio" and value == value}
            ratio = _limits(one.ratio)
            limits = {f"ratio_{name}": ratio[name] for name in ("low", "high") if name in ratio}
            yield {"request": topic.request, "concept": topic.concept, **row, "ratio": one.ratio.value, **limits}


def outlier_rows(topics: Sequence[Topic]) -> Iterator[dict[str, Any]]:
    """Rows of ``outliers.csv``: one for each image and measure that stands out."""
    for topic in topics:
        for one in topic.outliers:
            yield {"request": topic.request, "concept": topic.concept, **vars(one)}
