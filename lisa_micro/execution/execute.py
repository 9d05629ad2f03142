"""Programs executed: a selection for each target, the numbers of value slots, the data of plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lisa_micro.execution.filters import Executor, Impossible
from lisa_micro.execution.quantities import Measurer, Moments
from lisa_micro.execution.results import Result, Selection
from lisa_micro.execution.scene import Measures
from lisa_micro.language.program.syntax import Program
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary


def execute(
    program: Program,
    measures: Measures,
    vocabulary: Vocabulary = FULL_VOCABULARY,
    concepts: Sequence[str] = (),
    moments: Moments | None = None,
) -> Result:
    """Execute a program on measured instances. Never raises for a program that was parsed.

    Args:
        program: from :func:`lisa_micro.language.program.parse_program`.
        measures: supplies the instances of each concept that the program refers to, when it is needed.
        vocabulary: for nouns in notes.
        concepts: what targets without a noun stand for, one a target; particles where it is not given.
        moments: measures of a video, where the scene is one.

    Returns:
        the result. A target whose constraint could not be read or applied selects nothing and says why; so do values
        and plots.
    """
    program = _with_concepts(program, concepts)
    executor = Executor(measures, program.targets, vocabulary)
    selections = []
    for number, target in enumerate(program.targets, 1):
        assert target.concept is not None
        instances = measures.instances_of(target.concept)
        nothing = np.zeros(len(instances), bool)
        if target.problem:
            selections.append(Selection(number, target.concept, nothing, instances, f"the constraint {target.problem}"))
            continue
        try:
            keep = executor.keep(target.concept, target.pipeline)
            selections.append(Selection(number, target.concept, keep, instances))
        except Impossible as error:
            selections.append(Selection(number, target.concept, nothing, instances, str(error)))
    measurer = Measurer(executor, selections, moments)
    values = tuple(measurer.value(slot) for slot in program.values)
    plots = tuple(measurer.plot(slot) for slot in program.plots)
    return Result(
        program,
        tuple(selections),
        values,
        plots,
        tuple(executor.notes),
        measures.pixel_size_nm,
        measures.shape,
    )


def _with_concepts(program: Program, concepts: Sequence[str]) -> Program:
    """The program with a concept for every target."""
    from dataclasses import replace

    from lisa_micro.language.program.syntax import Target

    parts, number = [], 0
    for part in program.parts:
        if isinstance(part, Target):
            given = concepts[number] if number < len(concepts) else "particle"
            part = part if part.concept else replace(part, concept=given)
            number += 1
        parts.append(part)
    return replace(program, parts=tuple(parts))
