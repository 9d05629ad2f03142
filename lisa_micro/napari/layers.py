"""Results as napari layers: tuples of data, keyword arguments and type of layer.

A pixel lies around integer coordinates in napari and in all tables, so centroids are used as they are. Boxes are
counted from the corner of the first pixel, half a pixel further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.napari.features import features_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import Micrograph

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.video.track_data import TrackData

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keyword arguments of the layer, and its type: ``"image"``, ``"labels"``, ``"tracks"`` or ``"points"``."""

RECORD = "lisa_micro"
"""Key in the metadata of a layer under which :func:`segment_record` stands."""
LABELS_OPACITY = 0.5
"""Opacity of labels layers, so that the micrograph shows through."""
SHOWN_EVENTS = ("coalesce", "split")
"""Kinds of events that a points layer marks."""


@dataclass(frozen=True)
class Place:
    """Where the layers of a result lie.

    Attributes:
        transform: keyword arguments of a layer, such as scale and units, for all axes of ``lead`` and the image.
        lead: index on the axes before the two of the image: the frame of a stack. Empty for a single image.
    """

    transform: Mapping[str, Any] = field(default_factory=dict)
    lead: tuple[int, ...] = ()

    def of(self, plane: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """A plane ``(H, W)`` with as many axes as the image layer, and the keyword arguments that put it there."""
        transform = dict(self.transform)
        if self.lead:
            shift = np.zeros(len(self.lead) + 2)
            shift[: len(self.lead)] = self.lead
            scale = np.asarray(transform.get("scale", np.ones(len(shift))), float)
            transform["translate"] = np.asarray(transform.get("translate", np.zeros(len(shift)))) + scale * shift
        return plane.reshape((1,) * len(self.lead) + plane.shape), transform


def scaled(pixel_size_nm: float | None, frame_time_s: float | None = None, frames: bool = False) -> dict[str, Any]:
    """Scale and units of layers, and the names of the axes of frames.

    Args:
        pixel_size_nm: edge of a pixel; ``None``: pixels.
        frame_time_s: seconds from frame to frame; ``None``: frames are counted.
        frames: whether there is an axis of frames before the two of the image.
    """
    edge = 1.0 if pixel_size_nm is None else float(pixel_size_nm)
    unit = "pixel" if pixel_size_nm is None else "nm"
    scale, units = (edge, edge), (unit, unit)
    if not frames:
        return {"scale": scale, "units": units}
    known = frame_time_s is not None
    first = float(frame_time_s) if frame_time_s is not None else 1.0
    return {
        "scale": (first, *scale),
        "units": ("s" if known else "pixel", *units),
        "axis_labels": ("t", "y", "x"),
    }


def image_layer(image: Micrograph, name: str) -> LayerData:
    """A micrograph; it is kept in the metadata, so that its field of view and the origin of its pixel size are."""
    return image.pixels, {"name": name, "metadata": {RECORD: image}, **scaled(image.pixel_size_nm)}, "image"


def answer_layers(answer: Answer, image: Micrograph, place: Place) -> list[LayerData]:
    """One labels layer for each segment of an answer, the first one last and so on top."""
    return [
        segment_layer(segment, segment_record(segment, answer, image), place) for segment in reversed(answer.segments)
    ]


def segment_layer(segment: Segmentation, record: Mapping[str, Any], place: Place) -> LayerData:
    """A labels layer with the measurements as features."""
    labels, transform = place.of(np.asarray(segment.labels, np.int32))
    options = {
        "name": segment.phrase or segment.concept,
        "opacity": LABELS_OPACITY,
        "features": features_table(segment.table()),
        "metadata": {RECORD: dict(record)},
        **transform,
    }
    return labels, options, "labels"


def segment_record(segment: Segmentation, answer: Answer, image: Micrograph) -> dict[str, Any]:
    """What the writer needs of a segment, beside its labels, as plain values."""
    return {
        "concept": segment.concept,
        "phrase": segment.phrase,
        "where": segment.where,
        "score": float(segment.score),
        "presence": float(segment.presence),
        "prompt": answer.prompt,
        "reply": answer.text,
        "raw": answer.raw,
        "source": image.source,
        "pixel_size_nm": image.pixel_size_nm,
        "pixel_size_origin": image.pixel_size_origin,
        "modality": image.modality,
    }


def tracks_layers(tracks: TrackData, transform: Mapping[str, Any]) -> list[LayerData]:
    """The tracks of a video: labels, tracks with the graph of what became of them, and marked events.

    Args:
        tracks: the tracks; labels keep their track IDs.
        transform: keyword arguments of a layer with the axes frame, y, x.

    Returns:
        a labels layer ``(T, H, W)``; a tracks layer, in whose graph a coalesced particle has all its parents; and, if
        there are any, a points layer of coalescences and splits. Without a track, only the labels.
    """
    labels = np.stack([np.asarray(frame, np.int32) for frame in tracks.labels])
    name = f"{tracks.concept}s"
    layers: list[LayerData] = [(labels, {"name": name, "opacity": LABELS_OPACITY, **transform}, "labels")]
    if not len(tracks.tracks):
        return layers
    table = tracks.tracks.sort_values(["identity", "frame"], kind="stable").reset_index(drop=True)
    data = table[["identity", "frame", "centroid_y_px", "centroid_x_px"]].to_numpy(float)
    options = {
        "name": f"{name}, tracks",
        "features": numeric(table.drop(columns="identity")),
        "graph": track_graph(tracks),
        "tail_length": len(tracks),
        "metadata": {RECORD: dict(tracks.record)},
        **transform,
    }
    layers.append((data, options, "tracks"))
    events = tracks.events[tracks.events["kind"].isin(SHOWN_EVENTS)]
    if len(events):
        layers.append(_event_layer(events, transform))
    return layers


def track_graph(tracks: TrackData) -> dict[int, list[int]]:
    """Track ID -> those that it came from, for the tracks that have a detection."""
    known = set(tracks.tracks["identity"].astype(int))
    parents = {
        int(identity): [int(one) for one in entry["parents"] if int(one) in known]
        for identity, entry in tracks.lineage.items()
        if int(identity) in known
    }
    return {identity: ids for identity, ids in parents.items() if ids}


def _event_layer(events: pd.DataFrame, transform: Mapping[str, Any]) -> LayerData:
    ids = {name: [" ".join(map(str, one)) for one in events[name]] for name in ("before", "after")}
    options = {
        "name": "coalescences and splits",
        "features": {"kind": events["kind"].to_list(), **ids},
        "text": {"string": "{kind}: {before} to {after}", "color": "yellow", "anchor": "lower_left", "size": 10},
        "symbol": "ring",
        "size": 12,
        "face_color": "transparent",
        "border_color": "yellow",
        **transform,
    }
    return events[["frame", "y_px", "x_px"]].to_numpy(float), options, "points"


def numeric(table: pd.DataFrame) -> pd.DataFrame:
    """Columns that a tracks layer can colour by: finite numbers or NaN, booleans as 0 and 1, without text."""
    plain = table.select_dtypes(include=["number", "bool"])
    plain = plain.astype(dict.fromkeys(plain.select_dtypes(include="bool"), int))
    return plain.replace([np.inf, -np.inf], np.nan).dropna(axis="columns", how="all")


def overlay_layer(pixels: np.ndarray, shape: tuple[int, int], pixel_size_nm: float | None, visible: bool) -> LayerData:
    """An overlay ``(h, w, 3)`` over a micrograph of ``shape`` ``(H, W)``, of which it may be an enlarged picture."""
    factors = np.array(shape, float) / pixels.shape[:2]
    place = scaled(pixel_size_nm)
    scale = np.asarray(place["scale"]) * factors
    # the corners of both pictures agree, not the centres of their first pixels
    translate = np.asarray(place["scale"]) * (factors - 1) / 2
    options = {"name": "overlay", "rgb": True, "visible": visible, "metadata": {RECORD: "overlay"}}
    return pixels, {**options, **place, "scale": scale, "translate": translate}, "image"


def named(layers: Sequence[LayerData], prefix: str) -> list[LayerData]:
    """Layers with a common beginning of their names."""
    return [(data, {**options, "name": f"{prefix}: {options['name']}"}, kind) for data, options, kind in layers]
