"""Suites on real micrographs, ``tem-sintering`` and ``emps``; validation parts only."""

from __future__ import annotations

from typing import Any

import numpy as np

from lisa_micro import metrics
from lisa_micro.datasets.readers import read_emps, read_tem_sintering
from lisa_micro.evaluate.context import Context, came_back_empty, declined, scores_of
from lisa_micro.evaluate.results import Metric, SuiteResult, mean, share
from lisa_micro.evaluate.wordings import LISA_WORDINGS, whole_concept_wordings
from lisa_micro.measure import find_necks
from lisa_micro.metrics import Counts
from lisa_micro.results.answer import Answer

TEM_WORDINGS = 15
EMPS_WORDINGS = 20
NOT_DARK = ("bright", "white", "light")
"""Words that contradict bright field, in which particles are dark."""
BAND_PX = 2.0
PRESENCE_CONCEPTS = ("neck", "pore", "agglomerate")


def recipe(pixels: np.ndarray, sigma: float = 5.0) -> np.ndarray:
    """The procedure by which the labels of ``tem-sintering`` were made: Gaussian filter and Otsu's threshold.

    Args:
        pixels: ``(H, W)`` intensities of a bright-field image, finite.
        sigma: standard deviation of the Gaussian, px.

    Returns:
        ``(H, W)`` bool; dark is inside.
    """
    from skimage.filters import gaussian, threshold_otsu

    smooth = gaussian(np.asarray(pixels, float), sigma, preserve_range=True)
    return smooth < threshold_otsu(smooth)


def tem_sintering(context: Context) -> SuiteResult:
    """Ask every wording on every validation image of ``tem-sintering``.

    Raises:
        InputError: the data set is not found.
    """
    examples = context.limited(read_tem_sintering("validation", context.data))
    held_out = whole_concept_wordings("particle", TEM_WORDINGS, context.seed, avoid=NOT_DARK)
    wordings = [("held out", w) for w in held_out] + [("LISA's", w) for w in LISA_WORDINGS]
    scores = np.zeros((len(wordings), len(examples)))
    inside = np.zeros_like(scores)
    by_recipe = np.zeros((2, len(examples)))
    with context.steps("tem-sintering", scores.size) as step:
        for column, example in enumerate(examples):
            assert example.labels is not None  # the reader gives every image its mask
            truth = example.labels > 0
            for row, (_, wording) in enumerate(wordings):
                mask = context.ask(example.micrograph, wording).labels(truth.shape) > 0
                scores[row, column] = metrics.iou(mask, truth)
                inside[row, column] = metrics.iou_outside_band(mask, truth, BAND_PX)
                step()
            mask = recipe(example.micrograph.pixels)
            by_recipe[:, column] = metrics.iou(mask, truth), metrics.iou_outside_band(mask, truth, BAND_PX)
    means = scores.mean(axis=1)
    n = scores.size
    figures = (
        Metric(
            "iou",
            "nanoparticles, mask IoU",
            float(scores.mean()),
            "IoU of the mask with the published one, mean over images and wordings.",
            0.93,
            0.97,
            n=n,
        ),
        Metric(
            "iou_outside_band",
            "the same outside a 2-px band",
            float(inside.mean()),
            "IoU without the pixels at most 2 px from the edge of the published mask.",
            0.985,
            0.998,
            n=n,
        ),
        Metric(
            "spread",
            "spread between wordings",
            float(np.ptp(means)),
            "Mean IoU of the best wording minus that of the worst, each averaged over all images.",
            0.02,
            0.005,
            lower=True,
            n=len(wordings),
        ),
        Metric(
            "recipe_iou",
            "procedure of the labels, IoU",
            float(by_recipe[0].mean()),
            "Gaussian of 5 px and Otsu's threshold, by which the labels were made; what imitating them gives.",
            n=len(examples),
        ),
        Metric(
            "recipe_iou_outside_band",
            "the procedure outside the band",
            float(by_recipe[1].mean()),
            "IoU of the procedure outside the 2-px band.",
            n=len(examples),
        ),
    )
    order = np.argsort(-means, kind="stable")
    words = [
        {
            "wording": wordings[k][1],
            "from": wordings[k][0],
            "IoU": round(float(means[k]), 4),
            "lowest image": round(float(scores[k].min()), 4),
            "outside band": round(float(inside[k].mean()), 4),
        }
        for k in order
    ]
    images = [
        {
            "image": example.name,
            "IoU": round(float(scores[:, k].mean()), 4),
            "outside band": round(float(inside[:, k].mean()), 4),
            "recipe": round(float(by_recipe[0, k]), 4),
        }
        for k, example in enumerate(examples)
    ]
    return SuiteResult("tem-sintering", figures, {"By wording": words, "By image": images})


def emps(context: Context) -> SuiteResult:
    """Evaluate particles, necks and presence on the validation images of EMPS.

    The truth of necks, pores and agglomerates is derived from the labels of the particles.

    Raises:
        InputError: the data set is not found.
    """
    examples = read_emps("validation", context.data)
    chosen = context.limited(range(len(examples)))
    wordings = {
        concept: whole_concept_wordings(concept, EMPS_WORDINGS, context.seed)
        for concept in ("particle", *PRESENCE_CONCEPTS)
    }
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    confidence: list[np.ndarray | None] = []
    per_image: list[Counts] = []
    from_masks, from_particles = Counts(), Counts()
    presence: list[tuple[str, bool, bool, bool]] = []
    rows: list[dict[str, Any]] = []
    with context.steps("emps", len(chosen) * len(wordings)) as step:
        for k in chosen:
            example = examples[k]
            assert example.labels is not None  # the reader gives every image its labels
            answers: dict[str, Answer] = {}
            for concept, words in wordings.items():
                answers[concept] = context.ask(example.micrograph, words[k % len(words)])
                step()
            shape = example.labels.shape
            found = answers["particle"].labels(shape)
            pairs.append((_small(found), _small(example.labels)))
            confidence.append(scores_of(answers["particle"], found))
            per_image.append(metrics.counts(found, example.labels))
            necks = find_necks(example.labels)
            centres = metrics.label_centres(answers["neck"].labels(shape))
            hits = metrics.neck_centre_counts(centres, necks)
            from_masks += hits
            from_particles += metrics.neck_centre_counts(find_necks(found), necks)
            truth = example.truth()
            for concept in PRESENCE_CONCEPTS:
                answer = answers[concept]
                there = bool(truth[concept].any())
                presence.append((concept, there, declined(answer), came_back_empty(answer)))
            count = per_image[-1]
            rows.append(
                {
                    "image": example.name,
                    "wording": wordings["particle"][k % EMPS_WORDINGS],
                    "IoU": round(metrics.iou(found, example.labels), 4),
                    "AP50": round(count.ap, 4),
                    "TP": count.tp,
                    "FP": count.fp,
                    "FN": count.fn,
                    "necks found": hits.tp,
                    "necks extra": hits.fp,
                    "necks missed": hits.fn,
                }
            )
    figures = (*_particle_metrics(pairs, per_image, confidence), *_neck_metrics(from_masks, from_particles))
    lowest = sorted(rows, key=lambda row: row["IoU"])[:8]
    tables = {
        "Presence on EMPS (truth derived from the particles' labels)": _presence_rows(presence),
        "Lowest images": [{key: row[key] for key in ("image", "IoU", "AP50", "TP", "FP", "FN")} for row in lowest],
    }
    return SuiteResult("emps", figures, tables, {"emps-images.csv": rows})


def _small(labels: np.ndarray) -> np.ndarray:
    """Labels in half the memory, since those of a whole data set are kept for the pooled scores."""
    return labels.astype(np.uint16) if labels.max(initial=0) < 2**16 else labels


def _particle_metrics(pairs: list, per_image: list[Counts], confidence: list) -> list[Metric]:
    pooled = sum(per_image, Counts())
    scored = confidence if all(c is not None for c in confidence) else None
    coco = metrics.coco_average_precision(pairs, scored)
    n, instances = len(pairs), pooled.tp + pooled.fn
    how = "with the instances' scores" if scored else "all instances with the same score"
    return [
        Metric(
            "giou",
            "particles, gIoU",
            metrics.giou(pairs),
            "Mean over images of intersection over union of the masks of all particles.",
            0.86,
            0.92,
            n=n,
        ),
        Metric("ciou", "particles, cIoU", metrics.ciou(pairs), "Sum of intersections over sum of unions.", n=n),
        Metric(
            "ap50",
            "instances, AP50 pooled",
            pooled.ap,
            "TP / (TP + FP + FN), instances matched one to one at IoU >= 0.5, summed over images.",
            0.65,
            0.78,
            n=instances,
        ),
        Metric(
            "ap50_per_image",
            "instances, AP50 per image",
            mean([count.ap for count in per_image]),
            "The same ratio for each image, mean over images.",
            n=n,
        ),
        Metric(
            "f1",
            "instances, F1 pooled",
            pooled.f1,
            "2 TP / (2 TP + FP + FN) of the same matches.",
            n=instances,
        ),
        Metric(
            "coco_ap50",
            "instances, COCO AP50",
            coco["ap50"],
            f"Area under precision and recall at IoU 0.5 by pycocotools, {how}.",
            n=instances,
        ),
        Metric(
            "coco_ap",
            "instances, COCO AP",
            coco["ap"],
            "The same, mean over IoU 0.5, 0.55 ... 0.95.",
            n=instances,
        ),
    ]


def _neck_metrics(from_masks: Counts, from_particles: Counts) -> list[Metric]:
    n = from_masks.tp + from_masks.fn
    return [
        Metric(
            "neck_f1",
            "necks, F1 of centres",
            from_masks.f1 if n else float("nan"),
            "Centres of the segmented necks against necks derived from the labels; a hit lies within the "
            "neck's width of its centre, one to one, summed over images.",
            0.5,
            0.75,
            n=n,
        ),
        Metric(
            "neck_f1_from_particles",
            "necks measured on the particles, F1",
            from_particles.f1 if n else float("nan"),
            "The same for necks measured between the segmented particles.",
            n=n,
        ),
    ]


def _presence_rows(presence: list[tuple[str, bool, bool, bool]]) -> list[dict]:
    rows = []
    for concept in PRESENCE_CONCEPTS:
        absent = [refused for name, there, refused, _ in presence if name == concept and not there]
        present = [empty for name, there, _, empty in presence if name == concept and there]
        rows.append(
            {
                "asked for": concept,
                "images without": len(absent),
                "declined": _round(share(absent)),
                "images with": len(present),
                "false declines": _round(share(present)),
            }
        )
    return rows


def _round(value: float) -> float | str:
    return round(value, 3) if value == value else "-"
