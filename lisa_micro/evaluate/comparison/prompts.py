"""Words against boxes, points and detected boxes, on one micrograph and with one decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lisa_micro.evaluate.comparison.scores import Interval, against, bootstrap, object_table, verdict, without_truth
from lisa_micro.evaluate.comparison.ways import (
    Assistant,
    Way,
    by_boxes,
    by_detector,
    by_points,
    by_words,
    inner_points,
    jittered,
)
from lisa_micro.geometry import boxes_from_labels
from lisa_micro.points import check_points
from lisa_micro.types import InputError, Micrograph

WORDS, BOXES = "words", "boxes"


@dataclass(frozen=True)
class Comparison:
    """What the ways of prompting gave on one micrograph.

    Attributes:
        image: the micrograph.
        ways: by name, in the order in which they were tried.
        truth: ``(H, W)`` int32 labels, or None.
        scores: one row a way, against the truth; where there is none, against ``reference``.
        objects: one row an object of the truth, or of ``reference``.
        reference: ``"truth"`` or the name of the way that the others are compared with.
        intervals: for every other way, the mean of words minus that way over objects, with its interval; only with a
            truth.
        sentence: what to remember.
        encode_seconds: for looking at the image, which all ways share.
        notes: one sentence each.
    """

    image: Micrograph
    ways: dict[str, Way]
    truth: np.ndarray | None
    scores: pd.DataFrame
    objects: pd.DataFrame
    reference: str
    intervals: dict[str, Interval]
    sentence: str
    encode_seconds: float
    notes: tuple[str, ...] = ()
    settings: dict = field(default_factory=dict)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``report.html`` with its pictures, ``scores.csv``, ``objects.csv``, ``comparison.json`` and the labels
        of each way; the paths."""
        from lisa_micro.evaluate.comparison.report import write_report

        return write_report(self, folder)


def compare_prompts(
    assistant: Assistant,
    image: Micrograph,
    words: str | None = None,
    boxes: object | None = None,
    truth: np.ndarray | None = None,
    points: object | None = None,
    jitter: float = 0.0,
    detector: bool = True,
    seed: int = 0,
) -> Comparison:
    """Prompt the same decoder in several ways and compare what comes out.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        image: the micrograph.
        words: a request such as ``"segment all particles"``; None leaves words out.
        boxes: ``(N, 4)`` XYXY px, one object each. Left out, they are drawn tightly around the objects of the truth.
        truth: ``(H, W)`` labels of the objects that are meant, 0 = background.
        points: ``(N, 2)`` XY px, one object each. Left out, the innermost points of the objects of the truth.
        jitter: px by which the sides of boxes from the truth are moved at random, as a hand would.
        detector: whether boxes that the assistant proposes by itself are tried too.
        seed: of the jitter and of the bootstrap.

    Raises:
        InputError: fewer than two ways to compare, a truth of another size than the micrograph, unusable boxes, points
            or words.
    """
    truth = None if truth is None else _check_truth(truth, image.shape)
    notes: list[str] = []
    if truth is not None and not truth.any():
        raise InputError("The true labels hold no object; there is nothing to compare with.")
    if boxes is None and truth is not None:
        boxes = jittered(_boxes_of(truth), jitter, image.shape, seed) if jitter else _boxes_of(truth)
        notes.append(f"Boxes were drawn around the true objects{f', moved by up to {jitter:g} px' if jitter else ''}.")
    if points is None and truth is not None:
        points = inner_points(truth)
        notes.append("Points were set at the innermost pixel of the true objects.")
    if sum((words is not None, boxes is not None, points is not None)) + detector < 2:
        raise InputError("There is nothing to compare: give words, and boxes or true labels.")
    encode_seconds = assistant.encode(image)
    ways: list[Way] = []
    if words is not None:
        ways.append(by_words(assistant, image, words))
    if boxes is not None:
        ways.append(by_boxes(assistant, image, boxes))
    if points is not None:
        ways.append(by_points(assistant, image, check_points(points, None, image.shape)[0]))
    if detector:
        detected = by_detector(assistant, image)
        if detected is None:
            notes.append("The detector proposed no box.")
        else:
            ways.append(detected)
    return _judge(image, {way.name: way for way in ways}, truth, encode_seconds, tuple(notes), jitter, seed)


def _judge(
    image: Micrograph,
    ways: dict[str, Way],
    truth: np.ndarray | None,
    encode_seconds: float,
    notes: tuple[str, ...],
    jitter: float,
    seed: int,
) -> Comparison:
    intervals: dict[str, Interval] = {}
    if truth is not None:
        reference, labels = "truth", truth
        rows = [against(way, truth) for way in ways.values()]
    else:
        # boxes say most exactly what a user means
        reference = next((name for name in (BOXES, "points", WORDS) if name in ways), next(iter(ways)))
        labels = ways[reference].labels
        rows = [without_truth(way, ways[reference]) for way in ways.values() if way.name != reference]
    objects = object_table(ways, labels)
    first = WORDS if WORDS in ways else next(iter(ways))
    if truth is not None:
        for name in ways:
            if name != first:
                intervals[name] = bootstrap(objects[f"IoU {first}"] - objects[f"IoU {name}"], seed)
        if intervals:
            other = BOXES if BOXES in intervals else next(iter(intervals))
            sentence = verdict(objects, first, other, intervals[other])
        else:
            sentence = f"Only {first} gave anything to compare."
    else:
        pairs = [f"{row['way']} {row['IoU']:.3f}" for row in rows]
        sentence = (
            f"Without true labels none can be called better; mask IoU with {reference}: {', '.join(pairs) or 'none'}."
        )
    notes = (*notes, *(f"{way.name}: {note}" for way in ways.values() for note in way.notes))
    return Comparison(
        image,
        ways,
        truth,
        pd.DataFrame(rows),
        objects,
        reference,
        intervals,
        sentence,
        encode_seconds,
        notes,
        {"jitter_px": jitter, "seed": seed},
    )


def _boxes_of(labels: np.ndarray) -> np.ndarray:
    boxes = boxes_from_labels(labels)
    return boxes[boxes[:, 2] > boxes[:, 0]]


def _check_truth(truth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    labels = np.asarray(truth)
    if labels.shape != shape:
        size = " x ".join(str(n) for n in reversed(labels.shape))
        raise InputError(f"The true labels are {size} px, the micrograph {shape[1]} x {shape[0]}; they must be alike.")
    return labels.astype(np.int32)


def read_boxes(path: str | Path) -> list[list[float]]:
    """Boxes from a file: JSON (a list of ``[x0, y0, x1, y1]``), or text with four numbers a line, separated by commas,
    semicolons or blanks, with or without a line of names.

    Raises:
        InputError: unreadable, or no box in it.
    """
    import json
    import re

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The boxes in {path} cannot be read: {error}.") from error
    try:
        if text.startswith(("[", "{")):
            content = json.loads(text)
            rows: Sequence = content["boxes"] if isinstance(content, dict) else content
            boxes = [[float(v) for v in row] for row in rows]
        else:
            lines = [re.split(r"[,;\s]+", line.strip()) for line in text.splitlines() if line.strip()]
            if lines and not re.match(r"^[-+.\d]", lines[0][0]):
                lines = lines[1:]
            boxes = [[float(v) for v in line] for line in lines]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} holds something that is not a box of four numbers: {error}.") from error
    if not boxes or any(len(box) != 4 for box in boxes):
        raise InputError(f"{path} must hold one or more boxes of four numbers, x0, y0, x1, y1 in px.")
    return boxes
