"""Numbers carry their standard error where the model's error is known, and replies stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_execution import labels_of

from lisa_micro.execution import STANDARD_ERROR, LabelledScene, error_note, execute, remeasured, tell
from lisa_micro.language.program import parse_program
from lisa_micro.measure.uncertainty import CountError, ErrorCurve, MeasuringError

NM = 2.0
SIDES = np.array([4, 4, 6, 9])


def constant(bias: float, between: float, within: float) -> ErrorCurve:
    return ErrorCurve(np.array([2.0, 20.0]), *(np.full(2, value) for value in (bias, between, within)))


KNOWN = {
    "particle": MeasuringError(
        "diameter",
        {"diameter": constant(0.0, 0.1, 0.2), "area": constant(0.0, 0.2, 0.4)},
        CountError(np.array([2.0, 20.0]), np.array([0.1, 0.1]), np.zeros(2)),
    ),
    "neck": MeasuringError("neck_width", {"neck_width": constant(0.0, 0.1, 0.0)}),
}


class Scene(LabelledScene):
    """Four squares and two necks, outlined by a model whose error is known, or not."""

    def __init__(self, known: bool = True, scale: float = 1.0):
        squares = [(2 + 14 * k, 2, 2 + 14 * k + side, 2 + side) for k, side in enumerate(SIDES)]
        necks = labels_of((0, 20, 4, 23), (10, 20, 16, 23))
        widths = {"neck_width": np.array([4.0, 6.0]), "neck_ratio": np.array([0.2, 0.3])}
        super().__init__({"particle": labels_of(*squares), "neck": necks}, NM, columns={"neck": widths})
        self.known, self.scale = known, scale

    def instances_of(self, concept):
        error = KNOWN.get(concept) if self.known else None
        return replace(super().instances_of(concept), error=error and error.scaled(self.scale))


def result(reply: str, **scene):
    return execute(parse_program(reply), Scene(**scene))


def error(reply: str, **scene) -> float | None:
    (value,) = result(reply, **scene).values
    return value.number.error


DIAMETERS = NM * np.sqrt(4 * SIDES**2 / np.pi)


def test_mean_has_the_models_error_and_the_scatter():
    expected = np.hypot(0.1 * DIAMETERS.mean(), DIAMETERS.std(ddof=1) / 2)
    assert error("particles [SEG]<value>mean diameter</value>") == pytest.approx(expected)
    assert error("particles [SEG]<value>mean radius</value>") == pytest.approx(expected / 2)


def test_particular_instances_are_no_sample():
    largest = np.sort(DIAMETERS)[-2:]
    expected = np.hypot(0.1 * largest.mean(), np.sqrt(np.sum((0.2 * largest) ** 2)) / 2)
    assert error("particles [SEG]<where>largest 2</where><value>mean diameter</value>") == pytest.approx(expected)
    one = "particles [SEG]<where>largest 1</where><value>{}</value>"
    for measure in ("mean diameter", "max diameter", "median diameter"):
        assert error(one.format(measure)) == pytest.approx(np.hypot(0.1, 0.2) * DIAMETERS.max())
    assert error(one.format("mean area")) == pytest.approx(np.hypot(0.2, 0.4) * 81 * NM**2)
    others = "particles [SEG]<where>except largest 2</where><value>mean diameter</value>"
    assert error(others) == pytest.approx(np.hypot(0.1, 0.2 / np.sqrt(2)) * DIAMETERS.min())


def test_a_number_of_all_instances_has_one():
    assert error("particles [SEG]<value>count</value>") == pytest.approx(0.4)
    assert error("particles [SEG]<where>diameter > 1 nm</where><value>count</value>") is None
    assert error("necks [SEG]<value>count</value>") is None


@pytest.mark.parametrize(
    "reply",
    [
        "particles [SEG]<value>median diameter</value>",
        "particles [SEG]<value>max diameter</value>",
        "particles [SEG]<value>std diameter</value>",
        "particles [SEG]<value>mean circularity</value>",
        "particles [SEG]<value>area fraction</value>",
        "particles [SEG]<value>list diameter</value>",
        "necks [SEG]<value>mean neck ratio</value>",
        "necks [SEG]<value>mean area</value>",
        "particles [SEG] necks [SEG]<value>mean diameter of 1 / mean neck width of 2</value>",
        "pores [SEG]<value>mean diameter</value>",
        "particles [SEG]<where>diameter > 1 um</where><value>mean diameter</value>",
    ],
)
def test_others_have_none(reply):
    assert error(reply) is None


def test_sizes_outside_the_calibration_have_none():
    assert error("particles [SEG]<value>mean diameter</value>", scale=0.2) is None
    assert error("particles [SEG]<value>mean diameter</value>", scale=0.9) is not None


def test_a_model_without_calibration_has_none():
    plain = result("particles [SEG]<value>mean diameter</value><value>count</value>", known=False)
    assert [value.number.error for value in plain.values] == [None, None] and error_note(plain) == ""


def test_replies_stay_and_a_note_tells():
    for reply in ("particles [SEG] necks [SEG]", "particles [SEG]<value>mean diameter</value>"):
        assert tell(result(reply)) == tell(result(reply, known=False))
    assert error_note(result("particles [SEG] necks [SEG]")) == (
        f"{STANDARD_ERROR}3 nm for the mean diameter of the particles, 2.2 nm for the mean width of the necks."
    )
    single = error_note(result("necks [SEG]<where>largest 1</where>"))
    assert single == f"{STANDARD_ERROR}1.2 nm for the width of the largest neck."
    asked = error_note(result("particles [SEG]<value>mean diameter</value>"))
    assert asked == f"{STANDARD_ERROR}3 nm for the mean diameter of the particles."


def test_what_was_corrected_by_hand_has_none():
    before = result("particles [SEG] necks [SEG]<value>mean diameter of 1</value><value>mean neck width of 2</value>")
    after = remeasured(before, 1, replace(before.selections[0].instances, error=None))
    assert after.values[0].number.error is None and after.values[1].number.error == before.values[1].number.error
