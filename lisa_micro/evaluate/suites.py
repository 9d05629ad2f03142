"""The suites by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.describing import scene
from lisa_micro.evaluate.language import language
from lisa_micro.evaluate.micrographs import emps, tem_sintering
from lisa_micro.evaluate.results import SuiteResult
from lisa_micro.evaluate.scenes import declines
from lisa_micro.evaluate.speed import speed
from lisa_micro.evaluate.values import values
from lisa_micro.types import InputError


def concepts(context: Context) -> SuiteResult:
    """:func:`lisa_micro.evaluate.concepts.concepts`, imported when it runs: it brings torch."""
    from lisa_micro.evaluate.concepts import concepts

    return concepts(context)


def exemplars(context: Context) -> SuiteResult:
    """:func:`lisa_micro.evaluate.exemplars.exemplars`, imported when it runs: it brings torch."""
    from lisa_micro.evaluate.exemplars import exemplars

    return exemplars(context)


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
        purpose: one line for a list.
        run: runs it.
        dataset: name of the data set it needs, None where it simulates what it needs.
    """

    purpose: str
    run: Callable[[Context], SuiteResult]
    dataset: str | None = None


SUITES: dict[str, Suite] = {
    # times first: what runs before them in this process takes no part, but would heat and fill the machine
    "speed": Suite("load time, time of answers and peak memory, in fresh processes", speed),
    "tem-sintering": Suite(
        "nanoparticles in bright field, many wordings, beside the labels' own recipe",
        tem_sintering,
        "tem-sintering",
    ),
    "emps": Suite("particles, instances, necks and presence on 60 micrographs of all kinds", emps, "emps"),
    "language": Suite("held-back wordings read into targets, constraints and measures", language),
    "declines": Suite("what is not there is declined, what is there is not", declines),
    "scene": Suite("what the language model says that an image shows", scene, "emps"),
    "concepts": Suite(
        "seventeen concepts and boxes in a crowd, prompted by class embeddings and boxes", concepts, "materials"
    ),
    "exemplars": Suite("all that is like the objects in one box or in six", exemplars, "materials"),
    "values": Suite("numbers in replies against the same measured again", values),
}
ALL = "all"


def suite_names(name: str) -> list[str]:
    """The suites that a name stands for: itself, or all of them.

    Raises:
        InputError: there is no such suite.
    """
    if name == ALL:
        return list(SUITES)
    if name not in SUITES:
        raise InputError(f"There is no suite {name!r}; choose one of {', '.join(SUITES)}, or {ALL}.")
    return [name]
