"""Read folders of results: those of an answer, and those of a tracked video."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io import read_label_image, read_micrograph, read_video
from lisa_micro.napari.features import features_table
from lisa_micro.napari.layers import (
    LABELS_OPACITY,
    RECORD,
    LayerData,
    Place,
    image_layer,
    overlay_layer,
    scaled,
    tracks_layers,
)
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:
    import pandas as pd

ANSWER, LINEAGE = "answer.json", "lineage.json"
MOST_FRAME_BYTES = 4 * 1024**3
"""Size of the frames of a video, float32, up to which they are opened beside its tracks."""

Path_ = str | os.PathLike[str]
ReadLayers = Callable[["Path_ | Sequence[Path_]"], list[LayerData]]


def get_reader(path: Path_ | Sequence[Path_]) -> ReadLayers | None:
    """The reader of a path, as napari asks for it.

    Args:
        path: a folder of results or its ``answer.json``, or several of them.

    Returns:
        :func:`read_results`; ``None`` for what is not a folder of results.
    """
    paths = _listed(path)
    return read_results if paths and all(_folder(one) is not None for one in paths) else None


def read_results(path: Path_ | Sequence[Path_]) -> list[LayerData]:
    """The layers of folders of results, in the micrograph's scale.

    An answer gives the micrograph, if its file is where it was, the overlay, and a labels layer for each segment with
    its measurements as features. A tracked video gives its frames, if their file is where it was, labels, tracks with
    their graph, and marked coalescences and splits.

    Args:
        path: as for :func:`get_reader`.

    Raises:
        InputError: a folder that does not hold results, or not all of them.
    """
    layers: list[LayerData] = []
    for one in _listed(path):
        folder = _folder(one)
        if folder is None:
            raise InputError(f"{one} is no folder of results: it has no {ANSWER}.")
        layers += _read_tracks(folder) if (folder / LINEAGE).is_file() else _read_answer(folder)
    return layers


def _listed(path: Path_ | Sequence[Path_]) -> list[Path]:
    return [Path(path)] if isinstance(path, str | os.PathLike) else [Path(one) for one in path]


def _folder(path: Path) -> Path | None:
    """The folder of results that a path names."""
    folder = path.parent if path.name == ANSWER else path
    return folder if (folder / ANSWER).is_file() else None


def _read_answer(folder: Path) -> list[LayerData]:
    import pandas as pd

    try:
        record = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        facts, segments = record["image"], record["segments"]
        shape = (int(facts["height_px"]), int(facts["width_px"]))
        table = pd.read_csv(folder / "instances.csv")
        names = [f"labels{'' if k == 0 else f'_{k + 1}'}.tif" for k in range(len(segments))]
        labels = [read_label_image(folder / name, kind="instances").image.pixels for name in names]
        layers = [
            _segment_layer(one, number, record, labels[number - 1], table)
            for number, one in reversed(list(enumerate(segments, 1)))
        ]
        page = int(record.get("page") or 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{folder} does not hold the results of an answer, or not all of them.") from error
    if any(one.shape != shape for one in labels):
        raise InputError(f"The labels in {folder} are not of the size of the micrograph, {shape[1]} x {shape[0]} px.")
    image = find_image(facts, folder, shape, page)
    below = [] if image is None else [image_layer(image, Path(image.source).stem or "micrograph")]
    overlay = _overlay(folder)
    if overlay is not None:
        below.append(overlay_layer(overlay, shape, facts.get("pixel_size_nm"), visible=image is None))
    return [*below, *layers]


def _segment_layer(
    segment: dict[str, Any], number: int, record: dict[str, Any], labels: np.ndarray, table: pd.DataFrame
) -> LayerData:
    facts = record["image"]
    rows = table[table["segment"] == number].drop(columns=["segment", "concept"]).dropna(axis="columns", how="all")
    plane, transform = Place(scaled(facts.get("pixel_size_nm"))).of(labels)
    kept = {name: segment[name] for name in ("concept", "phrase", "where", "score", "presence")}
    kept |= {"prompt": record["prompt"], "reply": record["reply"], "raw": record.get("raw", "")}
    kept |= {name: facts.get(name) for name in ("source", "pixel_size_nm", "pixel_size_origin", "modality")}
    options = {
        "name": segment["phrase"] or segment["concept"],
        "opacity": LABELS_OPACITY,
        "features": features_table(rows.reset_index(drop=True)),
        "metadata": {RECORD: kept},
        **transform,
    }
    return plane, options, "labels"


def find_image(facts: dict[str, Any], folder: Path, shape: tuple[int, int], page: int = 0) -> Micrograph | None:
    """The micrograph that results are about: at its path, or beside the folder of results, or in it.

    Args:
        facts: what the results say of it: ``source``, ``pixel_size_nm`` and ``pixel_size_origin``.
        folder: of the results.
        shape: ``(H, W)`` that it must have.
        page: of its file.
    """
    source = str(facts.get("source") or "")
    if not source:
        return None
    for path in (Path(source), folder.parent / Path(source).name, folder / Path(source).name):
        try:
            image = read_micrograph(path, page=page)
        except InputError:
            continue
        if image.shape == shape:
            nm = facts.get("pixel_size_nm")
            return replace(image, pixel_size_nm=nm, pixel_size_origin=str(facts.get("pixel_size_origin") or "none"))
    return None


def _overlay(folder: Path) -> np.ndarray | None:
    """``(h, w, 3)`` uint8, or ``None`` if it was removed."""
    from PIL import Image

    try:
        with Image.open(folder / "overlay.png") as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError:
        return None


def _read_tracks(folder: Path) -> list[LayerData]:
    from lisa_micro.video.tracks import Tracks

    tracks = Tracks.load(folder)
    transform = scaled(tracks.pixel_size_nm, tracks.frame_time_s, frames=True)
    try:
        layers = tracks_layers(tracks, transform)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} does not hold the results of 'lisa-micro track', or not all of them.") from error
    frames = _frames(tracks, folder)
    if frames is None:
        return layers
    name = Path(str(tracks.record["video"]["source"])).stem or "video"
    return [(frames, {"name": name, **transform}, "image"), *layers]


def _frames(tracks: Any, folder: Path) -> np.ndarray | None:
    """The frames of a tracked video ``(T, H, W)``, if its file is where it was and they are not too large."""
    source = Path(str(tracks.record.get("video", {}).get("source") or ""))
    height, width = tracks.shape
    if not source.name or 4 * len(tracks) * height * width > MOST_FRAME_BYTES:
        return None
    for path in (source, folder.parent / source.name):
        try:
            frames = list(read_video(path))
        except InputError:
            continue
        if len(frames) == len(tracks) and frames[0].shape == tracks.shape:
            return np.stack(frames)
    return None
