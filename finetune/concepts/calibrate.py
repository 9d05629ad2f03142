"""Calibrate the thresholds of presence and mask of the concepts beyond the first five: ``python -m
lisa_micro_finetune.concepts.calibrate WEIGHTS``.

On every other validation micrograph of the materials sets (the other half is left for evaluation: maps of training
micrographs are surer than those of new ones) and on simulated materials whose seeds lie between those of training and
of validation. Written into ``config.json`` of WEIGHTS, beside the thresholds that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from lisa_micro import metrics
from lisa_micro.assistant.concept_labels import MASK_THRESHOLD, concept_mask
from lisa_micro.evaluate.vision.decoder import Eyes
from lisa_micro.geometry import resample_nearest
from lisa_micro.io import write_files, write_json
from lisa_micro.loading import load_assistant
from lisa_micro.models.lisa.instances import SplitConfig
from lisa_micro.sim.materials import MATERIAL_KINDS, simulate_material
from lisa_micro.types import CONCEPTS, VISION_CONCEPTS, InputError
from lisa_micro_finetune.calibrate import Seen, threshold
from lisa_micro_finetune.concepts.sources import Labelled, of_material, prepare_materials, read_labelled

FIRST_SEED = 4_100_000
LEAST_PX = 60
"""A concept counts as there from this many pixels on, as absent only without any."""


MASK_THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
"""Mask thresholds that are tried."""
GAIN = 0.01
"""Least gain of the score for which a mask threshold other than 0.5 is taken; it must exceed its standard error."""
LEAST_SCORED = 4
"""Micrographs with a concept from which on its mask threshold is moved."""
FIXED = ("grain",)
"""Concepts whose mask threshold stays: what lies between two grains is where the mask is unsure."""
FEW = 50
MARGIN = 1.0
"""Fewer than :data:`FEW` micrographs with a concept say little about its lowest presence scores: the threshold is
lowered by this logit."""
LEAST_IOU = 0.1
"""A mask that agrees less with the truth at every threshold outlines something else: declining it loses nothing."""
TOLERANCES = {"crack": 4.0, "grain_boundary": 3.0}
"""px: concepts that are lines are scored by their centre lines within this distance, all others by the IoU."""


@dataclass(frozen=True)
class Scored:
    """The mask of one concept on one micrograph.

    Attributes:
        concept, kind: what it is, and the set or the kind of scene.
        scores: ``(T,)`` at each of :data:`MASK_THRESHOLDS`, 0..1.
    """

    concept: str
    kind: str
    scores: np.ndarray


def mask_scores(concept: str, kind: str, mask: np.ndarray, truth: np.ndarray) -> Scored:
    """Score a map at all thresholds.

    Args:
        mask: ``(H, W)`` probabilities. truth: ``(H, W)`` labels.
    """
    scores = []
    for least in MASK_THRESHOLDS:
        found = concept_mask(mask, concept, least)
        if concept in TOLERANCES:
            scores.append(metrics.centre_line_f1(found, truth > 0, TOLERANCES[concept]))
        else:
            scores.append(metrics.iou(found, truth > 0))
    return Scored(concept, kind, np.array(scores))


def choose_mask_threshold(scored: list[Scored]) -> tuple[float, float, float]:
    """The mask threshold of one concept.

    Sets and kinds count the same, however many micrographs they have. The score at a threshold is averaged with those
    at its neighbours, so that a narrow peak is not taken for a good threshold.

    Args:
        scored: of one concept.

    Returns:
        the threshold, its score and that of 0.5; 0.5 where no other gains at least :data:`GAIN` and the
        standard error of the gain, where few micrographs show the concept, and for those of :data:`FIXED`.
    """
    half = MASK_THRESHOLDS.index(MASK_THRESHOLD)
    if not scored:
        return MASK_THRESHOLD, float("nan"), float("nan")
    every = np.array([s.scores for s in scored])
    kinds = sorted({s.kind for s in scored})
    mean = np.mean([np.mean([s.scores for s in scored if s.kind == kind], axis=0) for kind in kinds], axis=0)
    smooth = np.convolve(np.pad(mean, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    best = int(smooth.argmax())
    gains = every[:, best] - every[:, half]
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else np.inf
    fixed = scored[0].concept in FIXED or len(scored) < LEAST_SCORED
    if fixed or mean[best] < mean[half] + max(GAIN, error):
        best = half
    return MASK_THRESHOLDS[best], float(mean[best]), float(mean[half])


def micrographs(cache: Path, scenes: int) -> Iterator[Labelled]:
    """``scenes`` simulated scenes of each kind, and every other validation micrograph of each materials set."""
    for kind in MATERIAL_KINDS:
        for seed in range(FIRST_SEED, FIRST_SEED + scenes):
            yield of_material(f"{kind} {seed}", simulate_material(seed, kind, (512, 512)))
    taken: dict[str, int] = {}
    for path in prepare_materials(cache, "validation"):
        source = read_labelled(path)
        taken[source.kind] = taken.get(source.kind, 0) + 1
        if taken[source.kind] % 2:
            yield source


def look(eyes: Eyes, source: Labelled) -> tuple[list[Seen], list[Scored]]:
    """Every concept beyond the first five of which it is known whether it is there, and the masks of those that are."""
    view = eyes.view(source.pixels.astype(np.float32))
    seen, scored = [], []
    for concept in VISION_CONCEPTS[len(CONCEPTS) :]:
        labels = source.labels.get(concept)
        size = 0 if labels is None else int((labels > 0).sum())
        if (labels is None and concept not in source.absent) or 0 < size < LEAST_PX:
            continue
        out = eyes.engine.decode_concept(view.features, eyes.config.code_number(concept))
        mask = view.maps(out, 0)[0]
        outlined = np.count_nonzero(mask > MASK_THRESHOLD) >= SplitConfig().smallest
        if size and labels is not None:
            one = mask_scores(concept, source.kind, mask, resample_nearest(labels, mask.shape))
            outlined = outlined and one.scores.max() >= LEAST_IOU
            if concept not in source.partial:
                scored.append(one)
        seen.append(Seen(concept, size > 0, float(expit(float(out.presence[0]))), bool(outlined)))
    return seen, scored


def cautious(chosen: float, there: int) -> float:
    """A presence threshold chosen on ``there`` micrographs with the concept, lowered where these are few."""
    if there >= FEW or not 0 < chosen < 1:
        return chosen
    return float(expit(logit(chosen) - MARGIN)) if chosen > 0.5 else chosen


def thresholds(config: dict, seen: list[Seen], scored: list[Scored], false_declines: float) -> dict[str, dict]:
    """``presence_threshold`` and ``mask_threshold`` of a configuration, calibrated; prints what was chosen."""
    presence, masks = dict(config.get("presence_threshold", {})), {}
    for concept in VISION_CONCEPTS[len(CONCEPTS) :]:
        own = [s for s in seen if s.concept == concept]
        chosen = presence[concept] = round(cautious(threshold(own, false_declines), sum(s.there for s in own)), 3)
        kept = [s.outlined and s.presence >= chosen for s in own if s.there]
        refused = [not (s.outlined and s.presence >= chosen) for s in own if not s.there]
        mask, score, before = choose_mask_threshold([s for s in scored if s.concept == concept])
        if mask != MASK_THRESHOLD:
            masks[concept] = mask
        print(
            f"{concept:16s} threshold {chosen:.3f}: false declines {1 - np.mean(kept or [np.nan]):.3f} of {len(kept)},"
            f" declined {np.mean(refused or [np.nan]):.3f} of {len(refused)};"
            f" mask threshold {mask:.2f}: score {score:.3f} ({before:.3f} at {MASK_THRESHOLD})"
        )
    return {"presence_threshold": presence, "mask_threshold": masks}


def main() -> int:
    """Exit code 0 on success, 2 where the weights or the data cannot be loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--false-declines", type=float, default=0.02)
    args = parser.parse_args()
    try:
        eyes = Eyes(load_assistant(str(args.weights)))
        looked = [look(eyes, source) for source in micrographs(args.cache, args.scenes)]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = json.loads((args.weights / "config.json").read_text(encoding="utf-8"))
    seen, scored = [s for one, _ in looked for s in one], [s for _, one in looked for s in one]
    config |= thresholds(config, seen, scored, args.false_declines)
    write_files(args.weights, {"config.json": lambda path: write_json(path, config)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
