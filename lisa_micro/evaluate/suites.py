"""The evaluation suites by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lisa_micro.evaluate.composed import programs
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.describing import scene
from lisa_micro.evaluate.language import language
from lisa_micro.evaluate.pairs import pairs
from lisa_micro.evaluate.results import SuiteResult
from lisa_micro.evaluate.scenes import declines
from lisa_micro.evaluate.speed import speed
from lisa_micro.evaluate.values import values
from lisa_micro.evaluate.vision.concepts import concepts
from lisa_micro.evaluate.vision.exemplars import exemplars
from lisa_micro.evaluate.vision.micrographs import emps, tem_sintering
from lisa_micro.types import InputError


@dataclass(frozen=True)
class Suite:
    """An evaluation suite.

    Attributes:
        purpose: one line for a list.
        run: runs the suite.
        dataset: name of the data set it needs; ``None`` if it uses simulated data.
    """

    purpose: str
    run: Callable[[Context], SuiteResult]
    dataset: str | None = None


SUITES: dict[str, Suite] = {
    # times are measured first, while the machine is cool and its memory free
    "speed": Suite("load time, time of answers and peak memory, in fresh processes", speed),
    "tem-sintering": Suite(
        "nanoparticles in bright field, many wordings, compared with the procedure that made the labels",
        tem_sintering,
        "tem-sintering",
    ),
    "emps": Suite("particles, instances, necks and presence on 60 micrographs of all kinds", emps, "emps"),
    "language": Suite("held-out requests parsed into targets, constraints and measures", language),
    "programs": Suite("held-out composed requests, executed on simulated scenes", programs),
    "pairs": Suite("the same words about two kinds of pictures, which decide what they mean", pairs),
    "declines": Suite("requests for absent things are declined, others are not", declines),
    "scene": Suite("descriptions of images by the language model", scene, "emps"),
    "concepts": Suite(
        "seventeen concepts by class embeddings, boxes in a crowd, particles on annotation", concepts, "materials"
    ),
    "exemplars": Suite("all that looks like the objects in one box, or in six", exemplars, "materials"),
    "values": Suite("numbers in replies compared with the same measured again", values),
}
ALL = "all"


def suite_names(name: str) -> list[str]:
    """The suites that a name stands for: itself, or all of them.

    Raises:
        InputError: unknown suite.
    """
    if name == ALL:
        return list(SUITES)
    if name not in SUITES:
        raise InputError(f"There is no suite {name!r}; choose one of {', '.join(SUITES)}, or {ALL}.")
    return [name]
