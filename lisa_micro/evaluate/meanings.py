"""Suite ``wordings``: whether different wordings of one meaning give the same mask on one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from lisa_micro.evaluate.composed import measures_of
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.language import read_entries
from lisa_micro.evaluate.programs import judge, refuses
from lisa_micro.evaluate.results import Metric, SuiteResult, share
from lisa_micro.evaluate.scenes import micrograph_of, scene_with_everything
from lisa_micro.execution import Measures, execute
from lisa_micro.language.program import Program, parse_program, render_program
from lisa_micro.types import InputError

SEED = 5_000_038
"""Seed of the scene. It shows many instances of every concept, so that a constraint selects some and leaves others."""
MUST, AIM = 0.97, 0.995


class Meaning(NamedTuple):
    """A meaning and the wordings in which different people would ask for it."""

    expected: Program
    wordings: tuple[str, ...]


def wordings(context: Context) -> SuiteResult:
    """Ask every wording of a file of meanings on one simulated scene and compare the masks.

    The expected program and the one that was read are executed on the true instances of the scene; two masks are the
    same if their IoU is at least :data:`lisa_micro.evaluate.programs.LEAST_IOU`.

    Raises:
        InputError: no file was given, or it cannot be used.
    """
    if context.prompts is None:
        raise InputError("The suite 'wordings' needs a YAML file of meanings with their wordings; pass --prompts.")
    meanings = context.limited(read_meanings(context.prompts))
    scene = scene_with_everything(SEED)
    picture, measures = micrograph_of(scene), [measures_of(scene)]
    rows: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    with context.steps("wordings", sum(len(meaning.wordings) for meaning in meanings)) as step:
        for meaning in meanings:
            replies = []
            for wording in meaning.wordings:
                step()
                replies.append(context.read(picture, wording))
            found = [
                score_wording(meaning, wording, raw, measures)
                for wording, raw in zip(meaning.wordings, replies, strict=True)
            ]
            table.append(
                {
                    "meaning": render_program(meaning.expected),
                    "n": len(found),
                    "right mask": sum(row["right mask"] for row in found),
                    "right": sum(row["right"] for row in found),
                    "same mask": "yes" if same_masks([parse_program(raw) for raw in replies], measures) else "no",
                }
            )
            rows += found
    return SuiteResult(
        "wordings",
        _metrics(rows, table),
        {"By meaning": table},
        {"wordings-failures.csv": [row for row in rows if not row["right"]]},
        _notes(meanings, measures[0]),
    )


def score_wording(meaning: Meaning, wording: str, raw: str, measures: Sequence[Measures]) -> dict[str, Any]:
    """Compare the raw reply to a wording with its meaning: by its masks, and by its masks, values and plots."""
    read = parse_program(raw)
    return {
        "meaning": render_program(meaning.expected),
        "prompt": wording,
        "right mask": judge(_masks_of(meaning.expected), _masks_of(read), measures).right,
        "right": judge(meaning.expected, read, measures).right,
        "read": render_program(read),
        "raw": raw,
    }


def same_masks(programs: Sequence[Program], measures: Sequence[Measures]) -> bool:
    """Whether all programs give the same masks, right or wrong; one that refuses gives no mask at all."""
    masks = {render_program(each): each for each in map(_masks_of, programs)}
    if any(refuses(each) for each in masks.values()):
        return False
    return all(judge(one, other, measures).right for one, other in combinations(masks.values(), 2))


def _masks_of(program: Program) -> Program:
    """The program without its values and plots."""
    return Program((*program.targets, *program.refusals))


def _notes(meanings: Sequence[Meaning], measures: Measures) -> tuple[str, ...]:
    empty = sum(
        not any(selection.count for selection in execute(meaning.expected, measures).selections) for meaning in meanings
    )
    if not empty:
        return ()
    return (f"{empty} of the meanings select nothing on the scene; only a reply of the same text is right there.",)


def _metrics(rows: list[dict[str, Any]], table: list[dict[str, Any]]) -> tuple[Metric, ...]:
    return (
        Metric(
            "right_mask",
            "wordings with the right mask",
            share([row["right mask"] for row in rows]),
            "Share of the wordings whose program selects what their meaning selects on the scene (IoU at least 0.8).",
            MUST,
            AIM,
            unit="%",
            n=len(rows),
        ),
        Metric(
            "same_mask",
            "meanings of which all wordings have the same mask",
            share([row["same mask"] == "yes" for row in table]),
            "Share of the meanings of which the masks of any two wordings are the same, right or wrong; a refused "
            "wording has no mask.",
            MUST,
            AIM,
            unit="%",
            n=len(table),
        ),
        Metric(
            "right",
            "wordings with the right mask, values and plots",
            share([row["right"] for row in rows]),
            "Share of the wordings whose program also measures and plots what their meaning does.",
            unit="%",
            n=len(rows),
        ),
    )


# ------------------------------------------------------------------------------------------- files of meanings


def read_meanings(path: Path) -> list[Meaning]:
    """Read meanings with their wordings from a YAML file, a list of mappings.

    - ``meaning``: a reply in the reply language, such as ``particles [SEG]<where>largest 3</where>``;
    - ``say``: a list of at least two requests that mean it.

    Raises:
        InputError: unreadable or invalid; the message has the number of the entry.
    """
    return read_entries(path, _meaning, "'meaning' and 'say'")


def _meaning(entry: object) -> Meaning:
    if not isinstance(entry, Mapping) or set(entry) != {"meaning", "say"}:
        raise ValueError("it needs the keys 'meaning' and 'say', and no others")
    text, say = entry["meaning"], entry["say"]
    if not isinstance(text, str):
        raise ValueError(f"'meaning' must be a text, not {text!r}")
    if not isinstance(say, list) or len(say) < 2 or not all(isinstance(wording, str) for wording in say):
        raise ValueError("'say' must be a list of at least two texts")
    expected = parse_program(text)
    if expected.notes:
        raise ValueError(f"the meaning is not in the reply language: {expected.notes[0].rstrip('.')}")
    if not expected.targets:
        raise ValueError(f"the meaning {text!r} segments nothing")
    return Meaning(expected, tuple(say))
