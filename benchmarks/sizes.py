"""Measured sizes against simulated truth: bias, spread and share found by size and noise.

    python benchmarks/sizes.py --out sizes                  # sizes.md, sizes.csv, sizes.json, and sizes.jsonl to resume
    python benchmarks/sizes.py --out sizes --minutes 10     # stop after ten minutes; the same command continues
    python benchmarks/sizes.py --out sizes --calibrate lisa_micro/weights/micro/measuring_error.json
    python benchmarks/sizes.py --sizes 20 --scenes 2 --pictures seen    # with pictures of what was measured

Discs in groups of one to three, sintered, some with irregular contours, in all three modalities. The same scenes are
drawn at every noise level (a factor on the detector's noise). One request segments particles and necks; a scene whose
request was read otherwise is counted and left out. Particles are matched at an IoU of 0.5, necks by the middle of their
chord; what the border cuts is left out, but for the counts. Seeds from 8,000,000 on: nothing is trained on them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lisa_micro as lm
from lisa_micro.evaluate.provenance import commit, hardware
from lisa_micro.measure.uncertainty import error_components
from lisa_micro.metrics import match
from lisa_micro.models.checkpoints import sha256
from lisa_micro.models.lisa.adapter import weights_folder
from lisa_micro.models.lisa.measuring_errors import CALIBRATED_PARTS, FILE
from lisa_micro.sim import MODALITIES, Scene
from lisa_micro.sim.contacts import Bond, find_bonds
from lisa_micro.sim.layouts import Layout, grow_cluster, place_clusters
from lisa_micro.sim.raster import Warp, no_warp, random_warp, rasterise
from lisa_micro.sim.scene import compose

WORDS = "segment the particles and the necks"
SIZES = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
NOISE = (0.5, 1.0, 2.0, 4.0)
FIRST_SEED = 8_000_000
FILLED, MOST = 0.25, 60
"""Share of the picture that particles are to cover, and the largest number of them."""
SPREAD = 0.1
"""Standard deviation of the logarithm of the radii of a scene."""
QUANTITIES = {"diameter": "particles", "area": "particles", "neck width": "necks", "x/R": "necks"}
COLUMNS = {
    "particle": {"diameter": "diameter", "area": "area"},
    "neck": {"neck_width": "neck width", "neck_ratio": "x/R"},
}
CELLS = (
    "Cells: bias ± spread in per cent of the true value,\n"
    "and the share that was found. The spread is the standard deviation of one instance, of a count that of one\n"
    "scene. Two joined particles may count as one that is too large; the CSV file holds the median as well."
)
LEAST = 20
"""Instances that a size needs to be in the calibration."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Geometry:
    """Bodies, necks and warp of a scene."""

    layout: Layout
    warp: Warp
    shape: tuple[int, int]


def simulate(size: float, noise: float, seed: int) -> tuple[Scene, np.ndarray]:
    """A scene with particles of about ``size`` px, and the exact area in px of each labelled particle."""
    place, look = (np.random.default_rng(s) for s in np.random.SeedSequence([seed, round(size)]).spawn(2))
    side, radius = (512 if size <= 50 else 640), size / 2
    ratio, shrink = place.uniform(0.25, 0.7), place.uniform(0, 1)
    room = int(np.clip(FILLED * side**2 / (np.pi * radius**2), 3, MOST))
    clusters: list[list[tuple[float, float, float]]] = []
    while sum(map(len, clusters)) < room:
        radii = radius * np.exp(place.normal(0, SPREAD, int(place.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))))
        clusters.append(grow_cluster(place, radii, ratio, shrink, "chain"))
    bodies = place_clusters(place, (side, side), clusters)
    warp = random_warp(place, radius) if seed % 2 else no_warp()
    geometry = Geometry(Layout(bodies, find_bonds(bodies, ratio, place, 0.2)), warp, (side, side))
    modality = MODALITIES[seed % len(MODALITIES)]
    scene = compose(geometry.layout, warp, geometry.shape, radius, modality, look, None, 1.0, seed, {}, noise)
    return scene, exact_areas(scene, geometry, int(np.clip(np.ceil(40 / size), 1, 5)))


def exact_areas(scene: Scene, geometry: Geometry, fine: int) -> np.ndarray:
    """``(n,)`` px: visible area of particle k in entry k - 1, counted in pixels ``fine`` times as small."""
    bodies, bonds, warp = geometry.layout.bodies, geometry.layout.bonds, geometry.warp
    shift = (0.5 / fine) - 0.5  # pixel centres are whole numbers in both grids
    waves = warp.waves.copy()
    waves[:, 2] += shift * (waves[:, 0] + waves[:, 1])
    waves[:, :2] /= fine
    waves[:, 3:] *= fine
    finer = [replace(b, x=fine * (b.x - shift), y=fine * (b.y - shift), a=fine * b.a, b=fine * b.b) for b in bodies]
    wider = [Bond(bond.i, bond.j, fine * bond.x, fine * bond.u, fine * bond.rho) for bond in bonds]
    height, width = geometry.shape
    labels = rasterise(finer, wider, (fine * height, fine * width), Warp(waves)).labels
    areas = np.bincount(labels.ravel(), minlength=len(bodies) + 1)[1:] / fine**2
    middles = warp.to_image(np.array([(body.x, body.y) for body in bodies]))
    apart = np.hypot(*(scene.centres[:, None] - middles[None]).transpose(2, 0, 1))
    return areas[apart.argmin(axis=1)]


def measure(assistant: lm.Assistant, size: float, noise: float, seed: int, pictures: Path | None) -> Row:
    """Segment a scene and compare: pairs of (true, measured) values of what was found, and how many there are."""
    scene, areas = simulate(size, noise, seed)
    answer = assistant.ask(lm.Micrograph(scene.pixels, 1.0), WORDS)
    row: Row = {"size": size, "noise": noise, "seed": seed, "modality": scene.modality, "read": True}
    asked = {target.concept for target in answer.result.program.targets} if answer.result else set()
    if asked != {"particle", "neck"}:
        return row | {"read": False}
    found = {segment.concept: segment for segment in answer.segments}
    if pictures is not None:
        _picture(pictures / f"{size:g}_{noise:g}_{seed}.png", scene, found)
    particles = found.get("particle")
    labels = np.zeros(scene.shape, np.int32) if particles is None else particles.labels
    edge = np.concatenate([scene.particles[0], scene.particles[-1], scene.particles[:, 0], scene.particles[:, -1]])
    whole = np.setdiff1d(np.arange(1, int(scene.particles.max(initial=0)) + 1), edge)
    row["counts"] = [int(scene.particles.max(initial=0)), int(labels.max(initial=0))]
    measured = np.zeros(0) if particles is None else particles.table()["area_px2"].to_numpy()
    pairs = {t: measured[p - 1] for p, t, _ in match(labels, scene.particles)}
    row["particles"] = [[float(areas[t - 1]), float(pairs.get(t, np.nan))] for t in whole]
    row["necks"] = neck_pairs(scene, found.get("neck"))
    row["neck counts"] = [len(scene.neck_table), 0 if "neck" not in found else found["neck"].count]
    return row


def neck_pairs(scene: Scene, found: lm.Segmentation | None) -> list[list[float]]:
    """For each true neck: true width, measured width, true x/R, measured x/R; NaN of one that was not found."""
    true = [row for row in scene.neck_table if not row["at_border"]]
    out = [[2 * row["x_px"], np.nan, row["x_over_R"], np.nan] for row in true]
    if found is None or not true:
        return out
    table = found.table()
    places = table[["centroid_x_px", "centroid_y_px"]].to_numpy()
    apart = np.hypot(*(np.array([(row["cx"], row["cy"]) for row in true])[:, None] - places[None]).transpose(2, 0, 1))
    for k, m in zip(*np.unravel_index(np.argsort(apart, axis=None), apart.shape), strict=True):
        near = apart[k, m] <= max(out[k][0] / 2, 2.0)
        if near and np.isnan(out[k][1]):
            out[k][1], out[k][3] = float(table["neck_width_px"][m]), float(table["neck_ratio"][m])
            apart[:, m] = np.inf
    return out


def _picture(path: Path, scene: Scene, found: dict[str, lm.Segmentation]) -> None:
    """The micrograph, the contours found and the true labels side by side."""
    from PIL import Image

    from lisa_micro.viz.overlay import draw_overlay

    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.repeat((255 * scene.pixels).astype(np.uint8)[..., None], 3, axis=2)
    panes = [grey]
    for labels in ([one.labels for one in found.values()], [scene.particles, scene.necks]):
        panes.append(draw_overlay(scene.pixels, labels, enlarge=False) if labels else grey)
    Image.fromarray(np.hstack(panes)).save(path)


def run(args: argparse.Namespace, journal: Path) -> list[Row]:
    """Measure the scenes that the journal does not hold yet, all sizes and levels in turn, until the time is up."""
    rows: dict[tuple[float, float, int], Row] = {}
    weights = parts_of(args.preset)
    if journal.is_file():
        known = [row for row in map(json.loads, journal.read_text().splitlines()) if row["weights"] == weights]
        rows = {(row["size"], row["noise"], row["seed"]): row for row in known}
    todo = [
        (size, noise, FIRST_SEED + k)
        for k in range(2 * args.scenes)
        for size in args.sizes
        for noise in args.noise
        if k < args.scenes * (2 if size >= 100 else 1)  # few large particles find room in a scene
    ]
    missing = [one for one in todo if one not in rows]
    if missing:
        assistant = lm.load_assistant(args.preset, device="cpu")
        deadline = time.monotonic() + 60 * args.minutes
        for number, one in enumerate(missing):
            if time.monotonic() > deadline:
                print(f"Stopped with {len(missing) - number} scenes left; the same command continues.")
                break
            rows[one] = measure(assistant, *one, args.pictures) | {"weights": weights}
            with journal.open("a") as file:
                file.write(json.dumps(rows[one]) + "\n")
    return [rows[one] for one in todo if one in rows]


def nominal(size: float, sizes: tuple[float, ...]) -> float:
    """The size of the table that is nearest on a logarithmic scale."""
    return min(sizes, key=lambda one: abs(np.log(one / size)))


def pairs_of(
    rows: list[Row], quantity: str, size: float, sizes: tuple[float, ...]
) -> Iterator[tuple[int, list[float]]]:
    """Of the instances of one size: number of the scene, and [size, true, measured]; measured is NaN if not found."""
    for scene, row in enumerate(rows):
        if QUANTITIES[quantity] == "particles" and row["size"] == size:
            for area, found in row["particles"]:
                diameters = [2 * float(np.sqrt(one / np.pi)) for one in (area, found)]
                yield scene, [diameters[0], *(diameters if quantity == "diameter" else (area, found))]
        elif QUANTITIES[quantity] == "necks":
            for width, found, ratio, found_ratio in row["necks"]:
                if nominal(width, sizes) == size:
                    yield scene, [width, *((width, found) if quantity == "neck width" else (ratio, found_ratio))]


def table_rows(rows: list[Row], sizes: tuple[float, ...], noise: tuple[float, ...]) -> list[Row]:
    """One row for each quantity, size and noise level."""
    out: list[Row] = []
    for level in noise:
        mine = [row for row in rows if row["noise"] == level]
        for size in sizes:
            for quantity in QUANTITIES:
                pairs = [pair for _, pair in pairs_of(mine, quantity, size, sizes)]
                if len(pairs) >= LEAST / 2:
                    out.append({"quantity": quantity, "size_px": size, "noise": level, **summary(np.array(pairs))})
            counts = np.array([row["counts"] for row in mine if row["size"] == size and sum(row["counts"])], float)
            if len(counts):
                share = counts[:, 1].sum() / max(counts[:, 0].sum(), 1)
                both = np.column_stack([np.full(len(counts), size), np.maximum(counts, [1, 0])])
                numbers = summary(both) | {"true": int(counts[:, 0].sum()), "found_share": share}
                out.append({"quantity": "count", "size_px": size, "noise": level, **numbers})
    return out


def summary(pairs: np.ndarray) -> Row:
    """Bias and spread of ``(n, 3)`` [size, true, measured], per cent of the true value."""
    found = pairs[np.isfinite(pairs[:, 2])]
    error = 100 * (found[:, 2] / found[:, 1] - 1)
    return {
        "true": len(pairs), "found_share": len(found) / len(pairs), "n": len(found),
        "bias_percent": float(error.mean()) if len(found) else float("nan"),
        "spread_percent": float(error.std(ddof=1)) if len(found) > 1 else float("nan"),
        "median_percent": float(np.median(error)) if len(found) else float("nan"),
    }  # fmt: skip


def calibration(rows: list[Row], sizes: tuple[float, ...], preset: str) -> Row:
    """Content of the file with a preset's measuring error: see :mod:`lisa_micro.measure.uncertainty`."""
    concepts: Row = {}
    for concept, columns in COLUMNS.items():
        concepts[concept] = {"size": next(iter(columns)), "properties": {}}
        for column, quantity in columns.items():
            points = []
            for size in sizes:
                seen = [(k, *pair) for k, pair in pairs_of(rows, quantity, size, sizes) if np.isfinite(pair[2])]
                if len(seen) >= LEAST:
                    scene, at, true, found = np.array(seen).T
                    points.append([float(np.exp(np.log(at).mean())), *error_components(found / true - 1, scene)])
            names = ("sizes", "bias", "between", "within")
            curve = np.array(points).T.reshape(len(names), -1)
            concepts[concept]["properties"][column] = dict(zip(names, curve.round(4).tolist(), strict=True))
    concepts["particle"]["count"] = count_curve(rows, sizes)
    return {
        "format": 1,
        "parts": parts_of(preset),
        "concepts": concepts,
        "source": {**provenance(preset), "noise": sorted({row["noise"] for row in rows}), "scenes": len(rows)},
    }


def parts_of(preset: str) -> dict[str, str]:
    """sha256 of the calibrated parts of a preset, as far as its folder has them."""
    folder = weights_folder(preset)
    files = {} if folder is None else {part: folder / f"{part}.safetensors" for part in CALIBRATED_PARTS}
    return {part: sha256(file) for part, file in files.items() if file.is_file()}


def count_curve(rows: list[Row], sizes: tuple[float, ...]) -> Row:
    """Relative bias and dispersion of the number of particles."""
    curve: Row = {"sizes": [], "bias": [], "dispersion": []}
    for size in sizes:
        true, found = np.array([row["counts"] for row in rows if row["size"] == size], float).reshape(-1, 2).T
        true, found = true[true > 0], found[true > 0]
        if len(true):
            bias = found.sum() / true.sum() - 1
            curve["sizes"].append(size)
            curve["bias"].append(round(float(bias), 4))
            curve["dispersion"].append(round(float(np.mean((found - (1 + bias) * true) ** 2 / true)), 4))
    return curve


def provenance(preset: str) -> Row:
    """What was run, and on what."""
    return {
        "benchmark": "benchmarks/sizes.py", "preset": preset, "first_seed": FIRST_SEED,
        "hardware": hardware(), "threads": torch.get_num_threads(), "commit": commit() or "unknown",
    }  # fmt: skip


def report(table: list[Row], rows: list[Row], args: argparse.Namespace, unread: int) -> str:
    """The tables as Markdown."""
    about = (__doc__ or "").split("\n\n", 2)[2].strip()
    lines = ["# Measured sizes", "", about, "", f'Request: "{WORDS}". {CELLS}', ""]
    cells = {(row["quantity"], row["size_px"], row["noise"]): row for row in table}
    for quantity in (*QUANTITIES, "count"):
        by = "width of the neck" if QUANTITIES.get(quantity) == "necks" else "diameter"
        head = [f"{by}, px", "n at noise 1", *(f"noise {level:g}" for level in args.noise)]
        lines += [
            f"## {quantity[0].upper()}{quantity[1:]}",
            "",
            "| " + " | ".join(head) + " |",
            "|" + "---|" * len(head),
        ]
        for size in args.sizes:
            shown = [cells.get((quantity, size, level)) for level in args.noise]
            if any(shown):
                n = cells.get((quantity, size, 1.0), {}).get("n", "")
                lines.append(f"| {size:g} | {n} | " + " | ".join(_cell(one) for one in shown) + " |")
        lines.append("")
    lines += [f"- {range_text(cells, args.sizes, name)}" for name in ("diameter", "neck width")]
    lines += [
        f"- {len(rows)} scenes, seeds from {FIRST_SEED}; {unread} more were left out: the request was read otherwise.",
        f"- Preset `{args.preset}`, {torch.get_num_threads()} thread(s); {hardware()}, load average "
        f"{os.getloadavg()[0]:.1f}; commit {commit() or 'unknown'}.",
        "",
    ]
    return "\n".join(lines)


def range_text(cells: dict[tuple[str, float, float], Row], sizes: tuple[float, ...], quantity: str) -> str:
    """The largest bias from 10 to 100 px at noise 1, in words."""
    rows = [cells[quantity, size, 1.0] for size in sizes if 10 <= size <= 100 and (quantity, size, 1.0) in cells]
    if not rows:
        return f"No {quantity} from 10 to 100 px at noise 1 was measured."
    worst = [max((row[name] for row in rows), key=abs) for name in ("bias_percent", "median_percent")]
    return f"Largest bias of the {quantity} from 10 to 100 px at noise 1: {worst[0]:+.1f} %, median {worst[1]:+.1f} %."


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row['bias_percent']:+.1f} ± {row['spread_percent']:.1f} ({100 * row['found_share']:.0f} %)"


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES, help="typical diameters, px")
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE, help="factors on the detector's noise")
    parser.add_argument("--scenes", type=int, default=12, help="for each size and level; twice as many from 100 px on")
    parser.add_argument("--minutes", type=float, default=120.0, help="begin no scene after this time")
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--out", type=Path, default=Path("sizes"), help="files, without suffix")
    parser.add_argument("--calibrate", type=Path, metavar=FILE, help="write the preset's measuring error")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the scenes")
    args = parser.parse_args()
    args.sizes, args.noise = tuple(args.sizes), tuple(args.noise)
    rows = run(args, args.out.with_suffix(".jsonl"))
    read = [row for row in rows if row["read"]]
    table = table_rows(read, args.sizes, args.noise)
    text = report(table, read, args, len(rows) - len(read))
    args.out.with_suffix(".md").write_text(text, encoding="utf-8")
    with args.out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]) if table else ["quantity"])
        writer.writeheader()
        writer.writerows(table)
    record = {**provenance(args.preset), "scenes": len(read), "not_read": len(rows) - len(read), "rows": table}
    args.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    if args.calibrate:
        args.calibrate.write_text(json.dumps(calibration(read, args.sizes, args.preset), indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
