"""Instances as GeoJSON, as QuPath imports it: polygons with class, colour and measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lisa_micro.io.files import write_json
from lisa_micro.results.answer import Segmentation
from lisa_micro.results.formats.outlines import Ring, instance_rings
from lisa_micro.viz.overlay import segment_colours


def write_geojson(path: Path, segments: Sequence[Segmentation]) -> None:
    """Write all instances as a feature collection, coordinates in px with the origin at the upper left corner."""
    write_json(path, {"type": "FeatureCollection", "features": features(segments)})


def features(segments: Sequence[Segmentation]) -> list[dict[str, Any]]:
    """One feature for each instance: polygon along the edges of its pixels, class and measurements."""
    out = []
    for segment, colour in zip(segments, segment_colours(len(segments)), strict=True):
        table = segment.table()
        rows = {} if table.empty or "label" not in table else {int(row["label"]): row for _, row in table.iterrows()}
        for label, polygons in instance_rings(segment.labels):
            rings = [[_closed(ring) for ring in polygon] for polygon in polygons]
            geometry: dict[str, Any] = {"type": "Polygon", "coordinates": rings[0]}
            if len(rings) > 1:
                geometry = {"type": "MultiPolygon", "coordinates": rings}
            properties = {
                "objectType": "annotation",
                "name": f"{segment.concept} {label}",
                "classification": {"name": segment.concept, "color": list(colour)},
                "measurements": _numbers(rows.get(label, {})),
            }
            out.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return out


def _closed(ring: Ring) -> list[list[int]]:
    corners = [[int(x), int(y)] for x, y in ring.tolist()]
    return [*corners, corners[0]]


def _numbers(row: Any) -> dict[str, float]:
    """The finite measurements of an instance."""
    values = {name: float(value) for name, value in dict(row).items() if name != "label"}
    return {name: value for name, value in values.items() if math.isfinite(value)}
