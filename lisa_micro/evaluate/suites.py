"""The evaluation suites by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lisa_micro.evaluate.composed import programs
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.describing import scene
from lisa_micro.evaluate.language import language
from lisa_micro.evaluate.meanings import read_meanings, wordings
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
        read_file: reads the file of requests that the suite needs, of a kind of its own; ``None`` if it needs none.
            Such a suite is not part of ``all``.
    """

    purpose: str
    run: Callable[[Context], SuiteResult]
    dataset: str | None = None
    read_file: Callable[[Path], object] | None = None


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
    "wordings": Suite("many wordings of one meaning give the same mask", wordings, read_file=read_meanings),
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
    """The suites that a name stands for: itself, or all that need no file of their own.

    Raises:
        InputError: unknown suite.
    """
    if name == ALL:
        return [each for each, suite in SUITES.items() if suite.read_file is None]
    if name not in SUITES:
        raise InputError(f"There is no suite {name!r}; choose one of {', '.join(SUITES)}, or {ALL}.")
    return [name]
