"""Scenes on disk: written once, by several processes, and read at training speed."""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.io.files import temporary_prefix
from lisa_micro.sim.scene import Scene, simulate_scene

LABELS = ("particles", "necks", "pores", "agglomerates")


def save_scene(scene: Scene, path: str | Path) -> Path:
    """Write a scene as npz: pixels uint8, labels uint16, overlay bits, tables as JSON. Atomic: the file
    appears whole or not at all.

    Raises:
        OSError: where the folder cannot be written.
    """
    path = Path(path)
    facts = {
        "neck_table": scene.neck_table,
        "pixel_size_nm": scene.pixel_size_nm,
        "modality": scene.modality,
        "seed": scene.seed,
        "params": plain(scene.params),
    }
    handle, draft = tempfile.mkstemp(prefix=temporary_prefix(), suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(
                file,
                pixels=np.rint(scene.pixels * 255).astype(np.uint8),
                overlay=np.packbits(scene.overlay),
                centres=scene.centres,
                radii=scene.radii,
                contacts=scene.contacts,
                facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
                **{name: getattr(scene, name).astype(np.uint16) for name in LABELS},
            )
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def load_scene(path: str | Path) -> Scene:
    """Read a scene that :func:`save_scene` wrote; pixels come back in steps of 1/255.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is not a scene.
    """
    with np.load(path, allow_pickle=False) as data:
        if "facts" not in data:
            raise ValueError(f"{path} is not a simulated scene")
        facts = json.loads(data["facts"].tobytes().decode())
        labels = {name: data[name].astype(np.int32) for name in LABELS}
        shape = labels["particles"].shape
        overlay = np.unpackbits(data["overlay"], count=shape[0] * shape[1]).reshape(shape).astype(bool)
        return Scene(
            pixels=data["pixels"].astype(np.float32) / 255,
            substrate=labels["particles"] == 0,
            overlay=overlay,
            centres=data["centres"],
            radii=data["radii"],
            contacts=data["contacts"],
            **labels,
            **facts,
        )


def plain(value: Any) -> Any:
    """The same with numpy scalars as Python numbers and keys as text, for JSON."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _one(job: tuple[str, int, tuple[int, int], str | None, str | None]) -> str:
    path, seed, shape, modality, kind = job
    save_scene(simulate_scene(seed, shape, modality, kind), path)
    return path


def cache_scenes(
    folder: str | Path,
    n: int,
    seed: int = 0,
    shape: tuple[int, int] = (512, 512),
    workers: int = 1,
    modality: str | None = None,
    kind: str | None = None,
) -> list[Path]:
    """Scenes ``seed`` to ``seed + n - 1`` as files ``scene_<seed>_<H>x<W>.npz`` in a folder.

    Scenes that are already there are kept, so that a run that was stopped goes on where it was; files are
    written whole or not at all, so that another process may read while this one writes.

    Args:
        folder: made where it is missing. Use one folder per ``modality`` and ``kind``: they are not in the
            names.
        workers: processes; 1 works in this one.

    Returns:
        The ``n`` paths in order of seed.

    Raises:
        ValueError: as :func:`lisa_micro.sim.scene.simulate_scene`.
        OSError: where the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"scene_{k:08d}_{shape[0]}x{shape[1]}.npz" for k in range(seed, seed + n)]
    jobs = [(str(p), k, tuple(shape), modality, kind) for k, p in enumerate(paths, start=seed) if not p.exists()]
    if workers <= 1 or len(jobs) < 2:
        for job in jobs:
            _one(job)
        return paths
    with ProcessPoolExecutor(workers) as pool:
        for _ in pool.map(_one, jobs, chunksize=4):
            pass
    return paths
