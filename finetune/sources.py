"""What the towers learn from: micrographs with label maps per concept, prepared once and kept on disk.

One npz per image: ``pixels`` uint8 ``(H, W)`` (robust contrast already applied) and, per known concept, int16 labels
``(H, W)``. A concept that is not known for an image (the necks of a micrograph with a foreground mask only) is left
out, and no loss is computed for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_micro.io.contrast import to_unit_range
from lisa_micro.types import CONCEPTS


@dataclass(frozen=True)
class Source:
    """One prepared image. ``kind``: ``"emps"``, ``"tem"`` or ``"sim"``. ``instances``: whether the particle labels tell
    touching particles apart. ``labels``: concept -> int32 ``(H, W)``."""

    name: str
    kind: str
    pixels: np.ndarray
    labels: dict[str, np.ndarray]
    instances: bool = True


def write_source(path: Path, source: Source) -> None:
    """Write atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part.npz")
    arrays = {f"label_{c}": source.labels[c].astype(np.int16) for c in source.labels}
    np.savez_compressed(
        temporary, pixels=source.pixels, kind=source.kind, instances=source.instances, **arrays
    )
    os.replace(temporary, path)


def read_source(path: Path) -> Source:
    """Read what :func:`write_source` wrote."""
    with np.load(path) as data:
        labels = {c: data[f"label_{c}"].astype(np.int32) for c in CONCEPTS if f"label_{c}" in data}
        return Source(path.stem, str(data["kind"]), data["pixels"], labels, bool(data["instances"]))


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Robust contrast, 0..255."""
    return np.round(to_unit_range(pixels) * 255).astype(np.uint8)


def prepare_real(folder: Path, split: str) -> list[Path]:
    """Prepare EMPS and tem-sintering, ``split`` ``"train"`` or ``"validation"``, into ``folder``; what is there
    already stays. Needs ``LISA_MICRO_DATA``."""
    from lisa_micro.datasets.derive import derive_truth
    from lisa_micro.datasets.readers import iter_emps, iter_tem_sintering

    paths = []
    for kind, items in (("emps", iter_emps(split)), ("tem", iter_tem_sintering(split))):
        for item in items:
            path = folder / split / f"{kind}_{item.name}.npz"
            paths.append(path)
            if path.exists():
                continue
            if kind == "emps":
                labels = {c: m for c, m in derive_truth(item.labels).items() if c in CONCEPTS}
            else:
                particle = (item.labels > 0).astype(np.int32)
                labels = {"particle": particle, "substrate": 1 - particle}
            write_source(path, Source(item.name, kind, to_bytes(item.pixels), labels, kind == "emps"))
    return paths


def prepare_simulated(folder: Path, count: int, seed: int, shape: tuple[int, int] = (384, 384)) -> list[Path]:
    """Simulate ``count`` scenes with seeds ``seed, seed + 1, ...`` into ``folder``; what is there already stays."""
    from lisa_micro.sim import simulate_scene

    paths = []
    for number in range(seed, seed + count):
        path = folder / f"sim_{number:06d}.npz"
        paths.append(path)
        if path.exists():
            continue
        scene = simulate_scene(number, shape=shape)
        labels = {
            "particle": scene.particles,
            "neck": scene.necks,
            "pore": scene.pores,
            "agglomerate": scene.agglomerates,
            "substrate": scene.substrate.astype(np.int32),
        }
        write_source(path, Source(str(number), "sim", to_bytes(scene.pixels), labels))
    return paths


def load_all(paths: list[Path]) -> list[Source]:
    """All of them in memory (about 1 MB each)."""
    return [read_source(path) for path in paths]


def iter_sources(paths: list[Path]) -> Iterator[Source]:
    """One at a time."""
    for path in paths:
        yield read_source(path)
