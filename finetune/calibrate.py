"""``python -m lisa_micro_finetune.calibrate WEIGHTS``: from which presence score on a concept counts as there.

On simulated scenes that are used for nothing else (their seeds lie between those of training and of validation), the
decoder is prompted by each concept's code; the threshold is the one that keeps ``--false-declines`` of the scenes that
show the concept and declines the most of those that do not. Written into ``config.json`` of WEIGHTS.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_micro.evaluate.scenes import ASKED, is_there, micrograph_of, scenes
from lisa_micro.io import write_files, write_json
from lisa_micro.loading import load_assistant
from lisa_micro.types import CONCEPTS, InputError

FIRST_SEED = 4_000_000
LEAST_ABSENT = 20
"""Scenes without a concept from which on its threshold is moved: three or four say nothing."""


@dataclass(frozen=True)
class Seen:
    """One concept on one scene: whether it is there, the presence score 0..1, and whether anything was outlined."""

    concept: str
    there: bool
    presence: float
    outlined: bool


def look(assistant, count: int, first: int = FIRST_SEED) -> list[Seen]:
    """All four concepts that have instances on ``count`` scenes; what is there in specks only is left out."""
    seen = []
    for scene in scenes(count, first):
        view = assistant.prepared(micrograph_of(scene)).view
        for concept in ASKED:
            there = is_there(scene, concept)
            if there is None:
                continue
            out = assistant.engine.decode_concept(view.features, CONCEPTS.index(concept))
            outline = view.instances(out, 0, concept)
            seen.append(Seen(concept, there, outline.presence, bool(outline.labels.any())))
    return seen


def threshold(seen: list[Seen], false_declines: float) -> float:
    """The presence score below which a concept is declined.

    Args:
        seen: of one concept.
        false_declines: share of the scenes with the concept that may be declined for their score. Those in which
            nothing was outlined are declined at any threshold and do not count.

    Returns:
        0..1: of all thresholds that decline the most under that bound the one nearest to 0.5, so that nothing is staked
        on scores near the ends that a few scenes happened to have; 0.5 where no scene shows the concept, or fewer than
        :data:`LEAST_ABSENT` lack it.
    """
    if sum(not s.there for s in seen) < LEAST_ABSENT:
        return 0.5
    kept = np.sort([s.presence for s in seen if s.there and s.outlined])
    if not len(kept):
        return 0.5
    highest = float(kept[int(np.floor(false_declines * len(kept)))])
    absent = [s.presence for s in seen if s.outlined and not s.there and s.presence < highest]
    lowest = (max(absent) + highest) / 2 if absent else 0.0
    return min(max(0.5, lowest), highest)


def main() -> int:
    """Exit code 0 on success, 2 where the weights cannot be loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--false-declines", type=float, default=0.01)
    args = parser.parse_args()
    try:
        assistant = load_assistant(str(args.weights))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seen = look(assistant, args.scenes)
    chosen = {}
    for concept in ASKED:
        own = [s for s in seen if s.concept == concept]
        chosen[concept] = round(threshold(own, args.false_declines), 3)
        kept = [s.outlined and s.presence >= chosen[concept] for s in own if s.there]
        refused = [not (s.outlined and s.presence >= chosen[concept]) for s in own if not s.there]
        print(
            f"{concept:12s} threshold {chosen[concept]:.3f}: false declines {1 - np.mean(kept or [np.nan]):.3f} of"
            f" {len(kept)}, declined {np.mean(refused or [np.nan]):.3f} of {len(refused)}"
        )
    config = json.loads((args.weights / "config.json").read_text())
    config["presence_threshold"] = chosen
    write_files(args.weights, {"config.json": lambda path: write_json(path, config)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
