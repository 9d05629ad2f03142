"""Calibrate the presence thresholds of the concepts beyond the first five: ``python -m
lisa_micro_finetune.concepts.calibrate WEIGHTS``.

On training micrographs of the materials sets and on simulated materials whose seeds lie between those of training and
of validation. Written into ``config.json`` of WEIGHTS, beside the thresholds that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lisa_micro.evaluate.seeing import Eyes
from lisa_micro.io import write_files, write_json
from lisa_micro.loading import load_assistant
from lisa_micro.sim.materials import MATERIAL_KINDS, simulate_material
from lisa_micro.types import CONCEPTS, VISION_CONCEPTS, InputError
from lisa_micro_finetune.calibrate import Seen, threshold
from lisa_micro_finetune.concepts.sources import Labelled, of_material, prepare_materials, read_labelled

FIRST_SEED = 4_100_000
LEAST_PX = 60
"""A concept counts as there from this many pixels on, as absent only without any."""


def micrographs(cache: Path, scenes: int, per_set: int) -> Iterator[Labelled]:
    """``scenes`` simulated scenes of each kind, and ``per_set`` training micrographs of each materials set."""
    for kind in MATERIAL_KINDS:
        for seed in range(FIRST_SEED, FIRST_SEED + scenes):
            yield of_material(f"{kind} {seed}", simulate_material(seed, kind, (512, 512)))
    taken: dict[str, int] = {}
    for path in prepare_materials(cache, "train"):
        source = read_labelled(path)
        taken[source.kind] = taken.get(source.kind, 0) + 1
        if taken[source.kind] <= per_set:
            yield source


def look(eyes: Eyes, source: Labelled) -> list[Seen]:
    """Every concept beyond the first five of which it is known whether it is there."""
    view = eyes.view(source.pixels.astype(np.float32))
    seen = []
    for concept in VISION_CONCEPTS[len(CONCEPTS) :]:
        labels = source.labels.get(concept)
        size = 0 if labels is None else int((labels > 0).sum())
        if (labels is None and concept not in source.absent) or 0 < size < LEAST_PX:
            continue
        out = eyes.engine.decode_concept(view.features, eyes.config.code_number(concept))
        outline = view.outline(out, 0, concept)
        seen.append(Seen(concept, size > 0, outline.presence, bool(outline.labels.any())))
    return seen


def main() -> int:
    """Exit code 0 on success, 2 where the weights or the data cannot be loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--per-set", type=int, default=6)
    parser.add_argument("--false-declines", type=float, default=0.02)
    args = parser.parse_args()
    try:
        eyes = Eyes(load_assistant(str(args.weights)))
        seen = [s for source in micrographs(args.cache, args.scenes, args.per_set) for s in look(eyes, source)]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = json.loads((args.weights / "config.json").read_text(encoding="utf-8"))
    for concept in VISION_CONCEPTS[len(CONCEPTS) :]:
        own = [s for s in seen if s.concept == concept]
        chosen = round(threshold(own, args.false_declines), 3)
        config["presence_threshold"][concept] = chosen
        kept = [s.outlined and s.presence >= chosen for s in own if s.there]
        refused = [not (s.outlined and s.presence >= chosen) for s in own if not s.there]
        print(
            f"{concept:16s} threshold {chosen:.3f}: false declines {1 - np.mean(kept or [np.nan]):.3f} of {len(kept)},"
            f" declined {np.mean(refused or [np.nan]):.3f} of {len(refused)}"
        )
    write_files(args.weights, {"config.json": lambda path: write_json(path, config)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
