"""Before and after: how well words outline what one's own validation images show, and what was forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.datasets.readers import Example
from lisa_micro.datasets.records import Turn
from lisa_micro.datasets.texts import SceneFacts, held_out_suite
from lisa_micro.datasets.texts.custom import sample_custom_conversation
from lisa_micro.evaluate.language import score_reply as judge_reply
from lisa_micro.evaluate.scenes import FIRST_SEED, is_there, micrograph_of, scenes
from lisa_micro.evaluate.wordings import whole_concept_wordings
from lisa_micro.geometry import boxes_from_labels
from lisa_micro.language import Concept, Vocabulary, parse_reply
from lisa_micro.metrics import ciou, giou, iou
from lisa_micro.types import Micrograph
from lisa_micro_finetune.adapt.data import Records
from lisa_micro_finetune.adapt.settings import Judge

MOST_BOXES = 60
SHOWN = 3
KEPT_CONCEPTS = ("particle", "neck", "pore")


@dataclass(frozen=True)
class Case:
    """One request about one image: its number in the part, the words, where they come from, what is asked for, and its
    true labels ``(H, W)``."""

    image: int
    name: str
    prompt: str
    kind: str
    concept: str
    truth: np.ndarray


def make_cases(part: Records, vocabulary: Vocabulary, judge: Judge, seed: int) -> list[Case]:
    """Requests about validation images: those of the records, unless their targets are not what the answer would show,
    and held-back wordings for what is labelled: the concepts that users taught, and particles."""
    cases: list[Case] = []
    for number, k in enumerate(part.chosen[: judge.images]):
        example = part.examples[k]
        turn = example.turns[0] if example.turns else None
        if turn is not None and turn.targets and not _narrowed(turn, vocabulary):
            truth = np.maximum.reduce([example.target_labels(target) for target in turn.targets])
            concept = turn.targets[0].concept or "own words"
            cases.append(Case(k, example.name, turn.user, "record", concept, truth))
        for concept, truth in labelled(example, vocabulary).items():
            asked = wordings(vocabulary, concept, judge.wordings, seed)
            cases += [Case(k, example.name, w, "held back", concept, truth) for w in rotated(asked, number)]
    return cases


def _narrowed(turn: Turn, vocabulary: Vocabulary) -> bool:
    """Whether the answer shows less than the target: all of a concept, of which ``<where>`` leaves some."""
    said = parse_reply(turn.assistant, vocabulary).targets
    return any(s.clauses and t.concept is not None for s, t in zip(said, turn.targets, strict=True))


def labelled(example: Example, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """True labels of what held-back wordings ask for: concepts of one's own, and particles."""
    if example.labels is None and not example.concept_labels:
        return {}
    truth = example.truth()
    names = [c.name for c in vocabulary.own if c.name in truth] + ["particle"] * (example.labels is not None)
    return {name: truth[name] for name in names if truth[name].any()}


def wordings(vocabulary: Vocabulary, concept: str, n: int, seed: int) -> list[str]:
    """``n`` held-back requests for all of a concept."""
    own = vocabulary.own_concept(concept)
    if n == 0:
        return []
    return whole_concept_wordings(concept, n, seed) if own is None else own_wordings(own, n, seed)


def own_wordings(concept: Concept, n: int, seed: int) -> list[str]:
    """The same for a concept that users taught."""
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
    """The same in another order, so that images do not all begin with the same wording."""
    by = by % len(items) if items else 0
    return items[by:] + items[:by]


def answer_all(assistant: Any, part: Records, cases: list[Case]) -> list[np.ndarray]:
    """``(H, W)`` bool masks, the union of all that each answer outlines."""
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

    def table(key: str) -> list[dict[str, Any]]:
        names = list(dict.fromkeys(getattr(case, key) for case in cases))
        rows = []
        for name in names:
            own = [p for p, c in zip(pairs, cases, strict=True) if getattr(c, key) == name]
            rows.append({key: name, "n": len(own), "giou": giou(own), "ciou": ciou(own)})
        return rows

    return {
        "requests": len(cases),
        "giou": giou(pairs),
        "ciou": ciou(pairs),
        "iou": [round(v, 4) for v in values],
        "wordings": table("prompt"),
        "concepts": table("concept"),
        "images": table("name"),
    }


def box_bound(assistant: Any, part: Records, cases: list[Case]) -> float | None:
    """Mean IoU of the same structures outlined from their true boxes: what the tower and the decoder could give if
    words meant the right thing. ``None`` without any."""
    values, seen = [], set()
    for case in cases:
        if (case.image, case.concept) in seen or not case.truth.any():
            continue
        seen.add((case.image, case.concept))
        boxes = boxes_from_labels(case.truth)
        picks = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[:MOST_BOXES]
        found = assistant.segment_boxes(part.examples[case.image].micrograph, boxes[picks])
        values.append(iou(found.mask, np.isin(case.truth, picks + 1)))
    return float(np.mean(values)) if values else None


def remembered(assistant: Any, judge: Judge, seed: int) -> dict[str, Any]:
    """What the default knows, on a small fixed set: gIoU of concepts on simulated scenes in held-back wordings, and the
    share of held-back requests that are read exactly."""
    result: dict[str, Any] = {}
    pairs, shown = [], []
    asked = {c: whole_concept_wordings(c, max(judge.scenes, 1), seed) for c in KEPT_CONCEPTS}
    for number, scene in enumerate(scenes(judge.scenes, FIRST_SEED)):
        micrograph = micrograph_of(scene)
        shown.append(micrograph)
        for concept in KEPT_CONCEPTS:
            if is_there(scene, concept):
                mask = assistant.ask(micrograph, asked[concept][number]).labels(micrograph.shape) > 0
                pairs.append((mask, scene.labels(concept) > 0))
    if pairs:
        result |= {"giou": giou(pairs), "masks": len(pairs)}
    if judge.requests and shown:
        suite = held_out_suite(judge.requests, seed)
        right = 0
        for number, item in enumerate(suite):
            # neighbours share a scene, so that it is encoded once
            micrograph = shown[number * len(shown) // len(suite)]
            right += judge_reply(item, assistant.parse(micrograph, item.prompt, tuple(item.history)))["right"]
        result |= {"exact": right / len(suite), "requests": len(suite)}
    return result


def evaluate(assistant: Any, part: Records | None, cases: list[Case], judge: Judge, seed: int) -> tuple[dict, list]:
    """All figures of one model, and its masks for the cases."""
    figures: dict[str, Any] = {}
    masks: list[np.ndarray] = []
    if part is not None and cases:
        masks = answer_all(assistant, part, cases)
        figures["own"] = {**score(cases, masks), "box_giou": box_bound(assistant, part, cases)}
    if judge.scenes:
        figures["remembered"] = remembered(assistant, judge, seed)
    return figures, masks


def _distinct(cases: list[Case], order: list[int]) -> list[int]:
    """The first :data:`SHOWN` cases in this order that are about different images or things."""
    first: dict[tuple[int, str], int] = {}
    for k in order:
        first.setdefault((cases[k].image, cases[k].concept), k)
    return list(first.values())[:SHOWN]


def picture(
    part: Records, cases: list[Case], before: list[np.ndarray], after: list[np.ndarray], path: Path
) -> list[int]:
    """The cases that gained the most and the least, truth, before and after side by side; which cases were drawn."""
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
