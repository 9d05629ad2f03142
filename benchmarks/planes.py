"""A plane of any size as OME-Zarr, segmented part by part: time and peak memory.

    python benchmarks/planes.py --side 8192                       # the preset micro
    python benchmarks/planes.py --side 30000 --stand-in           # a stand-in for the network: all but its time
    python benchmarks/planes.py --side 20000 --stand-in --batch   # through `batch` as well; both tables are compared

Each step runs in a process of its own, so that peak memory is measured per step. With ``--stand-in`` the pixels encode
the maps that a network would give, so that everything else runs as it does with one: reading, blending, the temporary
file, separation, measuring, writing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lisa_micro.evaluate.provenance import commit, hardware
from lisa_micro.evaluate.speed import peak_memory_gb

CELL, CHUNK = 2048, 1024
WORDS = "segment all particles"


def write(folder: Path, args: argparse.Namespace) -> dict:
    """Write the plane: one simulated field and its mirror images side by side."""
    import zarr

    if args.stand_in:
        field, count = encoded_discs(args.seed, CELL), 0
    else:
        from lisa_micro.sim import simulate_large

        scene = simulate_large(args.seed, (CELL, CELL), args.particles, args.radius)
        field = np.clip(scene.pixels * 60_000, 0, 65_535).astype(np.uint16)
        np.save(folder / "truth.npy", scene.particles)
        count = int(scene.particles.max())
    group = zarr.open_group(str(folder / "plane.zarr"), mode="w", zarr_format=3)
    array = group.create_array("0", shape=(args.side, args.side), dtype=field.dtype, chunks=(CHUNK, CHUNK))
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "yx"],
                "datasets": [
                    {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.2, 0.2]}]},
                ],
            }
        ],
    }
    for y in range(0, args.side, CELL):
        for x in range(0, args.side, CELL):
            part = field[:: -1 if y // CELL % 2 else 1, :: -1 if x // CELL % 2 else 1]
            array[y : y + CELL, x : x + CELL] = part[: args.side - y, : args.side - x]
    return {"field_particles": count, "bytes_per_px": field.dtype.itemsize}


def encoded_discs(seed: int, side: int) -> np.ndarray:
    """Discs, uint8: 0 is background; in a disc 100 at the edge to 250 in the middle."""
    rng = np.random.default_rng(seed)
    out = np.zeros((side, side), np.float32)
    for _ in range(125):
        r = rng.uniform(18, 60)
        x, y = rng.uniform(r, side - r, 2)
        window = np.s_[int(y - r) : int(y + r) + 2, int(x - r) : int(x + r) + 2]
        rows, columns = np.ogrid[window]
        depth = 1 - np.hypot(rows - y, columns - x) / r
        piece = out[window]
        piece[...] = np.maximum(piece, np.where(depth > 0, 0.4 + 0.6 * depth, 0)[: piece.shape[0], : piece.shape[1]])
    return np.rint(250 * out).astype(np.uint8)


class StandInEngine:
    """Gives the maps that the pixels encode."""

    def __init__(self):
        import torch

        from lisa_micro.language import DEFAULT_VOCABULARY

        config = SimpleNamespace(work_side=640, presence_threshold={}, mask_threshold={}, confidence=None)
        self.model = SimpleNamespace(config=config)
        self.vocabulary, self.code_names = DEFAULT_VOCABULARY, DEFAULT_VOCABULARY.names
        self.chat = SimpleNamespace(shortened=lambda words, most: words)
        self.device = torch.device("cpu")

    def encode(self, pixels, tokens=True):
        return SimpleNamespace(pixels=pixels, shape=pixels.shape, work=pixels.shape)

    def prefill_image(self, features):
        from lisa_micro.assistant.language_engine import KVCache

        return KVCache(None)

    def generate(self, cache, text, first):
        import torch

        from lisa_micro.assistant.language_engine import RawReply

        return RawReply("The particles are [SEG].", [], torch.zeros(1, 4)), 0

    def nearest_concept(self, states):
        return [0] * len(states)

    def decode_words(self, features, states):
        import torch
        from scipy.special import logit

        from lisa_micro.models.lisa.mask_head import MaskOutputs

        pixels = features.pixels
        mask = np.where(pixels > 0.2, 0.999, 0.001)
        distance = np.clip((pixels - 0.4) / 0.6, 0.001, 0.999)
        maps = [torch.tensor(logit(one)).float()[None] for one in (mask, distance, 0 * mask + 0.001)]
        return MaskOutputs(*maps, torch.full((1,), 3.0), torch.full((1,), 4.0))

    def decode_concept(self, features, number):
        return self.decode_words(features, None)

    def on_micrograph(self, maps, features, shape=None):
        return maps.numpy()


def _assistant(args: argparse.Namespace):
    import lisa_micro as lm
    from lisa_micro.protocols import Capabilities

    if not args.stand_in:
        return lm.load_assistant(args.preset, device="cpu")
    return SimpleNamespace(
        engine=StandInEngine(), preset="stand-in", capabilities=Capabilities(words=True, tiling=True),
        weights_sha256="0" * 64, device="cpu",
    )  # fmt: skip


def segment(folder: Path, args: argparse.Namespace) -> dict:
    """Segment the plane and write all files."""
    import lisa_micro as lm

    assistant = _assistant(args)
    before = peak_memory_gb()
    plane = lm.read_stack(folder / "plane.zarr").plane()
    stages: dict[str, float] = {}
    last = [time.perf_counter(), 0.0]

    def progress(what: str, done: int, total: int) -> None:
        now = time.perf_counter()
        stages[what] = stages.get(what, 0.0) + now - last[0]
        last[0] = now
        if now - last[1] > 20 or done == total:
            last[1] = now
            print(f"{what}: {done} of {total}, {peak_memory_gb():.2f} GB", file=sys.stderr, flush=True)

    start = time.perf_counter()
    answer = lm.segment_plane(assistant, plane, WORDS, scratch=folder, progress=progress)
    found = time.perf_counter() - start
    written = answer.save(folder / "results", force=True)
    labels = answer.segments[0].labels
    return {
        "seconds": found,
        "saving_s": time.perf_counter() - start - found,
        "stages": stages,
        "instances": answer.segments[0].count,
        "labels_gb": labels.nbytes / 1e9,
        "loaded_gb": before,
        "note": answer.notes[-1],
        "files_gb": sum(path.stat().st_size for path in written) / 1e9,
        **({} if args.stand_in else agreement(labels, np.load(folder / "truth.npy"))),
    }


def batch(folder: Path, args: argparse.Namespace) -> dict:
    """The same plane in a batch; needs the results of :func:`segment`, whose table is compared."""
    import pandas as pd

    import lisa_micro as lm
    from lisa_micro.batch import BatchOptions

    assistant = _assistant(args)
    shutil.rmtree(folder / "many", ignore_errors=True)
    start = time.perf_counter()
    done = lm.batch(
        folder / "plane.zarr", WORDS, folder / "many", "serial",
        assistant=lambda: assistant, options=BatchOptions(report=False),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    mine, alone = done.instances(), pd.read_csv(folder / "results" / "instances.csv")
    numbers = alone.select_dtypes("number").columns
    alike = len(mine) == len(alone) and all(np.allclose(mine[k], alone[k], equal_nan=True) for k in numbers)
    return {
        "seconds": seconds,
        "done": done.counts.done,
        "instances": len(mine),
        "table as of segment": alike,
        "columns compared": len(numbers),
    }


def agreement(labels, truth: np.ndarray) -> dict:
    """Recall and IoU of the particles that lie whole within one field."""
    from lisa_micro.metrics import match

    edge = np.concatenate([truth[0], truth[-1], truth[:, 0], truth[:, -1]])
    whole = np.setdiff1d(np.unique(truth), [0, *np.unique(edge)])
    hits, ious, total = 0, [], 0
    for y in range(0, labels.shape[0] - CELL + 1, CELL):
        for x in range(0, labels.shape[1] - CELL + 1, CELL):
            seen = labels.read(y, y + CELL, x, x + CELL)
            seen = seen[:: -1 if y // CELL % 2 else 1, :: -1 if x // CELL % 2 else 1]
            pairs = [
                (t, iou) for _, t, iou in match(np.unique(seen, return_inverse=True)[1].reshape(seen.shape), truth)
            ]
            good = [iou for t, iou in pairs if t in whole]
            hits, total = hits + len(good), total + len(whole)
            ious += good
    return {"recall": hits / max(total, 1), "iou": float(np.mean(ious)) if ious else 0.0, "compared": total}


def run(step: str, folder: Path, arguments: list[str]) -> dict:
    """Run one step in a new process; returns its result with ``peak_gb``."""
    command = [sys.executable, __file__, *arguments, "--step", step, "--work", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Parse the arguments; run both steps, or one of them with ``--step``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--particles", type=int, default=125, help="In each field of 2048 x 2048 px.")
    parser.add_argument("--radius", type=float, default=36.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--stand-in", action="store_true", help="A stand-in for the network.")
    parser.add_argument("--batch", action="store_true", help="Segment the plane in a batch as well.")
    parser.add_argument("--work", type=Path, help="Folder to keep the plane and the results in.")
    parser.add_argument("--step", choices=("write", "segment", "batch"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        result = {"write": write, "segment": segment, "batch": batch}[args.step](args.work, args)
        print(json.dumps({**result, "peak_gb": peak_memory_gb()}))
        return
    folder = args.work or Path(tempfile.mkdtemp(prefix="lisa-micro-plane-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        written = run("write", folder, sys.argv[1:])
        found = run("segment", folder, sys.argv[1:])
        many = run("batch", folder, sys.argv[1:]) if args.batch else {}
    finally:
        if args.work is None:
            shutil.rmtree(folder, ignore_errors=True)
    name = "stand-in" if args.stand_in else args.preset
    print(f"{args.side} x {args.side} px, {written['bytes_per_px']} byte per px, OME-Zarr; {name}")
    for key, value in found.items():
        print(f"  {key}: {value}")
    for key, value in many.items():
        print(f"  batch: {key}: {value}")
    print(f"  {hardware()}; commit {commit() or 'unknown'}")


if __name__ == "__main__":
    main()
