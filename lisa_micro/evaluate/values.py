"""Suite ``values``: every number of a reply is measured again from the labels of the answer.
 The recomputation shares :mod:`lisa_micro.measure` with the assistant (which has its own tests against the simulator)
and nothing else: instances, statistic, unit and digits are worked out here independently.
"""

from __future__ import annotations

import math
import re

import numpy as np

from lisa_micro.datasets.texts import SceneFacts, Turn, sample_request
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Metric, SuiteResult, share
from lisa_micro.evaluate.scenes import micrograph_of, scenes
from lisa_micro.evaluate.wordings import facts_of
from lisa_micro.execution import Measurement
from lisa_micro.execution.telling import significant
from lisa_micro.language import Measure, parse_measure
from lisa_micro.language.program import parse_program
from lisa_micro.language.words import PROPERTIES
from lisa_micro.measure import column, particle_properties
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import Micrograph, Value

SCENES = 40
REQUESTS_PER_SCENE = 3
_RELATIVE = 1e-6
_NEIGHBOURS = ("gap", "contacts", "neck width", "neck radius", "neck ratio")
"""Properties that depend on other instances: on those that a constraint removed from the labels of the answer, or, of
necks, on the particles that they join.
"""
# a number that stands alone: not the 2 of nm2, not the 10 of D10
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])", re.IGNORECASE)


def values(context: Context) -> SuiteResult:
    """Evaluate requests for numbers on simulated scenes, every other one without a pixel size."""
    n = context.limit or SCENES
    rows: list[dict] = []
    asked = replied = 0
    strays: list[dict] = []
    with context.steps("values", n) as step:
        for number, scene in enumerate(scenes(n)):
            known = number % 2 == 0
            micrograph = micrograph_of(scene, known)
            rng = np.random.default_rng([context.seed, scene.seed])
            for _ in range(REQUESTS_PER_SCENE):
                turn = measure_request(rng, facts_of(scene, known))
                answer = context.ask(micrograph, turn.user)
                asked += 1
                replied += len(answer.values) >= len(parse_program(turn.reply).values)
                common = {"seed": scene.seed, "prompt": turn.user, "reply": answer.text, "raw": answer.raw}
                rows += [{**common, **check_value(value, answer, micrograph)} for value in answer.values]
                strays += [{**common, "number": text} for text in stray_numbers(answer)]
            step()
    again = [row["right"] for row in rows if row["by"] == "labels"]
    figures = (
        Metric(
            "values_right",
            "numbers in replies equal to the measured ones",
            share([row["right"] for row in rows]),
            "Share of the numbers that equal those measured again on the answer's labels, and whose text "
            "is that number rounded to the digits shown.",
            1.0,
            1.0,
            unit="%",
            n=len(rows),
        ),
        Metric(
            "values_from_labels",
            "of these measured again on the labels",
            share(again),
            "Numbers that the answer's labels determine; the others (on neighbours that a constraint left "
            "out, or on the particles that necks join) are compared with the answer's table.",
            1.0,
            1.0,
            unit="%",
            n=len(again),
        ),
        Metric(
            "stray_numbers",
            "numbers in replies that were not measured",
            float(len(strays)),
            "Numbers in the text that belong to no value and to no constraint.",
            0.0,
            0.0,
            lower=True,
            n=asked,
        ),
        Metric(
            "values_given",
            "requests for numbers that got them",
            replied / asked if asked else math.nan,
            "Share of the requests whose reply has at least as many numbers as were asked for.",
            unit="%",
            n=asked,
        ),
    )
    wrong = [row for row in rows if not row["right"]]
    return SuiteResult(
        "values",
        figures,
        {"By measure": _by_measure(rows)} if rows else {},
        {"values-wrong.csv": wrong, "values-stray.csv": strays},
    )


def measure_request(rng: np.random.Generator, facts: SceneFacts) -> Turn:
    """A held-out request for one or more numbers about what a scene shows."""
    turn = sample_request(rng, facts, "held_out", "measure", absent_share=0.0)
    while not turn.targets:  # two counts, neither of which is present
        turn = sample_request(rng, facts, "held_out", "measure", absent_share=0.0)
    return turn


def check_value(value: Value, answer: Answer, micrograph: Micrograph) -> dict:
    """Measure a number again.

    Returns:
        ``measure``, ``shown``, ``value``, ``expected``, ``by`` (``"labels"``, or ``"table"`` if the labels do not
        determine it) and ``right``.
    """
    measure, segment = parse_measure(value.measure.removeprefix("list ")), segment_of(value, answer)
    row = {
        "measure": value.measure,
        "shown": value.text,
        "value": value.value,
        "expected": None,
        "by": "labels",
        "right": False,
    }
    if value.measure.startswith("list "):
        # its value is the number of its entries, which the text lists
        count = 0 if segment is None else segment.count
        return {**row, "expected": float(count), "right": value.value == count}
    if measure is None:
        return row
    if measure.of_video:
        return {**row, "expected": math.nan, "right": math.isnan(value.value) and value.text in answer.text}
    depends = measure.prop in _NEIGHBOURS
    if depends and segment is not None and (segment.where or segment.concept == "neck"):
        number = from_table(measure, segment, micrograph)
        row["by"] = "table"
    else:
        number = expected(measure, segment, micrograph)
    if number is None:
        return row
    # an undefined value has no unit
    in_unit = math.isnan(value.value) or value.unit == unit_of(measure, micrograph)
    good = in_unit and same(value.value, number) and shown_right(value) and value.text in answer.text
    return {**row, "expected": number, "right": good}


def segment_of(value: Value, answer: Answer) -> Segmentation | None:
    """The segmentation that a number refers to; ``None`` if its target is absent.

    ``answer.segments`` omits absent targets. If its segments do not state which target they answer, targets and
    segments are paired in order by concept.
    """
    numbered = {segment.target: segment for segment in answer.segments if segment.target}
    if numbered:
        return numbered.get(value.target)
    targets = parse_program(answer.raw).targets
    if len(targets) <= 1 or len(targets) == len(answer.segments):
        position = value.target - 1 if len(targets) > 1 else 0
        return answer.segments[position] if 0 <= position < len(answer.segments) else None
    left = list(answer.segments)
    for number, target in enumerate(targets, start=1):
        segment = left[0] if left and left[0].concept == (target.concept or left[0].concept) else None
        if number == value.target:
            return segment
        if segment is not None:
            left.pop(0)
    return None


def unit_of(measure: Measure, micrograph: Micrograph) -> str:
    """The unit shown to the user.

    Returns:
        nm if the pixel size is known, otherwise px, with a 2 for areas; ``"%"`` for area fractions; ``"1/um2"`` or
        ``"1/px2"`` for densities; ``""`` for counts and ratios.
    """
    length = "px" if micrograph.pixel_size_nm is None else "nm"
    if not measure.prop:
        density = "1/px2" if micrograph.pixel_size_nm is None else "1/um2"
        return {"area fraction": "%", "number density": density}.get(measure.stat, "")
    return {"length": length, "area": f"{length}2", "none": ""}[PROPERTIES[measure.prop].dimension]


def expected(measure: Measure, segment: Segmentation | None, micrograph: Micrograph) -> float:
    """A measure of the instances of a segmentation, from its labels, in the unit of :func:`unit_of`.

    Returns:
        NaN if it is not defined. Without segmentation there are no instances.
    """
    labels = np.zeros(micrograph.shape, np.int32) if segment is None else segment.labels
    size = micrograph.pixel_size_nm
    n = len(np.unique(labels[labels > 0]))
    if measure.stat == "count":
        return float(n)
    if measure.stat == "area fraction":
        return 100 * float(np.count_nonzero(labels)) / max(labels.size, 1)
    if measure.stat == "number density":
        return n / labels.size if size is None else n / (labels.size * size * size / 1e6)
    prop = PROPERTIES[measure.prop]
    name, part = _whole(prop.key)
    numbers = part * np.asarray(particle_properties(labels, micrograph.pixels)[name], float)
    power = {"length": 1, "area": 2, "none": 0}[prop.dimension]
    return _statistic(measure.stat, numbers) * (1.0 if size is None else size**power)


def from_table(measure: Measure, segment: Segmentation, micrograph: Micrograph) -> float | None:
    """The same from the table of the segmentation; ``None`` if it has no such column."""
    table = segment.table()
    whole, part = _whole(PROPERTIES[measure.prop].key)
    name = column(whole, "px" if micrograph.pixel_size_nm is None else "nm")
    return _statistic(measure.stat, part * np.asarray(table[name], float)) if name in table else None


def _whole(key: str) -> tuple[str, float]:
    """The measured property behind a key, and the factor to apply: radii are half of diameters."""
    return {"radius": ("diameter", 0.5), "neck_radius": ("neck_width", 0.5)}.get(key, (key, 1.0))


def _statistic(stat: str, numbers: np.ndarray) -> float:
    numbers = np.sort(numbers[np.isfinite(numbers)])
    n = len(numbers)
    if n == 0 or (stat == "std" and n == 1):
        return math.nan
    if stat in ("D10", "D90"):
        return float(np.quantile(numbers, float(stat[1:]) / 100))
    results = {
        "mean": numbers.sum() / n,
        "median": (numbers[(n - 1) // 2] + numbers[n // 2]) / 2,
        "min": numbers[0],
        "max": numbers[-1],
        "total": numbers.sum(),
        "std": math.sqrt(((numbers - numbers.sum() / n) ** 2).sum() / max(n - 1, 1)),
    }
    return float(results[stat])


def same(one: float, other: float) -> bool:
    """Whether two numbers are equal up to rounding of the last bits; NaN equals NaN."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=1e-12)


def shown_right(value: Value) -> bool:
    """Whether the text shows the number to the digits it has; for NaN, that it shows no number."""
    found = _NUMBER.search(value.text)
    if math.isnan(value.value):
        return found is None
    if found is None:
        return False
    mantissa, _, exponent = found[0].lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.5 * 10.0 ** (int(exponent or 0) - decimals)
    return abs(float(found[0]) - value.value) <= half * (1 + 1e-6)


def stray_numbers(answer: Answer) -> list[str]:
    """Numbers in the text of an answer that are no value, no count or size of a selection, and no part of a
    constraint."""
    known = [value.text for value in answer.values]
    known += [target.where for target in parse_program(answer.raw).targets]
    known += [segment.where for segment in answer.segments]
    known += [text for segment in answer.segments for text in _sizes(segment)]
    if answer.result is not None:
        known += [f"{selection.count} {selection.found}" for selection in answer.result.selections]
        known += [text for value in answer.result.values for text in _entries(value)]
        known += [text for plot in answer.plots for series in plot.series for text in _percentiles(series.values)]
    allowed = {float(text) for piece in known for text in _NUMBER.findall(piece)}
    # a point "100,200" is two numbers of one constraint, whatever separates them in the text
    return [text for text in _NUMBER.findall(answer.text) if float(text) not in allowed]


def _sizes(segment: Segmentation) -> list[str]:
    """Mean, smallest and largest value of the sizes that a reply tells of a selection."""
    table = segment.table()
    texts = []
    for key in ("diameter", "length", "neck_width"):
        for unit in ("px", "nm"):
            name = column(key, unit)
            values = table[name].to_numpy(float) if name in table else np.zeros(0)
            values = values[np.isfinite(values)]
            if len(values):
                texts += [significant(float(number)) for number in (values.mean(), values.min(), values.max())]
    return texts


def _entries(value: Measurement) -> list[str]:
    """Entries of a list, and the percentage of a share, as a reply tells them."""
    if value.share and value.number.known:
        return [significant(100 * value.number.value)]
    entries = np.zeros(0) if value.entries is None else value.entries
    return [significant(float(entry)) for entry in entries[np.isfinite(entries)]]


def _percentiles(values: np.ndarray) -> list[str]:
    """What a reply tells of a plot: number of values, D10, D50 and D90."""
    ordered = np.sort(values)
    shown = [significant(float(np.quantile(ordered, share))) for share in (0.1, 0.5, 0.9)] if len(ordered) else []
    return [str(len(ordered)), *shown]


def _by_measure(rows: list[dict]) -> list[dict]:
    table = []
    for name in sorted({row["measure"] for row in rows}):
        chosen = [row for row in rows if row["measure"] == name]
        wrong = sum(not row["right"] for row in chosen)
        table.append(
            {"measure": name, "n": len(chosen), "from": "/".join(sorted({r["by"] for r in chosen})), "wrong": wrong}
        )
    return table
