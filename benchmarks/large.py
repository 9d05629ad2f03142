"""Large micrographs: whole-scaled, tiled and cascade on one simulated micrograph with exact truth.

    python benchmarks/large.py                                  # 8192 x 8192, 2000 particles: some ten minutes
    python benchmarks/large.py --side 2048 --particles 125      # the same in small

Every step runs in a process of its own, so that its peak memory is its own. The table goes to the standard output and,
with what it was measured on, to ``--out``; ``--work`` keeps the pixels, the labels and pictures of the seams.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lisa_micro.evaluate.provenance import commit, hardware

WAYS = ("off", "tiled", "cascade")
NAMES = {"off": "whole, scaled", "tiled": "tiled", "cascade": "cascade"}
WORDS = "segment all particles"
LEAST_PART = 0.1
"""Of an object that must lie on either side of a line: one that only grazes an object meets its outline, which is never
found to the pixel."""


# ------------------------------------------------------------------------------------------- steps of their own


def simulate(folder: Path, args: argparse.Namespace) -> dict:
    """Pixels and true particles as ``.npy``."""
    from lisa_micro.sim import simulate_large

    shape = (args.side, args.side)
    scene = simulate_large(
        args.seed, shape, args.particles, args.radius, args.modality, progress=_shown("Simulating window")
    )
    np.save(folder / "pixels.npy", scene.pixels)
    np.save(folder / "particles.npy", scene.particles)
    return {"particles": int(scene.particles.max()), "pixel_size_nm": scene.pixel_size_nm}


def segment(folder: Path, args: argparse.Namespace) -> dict:
    """One way of looking; its labels as ``.npy``."""
    import torch

    import lisa_micro as lm

    assistant = lm.load_assistant(args.preset, device="cpu")
    image = lm.Micrograph(np.load(folder / "pixels.npy"), 0.2)
    last = [0.0]

    def progress(what: str, done: int, total: int) -> None:
        if done == total or time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    sizes = {"tile": args.tile, "halo": args.halo} if args.way == "tiled" else {}
    start, worked = time.perf_counter(), time.process_time()
    answer = lm.segment_large(assistant, image, WORDS, tiling=args.way, progress=progress, **sizes)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    labels = answer.segments[0].labels if answer.segments else np.zeros(image.shape, np.int32)
    np.save(folder / f"{args.way}.npy", labels)
    return {
        "seconds": seconds,
        "processor_s": worked,
        "stages": dict(answer.seconds),
        "threads": torch.get_num_threads(),
        "notes": [note for note in answer.notes if "px" in note],
    }


def score(folder: Path, args: argparse.Namespace) -> dict:
    """Objects found, and what the seams do to them."""
    from lisa_micro.geometry import tiles
    from lisa_micro.metrics import match, overlap

    labels, truth = np.load(folder / f"{args.way}.npy"), np.load(folder / "particles.npy")
    cores = np.array([part.core for part in tiles(truth.shape, args.tile, args.halo)])
    seams = [np.unique(cores[:, k])[1:] for k in (0, 2)]  # rows, columns
    between = [np.unique((cores[:, k] + cores[:, k + 1]) // 2) for k in (0, 2)]
    best = overlap(labels, truth).iou.max(axis=0, initial=0.0)
    found = len(match(labels, truth))
    predicted, true = int(labels.max()), int(truth.max())
    cut, crossing = cut_instances(labels, truth, *seams)
    control, others = cut_instances(labels, truth, *between)
    _picture(folder, args, seams)
    return {
        "predicted": predicted,
        "recall": found / max(true, 1),
        "precision": found / max(predicted, 1),
        "ap50": found / max(predicted + true - found, 1),
        "iou": float(best.mean()) if true else float("nan"),
        "cut": cut,
        "crossing": crossing,
        "control": control,
        "control_crossing": others,
    }


def cut_instances(labels: np.ndarray, truth: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[int, int]:
    """True instances that a line cuts: along more than half of the line's length in them, what was found on one side is
    not what was found on the other.

    Args:
        labels, truth: ``(H, W)`` labels.
        rows, columns: lines lie before these rows and columns.

    Returns:
        instances cut, and instances that a line crosses with at least :data:`LEAST_PART` of them on either side.
    """
    from scipy import ndimage

    boxes = ndimage.find_objects(truth)
    cut, crossed = set(), set()
    for axis, places in enumerate((rows, columns)):
        for at in places:
            near, far = np.take(truth, at - 1, axis), np.take(truth, at, axis)
            both = (near == far) & (near > 0)
            differ = both & (np.take(labels, at - 1, axis) != np.take(labels, at, axis))
            inside = np.bincount(far[both])
            for k in np.flatnonzero(inside):
                own = (truth[boxes[k - 1]] == k).sum(axis=1 - axis)  # pixels in each row, or column, of its box
                before = own[: at - boxes[k - 1][axis].start].sum() / own.sum()
                if LEAST_PART <= before <= 1 - LEAST_PART:
                    crossed.add(k)
                    if np.count_nonzero(differ & (far == k)) > inside[k] / 2:
                        cut.add(k)
    return len(cut), len(crossed)


def _picture(folder: Path, args: argparse.Namespace, seams: list[np.ndarray]) -> None:
    """Micrograph and labels side by side around a crossing of seams in the middle, the seams as ticks at the edge."""
    from PIL import Image

    import lisa_micro as lm

    labels, pixels = np.load(folder / f"{args.way}.npy", "r"), np.load(folder / "pixels.npy", "r")
    half = 450
    y, x = (int(places[len(places) // 2]) if len(places) else args.side // 2 for places in seams)
    window = np.s_[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
    grey = (lm.to_unit_range(np.array(pixels[window])) * 255).astype(np.uint8)
    colours = np.random.default_rng(0).integers(60, 256, (int(labels.max()) + 1, 3)).astype(np.uint8)
    colours[0] = 0
    right = colours[labels[window]]
    for places, axis in zip(seams, (0, 1), strict=True):
        for at in places - (window[axis].start or 0):
            if 0 <= at < right.shape[axis]:
                ticks = np.swapaxes(right, 0, axis)
                ticks[at, :12] = ticks[at, -12:] = 255
    Image.fromarray(np.hstack([np.repeat(grey[..., None], 3, 2), right])).save(folder / f"seams_{args.way}.png")


def _shown(what: str):
    def show(done: int, total: int) -> None:
        if done == total or done % 16 == 0:
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return show


# --------------------------------------------------------------------------------------------------- the whole


def run_step(step: str, folder: Path, arguments: list[str], way: str = "") -> dict:
    """One step in a fresh process; what it gives, with its ``peak_gb``."""
    command = [sys.executable, __file__, *arguments, "--step", step, "--way", way, "--work", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(args: argparse.Namespace, scene: dict, rows: list[dict]) -> str:
    """The table as Markdown."""
    head = ["way", "time, s", "processor time, s", "peak memory, GB", "found", "recall", "precision", "AP50"]
    head += ["mean object IoU", "cut by a seam", "cut by a line between seams"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [NAMES[row["way"]], f"{row['seconds']:.0f}", f"{row['processor_s']:.0f}"]
        cells += [f"{row['peak_gb']:.2f}", str(row["predicted"])]
        cells += [f"{row[key]:.3f}" for key in ("recall", "precision", "ap50", "iou")]
        cells += [f"{row['cut']} of {row['crossing']}", f"{row['control']} of {row['control_crossing']}"]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {NAMES[row['way']]}: {' '.join(row['notes'])}" for row in rows if row["notes"]]
    return "\n".join(
        [
            "# Large micrographs",
            "",
            f'"{WORDS}" on a simulated {args.modality} micrograph of {args.side} x {args.side} px with '
            f"{scene['particles']} particles of about {args.radius:g} px radius (`simulate_large`, seed {args.seed}; "
            f"preset `{args.preset}`).",
            "",
            *lines,
            "",
            *notes,
            "- Found, recall, precision: instances matched one to one at an IoU of 0.5. AP50: TP / (TP + FP + FN). "
            "Mean object IoU: of every true particle with the instance that covers it best, 0 where none does.",
            f"- Cut by a seam: of the true particles that a seam of the tiles ({args.tile} px, halo {args.halo} px) "
            f"crosses, with at least {100 * LEAST_PART:.0f} % on either side, those in which the labels on both sides "
            "of the seam differ along more than half of it. The last column is the same for lines half-way between "
            "the seams, where nothing is put together: particles that are divided wrongly are so anywhere.",
            f"- Time: of the request, model loaded; {rows[0]['threads']} thread(s). Processor time: of all threads, "
            "whatever else the machine does. Peak memory: resident, of the whole process, 1e9 bytes; the simulation "
            f"took {scene['peak_gb']:.2f} GB.",
            f"- {hardware()}, load average {os.getloadavg()[0]:.1f}; Python {platform.python_version()}; "
            f"commit {commit() or 'unknown'}. {args.remark}".rstrip(),
            "",
        ]
    )


def main() -> None:
    """Reads the arguments; a step of its own with ``--step``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--radius", type=float, default=36.0)
    parser.add_argument("--modality", default="BF-TEM")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--tile", type=int, default=640)
    parser.add_argument("--halo", type=int, default=96)
    parser.add_argument("--out", type=Path, help="Markdown file for the table.")
    parser.add_argument("--remark", default="", help="A sentence about the machine, for the record.")
    parser.add_argument("--work", type=Path, help="Folder to keep pixels, labels and pictures in.")
    parser.add_argument("--step", choices=("simulate", "segment", "score"), help=argparse.SUPPRESS)
    parser.add_argument("--way", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        from lisa_micro.evaluate.speed import peak_memory_gb

        steps = {"simulate": simulate, "segment": segment, "score": score}
        result = steps[args.step](args.work, args)
        print(json.dumps({**result, "peak_gb": peak_memory_gb()}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        arguments = sys.argv[1:]
        scene = run_step("simulate", folder, arguments)
        rows = []
        for way in WAYS:
            seen = run_step("segment", folder, arguments, way)
            rows.append({"way": way, **run_step("score", folder, arguments, way), **seen})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        text = report(args, scene, rows)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
