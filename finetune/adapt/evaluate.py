"""Evaluate a model on validation images of the user, and on what the base could do before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.datasets.readers import Example
from lisa_micro.datasets.records import Turn
from lisa_micro.datasets.texts import SceneFacts, held_out_suite
from lisa_micro.datasets.texts.custom import sample_custom_conversation
from lisa_micro.evaluate.language import score_reply
from lisa_micro.evaluate.scenes import FIRST_SEED, is_there, micrograph_of, scenes
from lisa_micro.evaluate.wordings import whole_concept_wordings
from lisa_micro.geometry import boxes_from_labels
from lisa_micro.language import Concept, Vocabulary
from lisa_micro.language.program import parse_program
from lisa_micro.metrics import ciou, giou, iou
from lisa_micro.protocols import Assistant
from lisa_micro.types import Micrograph
from lisa_micro_finetune.adapt.data import Records
from lisa_micro_finetune.adapt.settings import EvaluationSettings

MOST_BOXES = 60
"""Largest number of true boxes per structure and image."""
SHOWN = 3
"""Number of best and of worst cases in the picture."""
KNOWN_CONCEPTS = ("particle", "neck", "pore")
"""Concepts by which forgetting is measured."""


@dataclass(frozen=True)
class Case:
    """One request about one image.

    Attributes:
        image: number of the image in its part.
        name: name of the image.
        prompt: the request.
        kind: ``"record"``, or ``"held back"`` for a held-out wording.
        concept: the requested concept.
        truth: true labels ``(H, W)``.
    """

    image: int
    name: str
    prompt: str
    kind: str
    concept: str
    truth: np.ndarray


def make_cases(part: Records, vocabulary: Vocabulary, settings: EvaluationSettings, seed: int) -> list[Case]:
    """Make requests about validation images.

    These are requests of the records, unless the answer would show less than their targets, and held-out wordings for
    labelled custom classes and particles.
    """
    cases: list[Case] = []
    for number, k in enumerate(part.chosen[: settings.images]):
        example = part.examples[k]
        turn = example.turns[0] if example.turns else None
        if turn is not None and turn.targets and not _narrowed(turn, vocabulary):
            truth = np.maximum.reduce([example.target_labels(target) for target in turn.targets])
            concept = turn.targets[0].concept or "own words"
            cases.append(Case(k, example.name, turn.user, "record", concept, truth))
        for concept, truth in labelled(example, vocabulary).items():
            asked = wordings(vocabulary, concept, settings.wordings, seed)
            cases += [Case(k, example.name, w, "held back", concept, truth) for w in rotated(asked, number)]
    return cases


def _narrowed(turn: Turn, vocabulary: Vocabulary) -> bool:
    """Whether the answer shows less than a target: the target is a whole concept, and ``<where>`` narrows it."""
    said = parse_program(turn.assistant, vocabulary).targets
    return any(s.pipeline and t.concept is not None for s, t in zip(said, turn.targets, strict=True))


def labelled(example: Example, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """True labels by concept, for the labelled custom classes and particles."""
    if example.labels is None and not example.concept_labels:
        return {}
    truth = example.truth()
    names = [c.name for c in vocabulary.own if c.name in truth] + ["particle"] * (example.labels is not None)
    return {name: truth[name] for name in names if truth[name].any()}


def wordings(vocabulary: Vocabulary, concept: str, n: int, seed: int) -> list[str]:
    """Draw ``n`` held-out requests for a whole concept."""
    custom = vocabulary.own_concept(concept)
    if n == 0:
        return []
    return whole_concept_wordings(concept, n, seed) if custom is None else custom_wordings(custom, n, seed)


def custom_wordings(concept: Concept, n: int, seed: int) -> list[str]:
    """Draw ``n`` held-out requests for a custom class."""
    rng = np.random.default_rng([seed, 0x0E17])
    facts = SceneFacts("BF-TEM", {"particle": 20, concept.name: 10}, 0.2, True)
    found: dict[str, None] = {}
    for _ in range(50 * n):
        turn = sample_custom_conversation(rng, concept, facts, "held_out", 0, {"outline": 1})[0]
        if [(t.concept, t.clauses) for t in turn.targets] == [(concept.name, ())]:
            found.setdefault(turn.user)
        if len(found) == n:
            break
    return list(found)


def rotated(items: list[str], by: int) -> list[str]:
    """Rotate a list, so that images do not all begin with the same wording."""
    by = by % len(items) if items else 0
    return items[by:] + items[:by]


def answer_all(assistant: Assistant, part: Records, cases: list[Case]) -> list[np.ndarray]:
    """Ask all requests; the masks ``(H, W)`` bool are the union of each answer's segments."""
    masks = []
    image: tuple[int, Micrograph] | None = None
    for case in cases:
        if image is None or image[0] != case.image:
            image = (case.image, part.examples[case.image].micrograph)
        answer = assistant.ask(image[1], case.prompt)
        masks.append(answer.labels(image[1].shape) > 0)
    return masks


def score(cases: list[Case], masks: list[np.ndarray]) -> dict[str, Any]:
    """gIoU and cIoU over requests, by wording, by concept and by image."""
    pairs = [(mask, case.truth > 0) for mask, case in zip(masks, cases, strict=True)]
    values = [iou(*pair) for pair in pairs]

    def table(key: str, value_of: Callable[[Case], str]) -> list[dict[str, Any]]:
        groups: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for case, pair in zip(cases, pairs, strict=True):
            groups.setdefault(value_of(case), []).append(pair)
        return [{key: name, "n": len(g), "giou": giou(g), "ciou": ciou(g)} for name, g in groups.items()]

    return {
        "requests": len(cases),
        "giou": giou(pairs),
        "ciou": ciou(pairs),
        "iou": [round(v, 4) for v in values],
        "wordings": table("prompt", lambda case: case.prompt),
        "concepts": table("concept", lambda case: case.concept),
        "images": table("name", lambda case: case.name),
    }


def box_bound(assistant: Assistant, part: Records, cases: list[Case]) -> float | None:
    """Mean IoU of the same structures segmented from their true boxes, ``None`` if there are none.

    It shows what the SAM tower and the decoder could reach if the words were understood perfectly.
    """
    values: list[float] = []
    seen: set[tuple[int, str]] = set()
    for case in cases:
        if (case.image, case.concept) in seen or not case.truth.any():
            continue
        seen.add((case.image, case.concept))
        boxes = boxes_from_labels(case.truth)
        picks = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[:MOST_BOXES]
        found = assistant.segment_boxes(part.examples[case.image].micrograph, boxes[picks])
        values.append(iou(found.mask, np.isin(case.truth, picks + 1)))
    return float(np.mean(values)) if values else None


def remembered(assistant: Assistant, settings: EvaluationSettings, seed: int) -> dict[str, Any]:
    """Evaluate what the base can do, on a small fixed set.

    Returns:
        ``giou`` of built-in concepts on simulated scenes in held-out wordings, and ``exact``, the fraction of held-out
        requests with an exact reply.
    """
    result: dict[str, Any] = {}
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    shown: list[Micrograph] = []
    asked = {c: whole_concept_wordings(c, max(settings.scenes, 1), seed) for c in KNOWN_CONCEPTS}
    for number, scene in enumerate(scenes(settings.scenes, FIRST_SEED)):
        micrograph = micrograph_of(scene)
        shown.append(micrograph)
        for concept in KNOWN_CONCEPTS:
            if is_there(scene, concept):
                mask = assistant.ask(micrograph, asked[concept][number]).labels(micrograph.shape) > 0
                pairs.append((mask, scene.labels(concept) > 0))
    if pairs:
        result |= {"giou": giou(pairs), "masks": len(pairs)}
    if settings.requests and shown:
        suite = held_out_suite(settings.requests, seed)
        correct = 0
        for number, item in enumerate(suite):
            # consecutive requests share a scene, so that it is encoded once
            micrograph = shown[number * len(shown) // len(suite)]
            correct += score_reply(item, assistant.parse(micrograph, item.prompt, tuple(item.history)))["right"]
        result |= {"exact": correct / len(suite), "requests": len(suite)}
    return result


def evaluate(
    assistant: Assistant, part: Records | None, cases: list[Case], settings: EvaluationSettings, seed: int
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Compute all metrics of one model, and its masks for the cases."""
    metrics: dict[str, Any] = {}
    masks: list[np.ndarray] = []
    if part is not None and cases:
        masks = answer_all(assistant, part, cases)
        metrics["own"] = {**score(cases, masks), "box_giou": box_bound(assistant, part, cases)}
    if settings.scenes:
        metrics["remembered"] = remembered(assistant, settings, seed)
    return metrics, masks


def _distinct(cases: list[Case], order: list[int]) -> list[int]:
    """The first :data:`SHOWN` cases in this order that differ in image or concept."""
    first: dict[tuple[int, str], int] = {}
    for k in order:
        first.setdefault((cases[k].image, cases[k].concept), k)
    return list(first.values())[:SHOWN]


def picture(
    part: Records, cases: list[Case], before: list[np.ndarray], after: list[np.ndarray], path: Path
) -> list[int]:
    """Draw the cases with the largest and the smallest gain: truth, before and after side by side.

    Returns:
        numbers of the cases that were drawn.
    """
    from matplotlib.figure import Figure

    from lisa_micro.viz import draw_overlay

    was = [iou(mask, case.truth > 0) for mask, case in zip(before, cases, strict=True)]
    now = [iou(mask, case.truth > 0) for mask, case in zip(after, cases, strict=True)]
    order = sorted(range(len(cases)), key=lambda k: (now[k] - was[k], now[k]), reverse=True)
    chosen = sorted({*_distinct(cases, order), *_distinct(cases, order[::-1])}, key=order.index)
    figure = Figure(figsize=(10.5, 3.8 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), 3, squeeze=False)
    for row, k in zip(axes, chosen, strict=True):
        case = cases[k]
        pixels = part.examples[case.image].micrograph.pixels
        columns = (
            ("truth", case.truth.astype(np.int32)),
            (f"before, IoU {was[k]:.3f}", before[k].astype(np.int32)),
            (f"after, IoU {now[k]:.3f}", after[k].astype(np.int32)),
        )
        for axis, (title, labels) in zip(row, columns, strict=True):
            axis.imshow(draw_overlay(pixels, (labels > 0).astype(np.int32), enlarge=False))
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
        words = case.prompt if len(case.prompt) < 44 else case.prompt[:41] + "..."
        row[0].set_title(f"{case.name}, truth\n{words!r}", fontsize=8)
    figure.savefig(path, dpi=90, format="png")
    return chosen
