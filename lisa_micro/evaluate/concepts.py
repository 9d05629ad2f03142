"""Suite ``concepts``: what the mask decoder segments of each concept, prompted by its class embedding, and objects in
boxes.

Materials by parent, EMPS, and simulated scenes of kinds that training knows, from seeds that it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lisa_micro import metrics
from lisa_micro.datasets.materials import read_materials
from lisa_micro.datasets.readers import read_emps
from lisa_micro.evaluate.context import Context
from lisa_micro.evaluate.results import Metric, SuiteResult, mean
from lisa_micro.evaluate.seeing import Eyes, Seen, best_and_worst, picture
from lisa_micro.geometry import boxes_from_labels
from lisa_micro.metrics import Counts
from lisa_micro.sim import simulate_scene
from lisa_micro.sim.materials import MATERIAL_KINDS, simulate_material
from lisa_micro.sim.overlay import random_overlay
from lisa_micro.types import Micrograph

SIMULATED_SEED = 5_100_000
"""Of the first simulated scene of each kind; training uses seeds below 5 000 000."""
SCENES = 10
"""Of each kind."""
SIDE = 512
CROWD = 0.08
"""Share of a box that other objects cover from which on its object is in a crowd."""
BOXES = 10
"""Boxes of an EMPS micrograph."""


@dataclass(frozen=True)
class Task:
    """One line of the suite's table.

    Attributes:
        key: of the figure. concept: asked for. source: materials set, or simulated kind with the prefix ``sim:``.
        score: ``"giou"``, ``"instances"`` (TP/(TP+FP+FN) at 0.5, pooled), ``"found"`` (recall at IoU 0.5 of instances
            whose equivalent diameter lies in ``diameters``), or ``"line"`` (F1 of the centre line within ``tolerance``
            px).
        must, aim: limits.
        tiled: whether micrographs larger than the tower's input are seen in tiles for the figure; the table gives both.
    """

    key: str
    concept: str
    source: str
    score: str
    must: float
    aim: float
    tolerance: float = 0.0
    diameters: tuple[float, float] = (0.0, np.inf)
    tiled: bool = True


TASKS = (
    Task("precipitate_superalloy", "precipitate", "nasa-superalloy", "giou", 0.88, 0.93),
    Task("precipitate_carbides", "precipitate", "carbides", "giou", 0.65, 0.8),
    Task("crack", "crack", "nasa-coating", "line", 0.6, 0.75, tolerance=4),
    Task("layer", "layer", "nasa-coating", "giou", 0.8, 0.9, tiled=False),
    Task("grain_boundary", "grain_boundary", "grain-boundaries", "line", 0.6, 0.75, tolerance=3),
    Task("grain", "grain", "grains", "instances", 0.45, 0.6),
    Task("agglomerate", "agglomerate", "nanocomposite", "giou", 0.7, 0.8),
    Task("powder_particle", "particle", "powder", "instances", 0.75, 0.85, tiled=False),
    Task("satellite", "satellite", "powder", "instances", 0.4, 0.55),
    Task("dislocation_loop", "dislocation_loop", "dislocation-loops", "giou", 0.35, 0.5),
    Task("sim_fibre", "fibre", "sim:fibres", "giou", 0.8, 0.9),
    Task("sim_core", "core", "sim:core_shell", "giou", 0.8, 0.9),
    Task("sim_shell", "shell", "sim:core_shell", "giou", 0.7, 0.9),
    Task("sim_pore", "pore", "sim:dense_matrix", "giou", 0.8, 0.9),
    Task("sim_crack", "crack", "sim:dense_matrix", "line", 0.6, 0.75, tolerance=4),
    Task("sim_hole", "hole", "sim:holes", "giou", 0.8, 0.9),
    Task("sim_supported", "particle", "sim:supported", "giou", 0.7, 0.9),
    Task("sim_small", "particle", "sim:small_dense", "found", 0.85, 0.95, diameters=(6, 10)),
    Task("sim_crowded", "particle", "sim:overlapping_facets", "found", 0.9, 0.95, diameters=(15, 50)),
    Task("sim_agglomerates", "particle", "sim:agglomerate", "found", 0.9, 0.95, diameters=(15, 50)),
    Task("sim_grain", "grain", "sim:polycrystal", "instances", 0.45, 0.6),
    Task("sim_precipitate", "precipitate", "sim:precipitates", "giou", 0.7, 0.8),
)
"""Lines of the table of the project's limits, and simulated ones beside them."""

MEANING = {
    "giou": "Mean over micrographs of the IoU of the masks.",
    "instances": "TP / (TP + FP + FN), instances matched one to one at IoU >= 0.5, summed over micrographs.",
    "found": "Share of the true instances of these diameters that are matched at IoU >= 0.5.",
    "line": "F1 of the centre lines within the tolerance, mean over micrographs.",
}


def cases(task: Task, context: Context) -> Iterator[tuple[str, Micrograph, np.ndarray]]:
    """Name, micrograph and true labels ``(H, W)`` of a task; micrographs that do not label the concept are left out,
    and simulated ones that do not show it."""
    if not task.source.startswith("sim:"):
        examples = read_materials(task.source, "validation", context.data)
        for example in context.limited(examples):
            if task.concept in example.concept_labels:
                yield example.name, example.micrograph, example.concept_labels[task.concept]
        return
    kind, shown = task.source.removeprefix("sim:"), 0
    for seed in range(SIMULATED_SEED, SIMULATED_SEED + 4 * SCENES):
        if kind in MATERIAL_KINDS:
            scene = simulate_material(seed, kind, (SIDE, SIDE))
            pixels, labels = scene.pixels, scene.labels.get(task.concept)
        else:
            particles = simulate_scene(seed, (SIDE, SIDE), kind=kind)
            pixels, labels = particles.pixels, particles.labels(task.concept)
        if labels is None or not labels.any():
            continue
        yield f"{kind} {seed}", Micrograph(pixels), labels
        shown += 1
        if shown >= (context.limit or SCENES):
            return


def line_of(task: Task, found: list[np.ndarray], truth: list[np.ndarray]) -> tuple[float, list[float]]:
    """The score of a task, and that of each micrograph."""
    pairs = list(zip(found, truth, strict=True))
    if task.score == "giou":
        each = [metrics.iou(p, t) for p, t in pairs]
        return mean(each), each
    if task.score == "line":
        each = [metrics.centre_line_f1(p, t, task.tolerance) for p, t in pairs]
        return mean(each), each
    if task.score == "instances":
        counts = [metrics.counts(p, t) for p, t in pairs]
        return sum(counts, Counts()).ap, [c.ap for c in counts]
    hits = [found_of(p, t, task.diameters) for p, t in pairs]
    total = sum(n for _, n in hits)
    return sum(k for k, _ in hits) / total if total else float("nan"), [k / n if n else float("nan") for k, n in hits]


def found_of(found: np.ndarray, truth: np.ndarray, diameters: tuple[float, float]) -> tuple[int, int]:
    """How many true instances with an equivalent diameter in a range are matched at IoU >= 0.5, and how many there
    are."""
    areas = np.bincount(truth.ravel())
    size = np.sqrt(4 * areas / np.pi)
    wanted = {n for n in range(1, len(areas)) if areas[n] and diameters[0] <= size[n] <= diameters[1]}
    hits = sum(number in wanted for _, number, _ in metrics.match(found, truth, 0.5))
    return hits, len(wanted)


def concepts(context: Context) -> SuiteResult:
    """All tasks, boxes on EMPS, and particles on burnt-in annotation.

    Raises:
        InputError: a data set is not found.
    """
    eyes = Eyes(context.assistant)
    figures, rows, pictures, notes = [], [], {}, []
    unknown = sorted({task.concept for task in TASKS if not eyes.knows(task.concept)})
    if unknown:
        notes.append(f"The model has no class embedding for {', '.join(unknown)}: nothing is found there.")
    with context.steps("concepts", len(TASKS) + 1) as step:
        for task in TASKS:
            figure, row, seen = run_task(task, eyes, context)
            figures.append(figure)
            rows.append(row)
            if seen:
                pictures[f"concepts-{task.key}.png"] = picture(best_and_worst(seen))
            step()
        more, seen = boxes_and_letters(eyes, context)
        figures += more
        pictures["concepts-boxes.png"] = picture(best_and_worst(seen))
        step()
    return SuiteResult("concepts", tuple(figures), {"Whole and in tiles": rows}, notes=tuple(notes), pictures=pictures)


def run_task(task: Task, eyes: Eyes, context: Context) -> tuple[Metric, dict, list[Seen]]:
    """One line: its figure, its row with both ways of seeing large micrographs, and what was seen."""
    named = list(cases(task, context))
    truth = [labels for _, _, labels in named]
    ways: dict[bool, list[np.ndarray]] = {}
    large = any(max(labels.shape) > eyes.config.work_side for labels in truth)
    for tiled in (False, True) if large else (False,):
        ways[tiled] = [eyes.concept(m.pixels, task.concept, tiled) for _, m, _ in named]
    chosen = task.tiled and large
    value, each = line_of(task, ways[chosen], truth)
    limits = "" if task.score != "found" else f", {task.diameters[0]:g} to {task.diameters[1]:g} px"
    figure = Metric(
        task.key,
        f"{task.concept.replace('_', ' ')}, {task.source}{limits}",
        value,
        MEANING[task.score] + (f" Tolerance {task.tolerance:g} px." if task.score == "line" else ""),
        task.must,
        task.aim,
        n=len(named),
    )
    row = {"case": figure.name, "score": task.score, "micrographs": len(named)}
    for tiled, name in ((False, "whole"), (True, "tiles")):
        row[name] = round(line_of(task, ways[tiled], truth)[0], 4) if tiled in ways else "-"
    seen = [
        Seen(f"{name} {task.concept}", score, m.pixels, labels, found)
        for (name, m, labels), score, found in zip(named, each, ways[chosen], strict=True)
        if score == score
    ]
    return figure, row, seen


def crowded(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes ``(N, 4)`` of all instances and the share of each that other instances cover ``(N,)``."""
    boxes = boxes_from_labels(labels)
    shares = []
    for number, window in enumerate(ndimage.find_objects(labels), 1):
        part = labels[window]
        shares.append(float(((part > 0) & (part != number)).mean()))
    return boxes, np.array(shares)


def boxes_and_letters(eyes: Eyes, context: Context) -> tuple[list[Metric], list[Seen]]:
    """Box prompts in a crowd and alone, and particles on burnt-in annotation, on the validation part of EMPS."""
    crowd: list[float] = []
    alone: list[float] = []
    seen: list[Seen] = []
    on_letters = particles = 0
    rng = np.random.default_rng(context.seed)
    for example in context.limited(read_emps("validation", context.data)):
        assert example.labels is not None  # the reader gives every image its labels
        pixels, labels = example.micrograph.pixels, example.labels
        boxes, shares = crowded(labels)
        picks = np.arange(len(boxes))
        if len(picks) > BOXES:
            # those in a crowd first: they are fewer
            order = rng.permutation(len(boxes))
            picks = order[np.argsort(shares[order] <= CROWD, kind="stable")][:BOXES]
        masks = eyes.boxes(pixels, boxes[picks])
        scores = [metrics.iou(mask, labels == k + 1) for mask, k in zip(masks, picks, strict=True)]
        for score, k in zip(scores, picks, strict=True):
            (crowd if shares[k] > CROWD else alone).append(score)
        found, truth = np.zeros(labels.shape, np.int32), np.zeros(labels.shape, np.int32)
        for number, (mask, k) in enumerate(zip(masks, picks, strict=True), 1):
            found[mask], truth[labels == k + 1] = number, number
        seen.append(Seen(example.name, mean(scores), pixels, truth, found, boxes[picks], np.ones(len(picks))))
        hit, count = letters(eyes, pixels, rng)
        on_letters, particles = on_letters + hit, particles + count
    return [
        Metric(
            "box_crowd",
            "EMPS boxes in a crowd, IoU",
            mean(crowd),
            f"IoU of a box prompt's mask with its object, where others cover over {CROWD:.0%} of the box; at most "
            f"{BOXES} boxes a micrograph.",
            0.87,
            0.92,
            n=len(crowd),
        ),
        Metric(
            "box_alone", "EMPS boxes alone, IoU", mean(alone), "The same, all other boxes.", 0.92, 0.95, n=len(alone)
        ),
        Metric(
            "on_annotation",
            "EMPS particles on burnt-in annotation",
            on_letters / max(particles, 1),
            "Share of the particles found of which over half lies on letters, bars and banners that were burnt in.",
            0.005,
            0.0,
            lower=True,
            unit="%",
            n=particles,
        ),
    ], seen


def letters(eyes: Eyes, pixels: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Particles on burnt-in annotation, and particles found, on a micrograph with annotation burnt in."""
    from lisa_micro.io.contrast import to_unit_range

    unit = to_unit_range(pixels)
    overlay = None
    while overlay is None:
        overlay = random_overlay(rng, unit.shape, float(np.exp(rng.uniform(-2, 3))), bool(unit.mean() > 0.5), True)
    found = eyes.concept(np.clip(overlay.over(unit), 0, 1).astype(np.float32), "particle")
    areas = np.bincount(found.ravel(), minlength=1)[1:]
    covered = np.bincount(found[overlay.mask], minlength=len(areas) + 1)[1:]
    return int((covered > 0.5 * areas).sum()), len(areas)
