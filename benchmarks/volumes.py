"""Slices linked into 3-D instances: how many simulated spheres are found, and how exact their volumes are.

    python benchmarks/volumes.py                      # true label slices: a minute
    python benchmarks/volumes.py --preset micro       # and the slices segmented by a model

Spheres lie at random, some in sintered pairs with a neck in any direction. Labels of true slices are numbered anew in
every slice, so that nothing but overlap links them. The table is printed and, with ``--out``, written as Markdown.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lisa_micro as lm
from lisa_micro.evaluate.provenance import commit, hardware
from lisa_micro.sim.volumes import SimulatedVolume, simulate_volume

CASES = {
    "spheres and sintered pairs": {},
    "slices 2 px apart": {"step_nm": 2.0},
    "small and dense, most sintered": {"spheres": 60, "radii": (4.0, 10.0), "sintered": 0.6},
    "slices 3 px apart, radii from 1 slice": {"spheres": 40, "radii": (3.0, 9.0), "step_nm": 3.0},
}


@dataclass(frozen=True)
class Score:
    """Of all seeds of one case.

    Attributes:
        true, found, matched: number of objects; matched at an IoU of 0.5 or more.
        errors: ``(n,)`` relative error of the volume of each matched sphere, against its exact volume.
        seconds: of linking, per stack.
    """

    true: int
    found: int
    matched: int
    errors: np.ndarray
    seconds: float


def shuffled(labels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Slices whose instances are numbered anew."""
    out = []
    for one in labels:
        numbers, there = np.zeros(int(labels.max()) + 1, np.int32), np.unique(one[one > 0])
        numbers[there] = rng.permutation(len(there)) + 1
        out.append(numbers[one])
    return out


def matches(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``(n,)`` found object of each true one, 0 where none has an IoU of 0.5 with it."""
    top = int(found.max(initial=0)) + 1
    keys, shared = np.unique(truth.astype(np.int64) * top + found, return_counts=True)
    t, f = keys // top, keys % top
    iou = shared / (np.bincount(truth.ravel())[t] + np.bincount(found.ravel(), minlength=top)[f] - shared)
    good = (t > 0) & (f > 0) & (iou >= 0.5)
    out = np.zeros(int(truth.max(initial=0)) + 1, int)
    out[t[good]] = f[good]
    return out[1:]


def score(truth: SimulatedVolume, volume: lm.Volume, seconds: float) -> Score:
    """Compare 3-D instances with the truth."""
    found = matches(volume.labels, truth.particles)
    seen = found > 0
    volumes = volume.table()["volume_nm3"].to_numpy(float)[found[seen] - 1]
    errors = volumes / (truth.volumes[seen] * truth.pixel_size_nm**3) - 1
    return Score(len(found), volume.count, int(seen.sum()), errors, seconds)


def linked(truth: SimulatedVolume, seed: int) -> Score:
    """True slices, linked."""
    slices = shuffled(truth.particles, np.random.default_rng(seed))
    start = time.perf_counter()
    volume = lm.link_slices(slices, truth.pixel_size_nm, truth.step_nm)
    return score(truth, volume, time.perf_counter() - start)


def necks(truth: SimulatedVolume, seed: int) -> Score:
    """True slices of the necks, linked; the error refers to their voxels."""
    slices = shuffled(truth.necks, np.random.default_rng(seed))
    start = time.perf_counter()
    volume = lm.link_slices(slices, truth.pixel_size_nm, truth.step_nm, waist=None, concept="neck")
    seconds = time.perf_counter() - start
    found = matches(volume.labels, truth.necks)
    seen = found > 0
    sizes = np.bincount(truth.necks.ravel(), minlength=len(found) + 1)[1:]
    errors = volume.table()["volume_voxels"].to_numpy(float)[found[seen] - 1] / sizes[seen] - 1
    return Score(len(found), volume.count, int(seen.sum()), errors, seconds)


def segmented(truth: SimulatedVolume, preset: str) -> Score:
    """Rendered slices, segmented by a model and linked."""
    assistant = lm.load_assistant(preset, device="cpu")
    stack = lm.read_stack(truth.pixels, truth.pixel_size_nm, truth.step_nm)
    start = time.perf_counter()
    volume = lm.segment_volume(assistant, stack, "segment all particles")
    return score(truth, volume, time.perf_counter() - start)


def row(name: str, scores: list[Score]) -> str:
    """One line of the table."""
    errors = np.abs(np.concatenate([one.errors for one in scores]))
    true, found, matched = (sum(getattr(one, key) for one in scores) for key in ("true", "found", "matched"))
    mean, high = (100 * errors.mean(), 100 * errors.max()) if len(errors) else (float("nan"),) * 2
    seconds = float(np.mean([one.seconds for one in scores]))
    share = 100 * matched / max(true, 1)
    return f"| {name} | {true} | {found} | {share:.1f} % | {mean:.2f} % | {high:.1f} % | {seconds:.2f} |"


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="Number of stacks of each case.")
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--preset", help="Also segment the rendered slices of one stack by this model.")
    parser.add_argument("--out", type=Path, help="Markdown file for the table.")
    args = parser.parse_args()
    shape = (args.slices, args.side, args.side)
    lines = [
        "# Volumes",
        "",
        f"Spheres in stacks of {args.slices} slices of {args.side} x {args.side} px; {args.seeds} stacks a row.",
        "",
        "| what | true | found | matched at IoU 0.5 | volume error, mean | largest | s per stack |",
        "|---|---|---|---|---|---|---|",
    ]
    every = {name: [simulate_volume(seed, shape, **case) for seed in range(args.seeds)] for name, case in CASES.items()}
    for name, truths in every.items():
        lines.append(row(f"true slices: {name}", [linked(truth, seed) for seed, truth in enumerate(truths)]))
    first = list(every.values())
    lines.append(row("true slices of necks", [necks(truth, seed) for seed, truth in enumerate(first[0] + first[2])]))
    if args.preset:
        lines.append(row(f"slices segmented by {args.preset} (one stack)", [segmented(first[0][0], args.preset)]))
    lines += [
        "",
        "- Volume error: against the exact volume of the sphere without the cap that a sintered neighbour has; of "
        "necks against their voxels. Mean and largest of the matched objects, absolute.",
        f"- {hardware()}; commit {commit() or 'unknown'}.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
