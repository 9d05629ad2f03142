"""Compare words with boxes, points and detected boxes on one micrograph, with the same decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lisa_micro.evaluate.comparison.outcome import PromptOutcome
from lisa_micro.evaluate.comparison.report import write_report
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
from lisa_micro.io import MicrographLike, as_micrograph
from lisa_micro.points import check_points
from lisa_micro.types import InputError, Micrograph

WORDS, BOXES = "words", "boxes"


@dataclass(frozen=True)
class ComparisonOptions:
    """Options of :func:`compare_prompts`.

    Attributes:
        jitter_px: px by which the sides of boxes drawn around the truth are moved at random, as if drawn by hand.
        detector: whether boxes proposed by the assistant itself are tried as well.
        seed: seed of the jitter and of the bootstrap.
    """

    jitter_px: float = 0.0
    detector: bool = True
    seed: int = 0


class Comparison(PromptOutcome):
    """Result of :func:`compare_prompts`."""

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``report.html`` with its pictures, ``scores.csv``, ``objects.csv``, ``comparison.json`` and the labels
        of each way.

        Returns:
            the paths.

        Raises:
            InputError: the folder cannot be written.
        """
        return write_report(self, folder)


def compare_prompts(
    assistant: Assistant,
    image: MicrographLike,
    words: str | None = None,
    boxes: object | None = None,
    truth: np.ndarray | None = None,
    points: object | None = None,
    options: ComparisonOptions | None = None,
) -> Comparison:
    """Prompt the same decoder in several ways and compare the results.

    Args:
        assistant: from :func:`lisa_micro.load_assistant`.
        image: the micrograph.
        words: a request such as ``"segment all particles"``; ``None`` omits words.
        boxes: ``(N, 4)`` XYXY px, one object each. By default they are drawn tightly around the objects of the truth.
        truth: ``(H, W)`` labels of the requested objects, 0 = background.
        points: ``(N, 2)`` XY px, one object each. By default the innermost points of the objects of the truth.
        options: jitter of the boxes, detector and seed.

    Raises:
        InputError: fewer than two ways to compare, a truth of another size than the micrograph, or unusable boxes,
            points or words.
    """
    image, options = as_micrograph(image), options or ComparisonOptions()
    labels = None if truth is None else _check_truth(truth, image.shape)
    notes: list[str] = []
    if labels is not None and not labels.any():
        raise InputError("The true labels hold no object; there is nothing to compare with.")
    if boxes is None and labels is not None:
        boxes, jitter = _boxes_of(labels), options.jitter_px
        boxes = jittered(boxes, jitter, image.shape, options.seed) if jitter else boxes
        moved = f" and moved by up to {jitter:g} px" if jitter else ""
        notes.append(f"Boxes were drawn around the true objects{moved}.")
    if points is None and labels is not None:
        points = inner_points(labels)
        notes.append("Points were set at the innermost pixel of the true objects.")
    if sum((words is not None, boxes is not None, points is not None)) + options.detector < 2:
        raise InputError("There is nothing to compare: give words, and boxes or true labels.")
    encode_seconds = assistant.encode(image)
    ways: list[Way] = []
    if words is not None:
        ways.append(by_words(assistant, image, words))
    if boxes is not None:
        ways.append(by_boxes(assistant, image, boxes))
    if points is not None:
        ways.append(by_points(assistant, image, check_points(points, None, image.shape)[0]))
    if options.detector:
        detected = by_detector(assistant, image)
        if detected is None:
            notes.append("The detector proposed no box.")
        else:
            ways.append(detected)
    return _compare(image, {way.name: way for way in ways}, labels, encode_seconds, tuple(notes), options)


def _compare(
    image: Micrograph,
    ways: dict[str, Way],
    truth: np.ndarray | None,
    encode_seconds: float,
    notes: tuple[str, ...],
    options: ComparisonOptions,
) -> Comparison:
    intervals: dict[str, Interval] = {}
    if truth is not None:
        reference, labels = "truth", truth
        rows = [against(way, truth) for way in ways.values()]
    else:
        # boxes state most exactly what a user means
        reference = next((name for name in (BOXES, "points", WORDS) if name in ways), next(iter(ways)))
        labels = ways[reference].labels
        rows = [without_truth(way, ways[reference]) for way in ways.values() if way.name != reference]
    objects = object_table(ways, labels)
    first = WORDS if WORDS in ways else next(iter(ways))
    if truth is not None:
        for name in ways:
            if name != first:
                differences = objects[f"IoU {first}"] - objects[f"IoU {name}"]
                intervals[name] = bootstrap(differences.to_numpy(float), options.seed)
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
    return Comparison(
        image=image,
        ways=ways,
        truth=truth,
        scores=pd.DataFrame(rows),
        objects=objects,
        reference=reference,
        intervals=intervals,
        sentence=sentence,
        encode_seconds=encode_seconds,
        notes=(*notes, *(f"{way.name}: {note}" for way in ways.values() for note in way.notes)),
        settings={"jitter_px": options.jitter_px, "seed": options.seed},
    )


def _boxes_of(labels: np.ndarray) -> np.ndarray:
    boxes = boxes_from_labels(labels)
    return boxes[boxes[:, 2] > boxes[:, 0]]


def _check_truth(truth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    labels = np.asarray(truth)
    if labels.shape != shape:
        size = " x ".join(str(n) for n in reversed(labels.shape))
        raise InputError(
            f"The true labels are {size} px but the micrograph is {shape[1]} x {shape[0]} px; "
            "their sizes must be alike."
        )
    return labels.astype(np.int32)
