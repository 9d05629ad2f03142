"""Micrographs with labels of some of the seventeen concepts, prepared once and kept on disk.

One npz per micrograph: ``pixels`` uint8 ``(H, W)`` with robust contrast, int16 labels per known concept, and what the
labels mean. A concept that is neither labelled nor known to be absent is unknown there, and gets no loss.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lisa_micro.datasets.materials import MATERIALS, read_materials
from lisa_micro.io.files import temporary_prefix
from lisa_micro.sim import Scene, simulate_scene
from lisa_micro.sim.materials import MaterialScene, simulate_material
from lisa_micro.types import CONCEPTS, VISION_CONCEPTS
from lisa_micro_finetune.data.sources import Source, read_source, to_bytes

FOUND = ("particle", "neck", "pore", "agglomerate")
"""Concepts of EMPS and of simulated particles whose instances are told apart."""

ABSENT = {
    "emps": ("precipitate", "dislocation_loop", "grain_boundary", "grain", "crack"),
    "tem": ("precipitate", "dislocation_loop", "grain_boundary", "grain", "crack", "layer", "fibre", "satellite"),
    "sim": ("precipitate", "dislocation_loop", "grain_boundary", "grain", "crack", "layer", "hole", "satellite"),
    "video": ("precipitate", "dislocation_loop", "grain_boundary", "grain", "crack", "layer", "hole", "satellite"),
}
"""What no micrograph of a kind shows, beyond what its labels tell."""

KEPT_EMPTY = ("particle", "annotation")
"""Concepts of a material scene that are labelled even where their map is empty."""


@dataclass(frozen=True)
class Labelled:
    """One prepared micrograph.

    Attributes:
        name, kind: ``kind`` is the set or the kind of scene; it decides the scale of its crops.
        pixels: ``(H, W)`` uint8.
        labels: concept -> int16 ``(H, W)``, 0 = background.
        parts: concepts whose labels tell instances apart.
        absent: concepts that are not there, besides those whose labels are empty.
        partial: concepts whose unlabelled pixels say nothing.
        modality: ``"SEM"``, ``"BF-TEM"``, ``"HAADF-STEM"`` or ``""``.
    """

    name: str
    kind: str
    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    parts: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    partial: frozenset[str] = frozenset()
    modality: str = field(default="")


def write_labelled(path: Path, source: Labelled) -> None:
    """Write atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{temporary_prefix()}{path.name}")
    meaning = {
        "name": source.name,
        "kind": source.kind,
        "modality": source.modality,
        "parts": sorted(source.parts),
        "absent": sorted(source.absent),
        "partial": sorted(source.partial),
    }
    arrays = {f"label_{c}": m.astype(np.int16) for c, m in source.labels.items()}
    np.savez_compressed(temporary, pixels=source.pixels, meaning=json.dumps(meaning), **arrays)
    os.replace(temporary, path)


def read_labelled(path: Path) -> Labelled:
    """Read what :func:`write_labelled` wrote."""
    with np.load(path) as data:
        meaning = json.loads(str(data["meaning"]))
        labels = {c: data[f"label_{c}"] for c in VISION_CONCEPTS if f"label_{c}" in data}
        sets = {key: frozenset(meaning.pop(key)) for key in ("parts", "absent", "partial")}
        return Labelled(pixels=data["pixels"], labels=labels, **meaning, **sets)


def of_source(source: Source) -> Labelled:
    """A source of the earlier stages: EMPS, tem-sintering, simulated particles."""
    parts = frozenset(FOUND) if source.instances else frozenset()
    labels = {c: m.astype(np.int16) for c, m in source.labels.items()}
    absent = frozenset(ABSENT[source.kind])
    return Labelled(source.name, source.kind, source.pixels, labels, parts, absent, modality=source.modality or "")


def of_scene(name: str, scene: Scene) -> Labelled:
    """A simulated scene of particles, with what is burnt in as ``annotation``, and cores and shells where it has
    them."""
    labels = {c: scene.labels(c).astype(np.int16) for c in CONCEPTS}
    labels["annotation"] = scene.overlay.astype(np.int16)
    absent = set(ABSENT["sim"])
    if scene.shells is not None and scene.cores is not None:
        labels |= {"core": scene.cores.astype(np.int16), "shell": scene.shells.astype(np.int16)}
    else:
        absent |= {"core", "shell"}
    parts = frozenset((*FOUND, "core"))
    return Labelled(name, "sim", to_bytes(scene.pixels), labels, parts, frozenset(absent), modality=scene.modality)


def prepare_materials(folder: Path, split: str) -> list[Path]:
    """Prepare the eight sets, ``split`` ``"train"`` or ``"validation"``; what is there already stays. Needs
    ``LISA_MICRO_DATA``."""
    paths = []
    for name, kind in MATERIALS.items():
        examples = read_materials(name, split)
        for number, stem in enumerate(examples.names):
            path = folder / f"materials_{split}" / f"{name}_{stem}.npz"
            paths.append(path)
            if path.exists():
                continue
            example = examples[number]
            labels = {c: m.astype(np.int16) for c, m in example.concept_labels.items()}
            parts = frozenset((*kind.instances, *kind.pieces)) & labels.keys()
            partial = frozenset(labels if stem in kind.partial else ())
            pixels = to_bytes(example.micrograph.pixels)
            write_labelled(path, Labelled(stem, name, pixels, labels, parts, frozenset(kind.absent), partial))
    return paths


def prepare_scenes(folder: Path, count: int, seed: int, shape: tuple[int, int] = (512, 512)) -> list[Path]:
    """Simulate ``count`` scenes of particles with seeds from ``seed`` on: half of them agglomerates, a quarter with
    cores and shells; what is there already stays."""
    paths = []
    for number in range(seed, seed + count):
        path = folder / f"scene_{number:07d}.npz"
        paths.append(path)
        if path.exists():
            continue
        kind = "agglomerate" if number % 2 else None
        scene = simulate_scene(number, shape, kind=kind, core_shell=0.9 if number % 4 == 0 else None)
        write_labelled(path, of_scene(path.stem, scene))
    return paths


def of_material(name: str, scene: MaterialScene) -> Labelled:
    """A simulated scene of a material; its empty maps are known absences."""
    labels = {c: m.astype(np.int16) for c, m in scene.labels.items() if c in KEPT_EMPTY or m.any()}
    absent = frozenset(scene.labels.keys() - labels.keys())
    parts = frozenset(labels) - {"substrate", "layer", "crack", "grain_boundary", "annotation", "shell"}
    kind = f"sim-{scene.kind}"
    return Labelled(name, kind, to_bytes(scene.pixels), labels, parts, absent, modality=scene.modality)


def prepare_material_scenes(
    folder: Path, kind: str, count: int, seed: int, shape: tuple[int, int] = (512, 512)
) -> list[Path]:
    """Simulate ``count`` material scenes of one kind with seeds from ``seed`` on; what is there already stays."""
    paths = []
    for number in range(seed, seed + count):
        path = folder / f"sim-{kind}_{number:07d}.npz"
        paths.append(path)
        if not path.exists():
            write_labelled(path, of_material(path.stem, simulate_material(number, kind, shape)))
    return paths


def load_labelled(paths: list[Path]) -> list[Labelled]:
    """All of them in memory; files of the earlier stages are converted."""
    sources = []
    for path in paths:
        with np.load(path) as data:
            earlier = "meaning" not in data
        sources.append(of_source(read_source(path)) if earlier else read_labelled(path))
    return sources
