"""Files of stacks for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def array_of(shape, dtype=np.uint16) -> np.ndarray:
    """Values that differ from pixel to pixel."""
    top = 250 if np.dtype(dtype).itemsize == 1 else 30_000
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


def write_omezarr(
    folder: Path, array, axes="yx", scale=None, unit="nanometer", version=2, channels=(), chunk=None
) -> Path:
    """An OME-Zarr image of version 0.4 (Zarr 2) or 0.5 (Zarr 3)."""
    import zarr

    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    chunks = tuple(min(chunk or side, side) for side in array.shape)
    group.create_array("0", data=array, chunks=chunks, config={"write_empty_chunks": True})
    kinds = {"c": {"type": "channel"}, "t": {"type": "time"}}
    named = [{"name": name, **kinds.get(name, {"type": "space", "unit": unit})} for name in axes]
    transform = [{"type": "scale", "scale": scale or [1.0] * len(axes)}]
    about = {"multiscales": [{"axes": named, "datasets": [{"path": "0", "coordinateTransformations": transform}]}]}
    if channels:
        about["omero"] = {"channels": [{"label": name} for name in channels]}
    group.attrs.update(about if version == 2 else {"ome": {"version": "0.5", **about}})
    return folder


def write_plain_tiff(path: Path, shape) -> Path:
    """A plane of uint8 whose pixel in row y and column x is (y + x) % 251."""
    import tifffile

    y, x = np.ogrid[: shape[0], : shape[1]]
    tifffile.imwrite(path, ((y + x) % 251).astype(np.uint8), metadata=None)
    return path
