"""What the towers learn from: micrographs with label maps per concept, prepared once and kept on disk.

One npz per image: ``pixels`` uint8 ``(H, W)`` (robust contrast already applied) and, per known concept, int16 labels
``(H, W)``. A concept that is not known for an image (the necks of a micrograph with a foreground mask only) is left
out, and no loss is computed for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.io.contrast import to_unit_range
from lisa_micro.io.files import remove_leftovers, temporary_prefix
from lisa_micro.types import CONCEPTS

if TYPE_CHECKING:
    from lisa_micro.sim import Scene


@dataclass(frozen=True)
class Source:
    """One prepared image. ``kind``: ``"emps"``, ``"tem"``, ``"sim"`` or ``"video"``. ``instances``: whether the
    particle labels tell touching particles apart. ``labels``: concept -> int32 ``(H, W)``. ``modality``: where the
    source itself tells it."""

    name: str
    kind: str
    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    instances: bool = True
    modality: str | None = None


def write_source(path: Path, source: Source) -> None:
    """Write atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{temporary_prefix()}{path.name}")
    arrays = {f"label_{c}": source.labels[c].astype(np.int16) for c in source.labels}
    np.savez_compressed(
        temporary,
        pixels=source.pixels,
        name=source.name,
        kind=source.kind,
        instances=source.instances,
        modality=source.modality or "",
        **arrays,
    )
    os.replace(temporary, path)


def read_source(path: Path) -> Source:
    """Read what :func:`write_source` wrote."""
    with np.load(path) as data:
        labels = {c: data[f"label_{c}"].astype(np.int32) for c in CONCEPTS if f"label_{c}" in data}
        return Source(
            str(data["name"]),
            str(data["kind"]),
            data["pixels"],
            labels,
            bool(data["instances"]),
            str(data["modality"]) or None,
        )


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Robust contrast, 0..255."""
    return np.round(to_unit_range(pixels) * 255).astype(np.uint8)


def prepare_real(folder: Path, split: str) -> list[Path]:
    """Prepare EMPS and tem-sintering, ``split`` ``"train"`` or ``"validation"``, into ``folder``; what is there
    already stays. Needs ``LISA_MICRO_DATA``."""
    from lisa_micro.datasets.readers import read_emps, read_tem_sintering

    paths = []
    for kind, examples in (("emps", read_emps(split)), ("tem", read_tem_sintering(split))):
        for example in examples:
            path = folder / split / f"{kind}_{example.name}.npz"
            paths.append(path)
            if path.exists():
                continue
            truth = example.truth()
            known = CONCEPTS if kind == "emps" else ("particle", "substrate")
            labels = {c: truth[c] for c in known}
            if kind == "tem":
                # foreground only: one label, so that nobody takes its components for particles
                labels["particle"] = (truth["particle"] > 0).astype(np.int32)
                labels["substrate"] = 1 - labels["particle"]
            pixels = to_bytes(example.micrograph.pixels)
            write_source(path, Source(example.name, kind, pixels, labels, kind == "emps"))
    return paths


def prepare_simulated(
    folder: Path, count: int, seed: int, shape: tuple[int, int] = (384, 384), agglomerates: bool = False
) -> list[Path]:
    """Simulate ``count`` scenes with seeds ``seed, seed + 1, ...`` into ``folder``; what is there already stays. With
    ``agglomerates`` odd seeds give agglomerates: without, few scenes show faint particles on top of each other."""
    from lisa_micro.sim import simulate_scene

    remove_leftovers(folder)
    paths = []
    for number in range(seed, seed + count):
        path = folder / f"sim_{number:06d}.npz"
        paths.append(path)
        if path.exists():
            continue
        scene = simulate_scene(number, shape, kind="agglomerate" if agglomerates and number % 2 else None)
        write_source(path, _of_scene(path.stem, "sim", scene))
    return paths


def _of_scene(name: str, kind: str, scene: Scene) -> Source:
    labels = {
        "particle": scene.particles,
        "neck": scene.necks,
        "pore": scene.pores,
        "agglomerate": scene.agglomerates,
        "substrate": scene.substrate.astype(np.int32),
    }
    return Source(name, kind, to_bytes(scene.pixels), labels, True, scene.modality)


def prepare_frames(folder: Path, videos: int, seed: int, shape: tuple[int, int], frames: int = 6) -> list[Path]:
    """Frames of ``videos`` simulated sintering videos with seeds ``seed, seed + 1, ...`` into ``folder``, ``frames`` of
    each; what is there already stays. Half of them are bright-field; sizes, numbers of particles and the noise (0.4 to
    3 times what a scene has, evenly on a logarithmic scale) differ from video to video."""
    from lisa_micro.sim import simulate_sintering
    from lisa_micro.sim.growth import MECHANISMS

    paths = []
    for number in range(seed, seed + videos):
        here = [folder / f"video_{number:06d}_{k}.npz" for k in range(frames)]
        paths += here
        if all(path.exists() for path in here):
            continue
        rng = np.random.default_rng((number, 5))
        video = simulate_sintering(
            number,
            frames=60,
            shape=shape,
            modality=str(rng.choice(["BF-TEM", "HAADF-STEM", "SEM"], p=[0.5, 0.25, 0.25])),
            n_particles=int(rng.integers(15, 46)),
            mechanism=str(rng.choice(list(MECHANISMS))),
            noise=float(np.exp(rng.uniform(np.log(0.4), np.log(3.0)))),
            radius_nm=0.2 * min(shape) / rng.uniform(14, 32),
            contact_share=float(rng.uniform(0.4, 0.9)),
        )
        for path, t in zip(here, np.sort(rng.choice(60, frames, replace=False)), strict=True):
            write_source(path, _of_scene(path.stem, "video", video.scene(int(t))))
    return paths


def load_all(paths: list[Path]) -> list[Source]:
    """All of them in memory, labels as int16, as on disk (2 to 3 MB each)."""
    sources = map(read_source, paths)
    return [replace(s, labels={c: m.astype(np.int16) for c, m in s.labels.items()}) for s in sources]
