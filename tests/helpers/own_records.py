"""Records as a laboratory would have them, with truth from the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from lisa_micro.datasets.records import Record, write_records
from lisa_micro.sim import simulate_scene

SAID = {"user": "show the grains", "assistant": "Here are the particles [SEG].", "targets": [{"concept": "particle"}]}


def write_images(folder: Path, count: int, side: int, first: int = 300) -> list[dict]:
    """Images and labels of simulated scenes; a dictionary for each, to be completed to a record."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(count):
        scene = simulate_scene(first + k, (side, side), kind="agglomerate")
        tifffile.imwrite(folder / f"images/{k}.tif", scene.pixels.astype(np.float32))
        tifffile.imwrite(folder / f"labels/{k}.tif", scene.particles.astype(np.uint16))
        rows.append({"file_name": f"images/{k}.tif", "labels": f"labels/{k}.tif"})
    return rows


def write_own(folder: Path, count: int = 3, side: int = 64, said: bool = True) -> Path:
    """A folder of records; ``said``: with a conversation each, else with labels alone."""
    rows = write_images(folder, count, side)
    records = [Record.model_validate({**row, **({"conversations": [SAID]} if said else {})}) for row in rows]
    write_records(folder / "metadata.jsonl", records)
    return folder
