"""Many small discs and ellipses rasterised at once."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from lisa_micro.sim.raster import Maps


def apart(points: np.ndarray, radii: np.ndarray, gap: float) -> np.ndarray:
    """``(n,)`` bool: particles that keep ``gap`` px from those before them."""
    keep = np.ones(len(points), bool)
    if len(points) < 2:
        return keep
    pairs = cKDTree(points).query_pairs(2 * float(radii.max()) + gap, output_type="ndarray")
    distance = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    for a, b in np.sort(pairs[distance < radii[pairs].sum(1) + gap], axis=1):
        if keep[a]:
            keep[b] = False
    return keep


def paint_discs(points: np.ndarray, radii: np.ndarray, ratios: np.ndarray, turns: np.ndarray, shape) -> Maps:
    """Maps of many small ellipses at once; where two overlap, the later one is in front.

    Args:
        points: ``(n, 2)`` x, y px.
        radii: ``(n,)`` half the longer axis in px.
        ratios: ``(n,)`` shorter over longer axis.
        turns: ``(n,)`` direction of the longer axis, radians.
        shape: ``(H, W)`` px.
    """
    labels, edge = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    projected = np.zeros(shape, np.float32)
    if not len(points):
        return Maps(labels, edge, projected.copy(), projected)
    half = int(np.ceil(radii.max())) + 2
    offset = np.arange(-half, half + 1)
    middle = np.rint(points).astype(int)
    rows = middle[:, 1, None, None] + offset[None, :, None]
    columns = middle[:, 0, None, None] + offset[None, None, :]
    dx = (columns - points[:, 0, None, None]).astype(np.float32)
    dy = (rows - points[:, 1, None, None]).astype(np.float32)
    cos, sin, a, b = (
        q.astype(np.float32)[:, None, None] for q in (np.cos(turns), np.sin(turns), radii, radii * ratios)
    )
    u, v = (cos * dx + sin * dy) / a, (cos * dy - sin * dx) / b
    k = np.sqrt(u * u + v * v)
    u, v = u / a, v / b
    slope = np.maximum(np.sqrt(u * u + v * v), np.float32(1e-6))
    distance = k * (k - 1) / slope
    rows, columns = np.broadcast_to(rows, k.shape), np.broadcast_to(columns, k.shape)
    there = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1]) & (distance < 0.5)
    flat = rows[there] * shape[1] + columns[there]
    thick = (b * np.sqrt(np.maximum(1 - k * k, 0)))[there]
    np.maximum.at(edge.ravel(), flat, np.clip(0.5 - distance[there], 0, 1).astype(np.float32))
    np.add.at(projected.ravel(), flat, thick.astype(np.float32))
    owner = np.broadcast_to(np.arange(1, len(points) + 1, dtype=np.int32)[:, None, None], k.shape)[there]
    inside = distance[there] < 0
    labels.ravel()[flat[inside]] = owner[inside]  # of equal indices the last one stays
    return Maps(labels, edge, np.where(labels > 0, projected, 0), projected)
