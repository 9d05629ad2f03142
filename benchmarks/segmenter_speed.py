"""Speed of a promptable segmenter: encoding, one box, one click, and everything mode.

    python benchmarks/segmenter_speed.py [--segmenter micro --checkpoint PATH] [--cores 2] [--repeats 10]

The micrograph has 1024 x 1024 px with about 100 particles. Times are the best and the median; on a shared machine only
the best is meaningful.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from lisa_micro.sim import Scene, simulate_scene

LIMITS = {"one box": (0.050, 0.015), "everything": (15.0, 5.0)}
"""Limit and aim in seconds, on two cores with ``micro``."""


def scene_with(particles: int, side: int, seed: int) -> Scene:
    """A simulated micrograph of ``side`` px with about ``particles`` particles.

    Of several scenes the one whose number comes closest is returned.
    """
    best: tuple[int, Scene] | None = None
    for k in range(seed, seed + 20):
        scene = simulate_scene(k, (side, side), kind="polydisperse")
        miss = abs(int(scene.particles.max()) - particles)
        if best is None or miss < best[0]:
            best = miss, scene
        if miss <= particles // 7:
            break
    assert best is not None
    return best[1]


def seconds(what: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Best and median time of several calls, after one that is not counted."""
    what()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        what()
        taken.append(time.perf_counter() - start)
    return min(taken), median(taken)


def main() -> None:
    """Parse the arguments, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segmenter", default="micro")
    parser.add_argument("--checkpoint")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--side", type=int, default=1024, help="px of the micrograph")
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--skip-everything", action="store_true", help="slow with large models")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])

    import torch

    from lisa_micro.geometry import boxes_from_labels
    from lisa_micro.models.segmenters import build_segmenter
    from lisa_micro.types import Micrograph

    torch.set_num_threads(arguments.cores)
    scene = scene_with(arguments.particles, arguments.side, 9_200_010)
    image = Micrograph(scene.pixels, scene.pixel_size_nm)
    boxes = boxes_from_labels(scene.particles)
    boxes = boxes[boxes[:, 2] > boxes[:, 0]]
    box = boxes[np.argsort(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))[len(boxes) // 2]]
    start = time.perf_counter()
    segmenter = build_segmenter(arguments.segmenter, arguments.checkpoint, "cpu")
    rows = [("load", time.perf_counter() - start, None)]
    few = max(1, arguments.repeats // 3)
    rows.append(("encode", *seconds(lambda: segmenter.encode(image), few)))
    rows.append(("one box", *seconds(lambda: segmenter.predict(boxes=box[None]), arguments.repeats)))
    centre = (box[:2] + box[2:]) / 2

    def click() -> None:
        segmenter.predict(points=centre[None, None])

    start = time.perf_counter()
    click()  # for micro, the first click in an image separates its particles
    rows.append(("first click", time.perf_counter() - start, None))
    rows.append(("a further click", *seconds(click, arguments.repeats)))
    rows.append((f"{len(boxes)} boxes", *seconds(lambda: segmenter.predict(boxes=boxes), few)))
    found = None
    if not arguments.skip_everything:
        taken = []
        for _ in range(few):
            segmenter.encode(image)  # discards what is cached for the image
            start = time.perf_counter()
            found = segmenter.everything()
            taken.append(time.perf_counter() - start)
        rows.append(("everything", min(taken), median(taken)))
    print(f"{segmenter.name}, {arguments.side} x {arguments.side} px, {len(boxes)} particles, {arguments.cores} cores")
    print(f"{'what':18}{'best s':>10}{'median s':>10}   limit")
    for name, best, middle in rows:
        limit = LIMITS.get(name)
        shown = f"{limit[0]:g} (aim {limit[1]:g})" if limit and segmenter.name == "micro" else ""
        print(f"{name:18}{best:10.3f}{'' if middle is None else f'{middle:.3f}':>10}   {shown}")
    if found is not None:
        print(f"everything found {found.labels.max()} of {len(boxes)}, from {found.tried} prompts")


if __name__ == "__main__":
    main()
