"""Write labels layers: as a folder of results, or as a calibrated TIFF with its table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io import LabelStackWriter, as_micrograph, write_files, write_labels
from lisa_micro.io.files import ANSWER_FILES, results_in
from lisa_micro.napari.features import instance_rows, measured
from lisa_micro.napari.films import layer_pixel_size
from lisa_micro.napari.layers import RECORD, LayerData
from lisa_micro.napari.reader import find_image
from lisa_micro.results import Answer, Segmentation, save_answer
from lisa_micro.types import InputError, Micrograph

if TYPE_CHECKING:
    import pandas as pd

AS_IN_NAPARI = "The labels and tables are those of the layers in napari; the reply is from before any change to them."
MADE_IN_NAPARI = "The labels were saved from napari."


def write_results(path: str | os.PathLike[str], layers: Sequence[LayerData]) -> list[str]:
    """Write labels layers as the folder of results that ``lisa-micro segment`` writes.

    The tables are measured on the labels as they are in the layers, with the intensities of the image layer, or of the
    file that they are about.

    Args:
        path: folder; created if missing.
        layers: labels layers ``(H, W)`` or of one frame, the last one on top, and at most one image layer.

    Returns:
        the paths written.

    Raises:
        InputError: a stack of labels, layers of different sizes, or a folder that holds results or cannot be written.
    """
    folder = Path(path)
    if folder.is_dir() and results_in(folder, ANSWER_FILES):
        raise InputError(f"{folder} already holds results; choose another folder.")
    labels = [(plane(data), options) for data, options, kind in layers if kind == "labels"]
    if not labels:
        raise InputError("There is no labels layer; select at least one to save its results.")
    shape = labels[0][0].shape
    if any(one.shape != shape for one, _ in labels):
        raise InputError("The labels layers differ in size; save those of one micrograph at a time.")
    image = _micrograph(layers, labels[0][1], shape)
    segments = [_segment(one, options, image, number) for number, (one, options) in enumerate(reversed(labels), 1)]
    record = _record(labels[-1][1])
    note = AS_IN_NAPARI if record.get("reply") else MADE_IN_NAPARI
    text = str(record.get("reply") or "")
    answer = Answer(text, tuple(segments), str(record.get("prompt") or ""), str(record.get("raw") or ""), notes=(note,))
    written = save_answer(answer, image, folder, preset=str(record.get("preset") or ""))
    return [str(one) for one in written]


def write_labels_layer(path: str | os.PathLike[str], data: Any, options: Mapping[str, Any]) -> list[str]:
    """Write one labels layer as a TIFF calibrated in nm, and its measurements as a CSV beside it.

    Args:
        path: of the TIFF; the table has its name with the suffix ``.csv``.
        data: ``(H, W)`` labels, or frames ``(T, H, W)``, whose table has a column ``frame``.
        options: keyword arguments of the layer.

    Returns:
        both paths.

    Raises:
        InputError: labels with more than three axes, negative labels, or a path that cannot be written.
    """
    path = Path(path)
    stack = np.asarray(data)
    if stack.ndim == 3 and len(stack) == 1:
        stack = stack[0]
    if stack.ndim not in (2, 3):
        raise InputError(f"Labels must have the axes (H, W) or (T, H, W), not {stack.ndim} axes.")
    record = _record(options)
    nm = layer_pixel_size(options).nm
    nm = record.get("pixel_size_nm") if nm is None else nm
    tiff: Callable[[Path], object]
    if stack.ndim == 2:
        image = _micrograph([], options, stack.shape)
        table = _segment(stack, options, image, 1).table()
        tiff = partial(write_labels, labels=stack, pixel_size_nm=nm)
    else:
        table = _frames_table(stack, nm)
        tiff = partial(_write_stack, stack=stack, nm=nm)
    csv = partial(table.to_csv, index=False)
    return [str(one) for one in write_files(path.parent, {path.name: tiff, path.with_suffix(".csv").name: csv})]


def plane(labels: Any) -> np.ndarray:
    """Labels ``(H, W)`` int32 of a layer that may have further axes of length 1.

    Raises:
        InputError: a stack of several frames, or negative labels.
    """
    array = np.asarray(labels)
    if array.ndim < 2 or array.size != array.shape[-1] * array.shape[-2]:
        raise InputError(
            f"The labels have {int(np.prod(array.shape[:-2]))} frames; save them as a TIFF file instead of a folder."
        )
    array = array.reshape(array.shape[-2:])
    if array.size and array.min() < 0:
        raise InputError("Labels must not be negative.")
    return array.astype(np.int32)


def _record(options: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`lisa_micro.napari.layers.segment_record` says of a labels layer; empty for one made by hand."""
    record = (options.get("metadata") or {}).get(RECORD)
    return dict(record) if isinstance(record, Mapping) else {}


def _micrograph(layers: Sequence[LayerData], options: Mapping[str, Any], shape: tuple[int, ...]) -> Micrograph:
    """The micrograph of labels of ``shape`` ``(H, W)``: the image layer, the file they are about, or a blank one."""
    record = _record(options)
    height, width = int(shape[0]), int(shape[1])
    for data, image_options, kind in layers:
        known = (image_options.get("metadata") or {}).get(RECORD)
        if kind != "image" or known == "overlay":
            continue
        if isinstance(known, Micrograph) and known.shape == (height, width):
            return known
        array = np.asarray(data)
        rgb = bool(image_options.get("rgb"))
        if array.shape[: array.ndim - rgb] == (height, width):
            size = layer_pixel_size(image_options)
            nm, origin = (size.nm, size.origin) if size.nm else _known_size(record)
            found = as_micrograph(array)
            return Micrograph(found.pixels, nm, str(record.get("source") or "napari"), origin, record.get("modality"))
    nm, origin = _known_size(record)
    if nm is None:
        size = layer_pixel_size(options)
        nm, origin = size.nm, size.origin
    facts = {"source": record.get("source"), "pixel_size_nm": nm, "pixel_size_origin": origin}
    on_disk = find_image(facts, Path.cwd(), (height, width))
    blank = np.full((height, width), np.nan, np.float32)
    return on_disk or Micrograph(blank, nm, str(record.get("source") or "napari"), origin, record.get("modality"))


def _known_size(record: Mapping[str, Any]) -> tuple[float | None, str]:
    return record.get("pixel_size_nm"), str(record.get("pixel_size_origin") or "none")


def _segment(labels: np.ndarray, options: Mapping[str, Any], image: Micrograph, number: int) -> Segmentation:
    """A segment with its labels numbered without gaps, and measured."""
    record = _record(options)
    concept = str(record.get("concept") or "object")
    features = options.get("features")
    before = None if features is None or not len(features) else instance_rows(features, labels)
    pixels = None if np.isnan(image.pixels).all() else image.pixels
    table = measured(labels, pixels, image.pixel_size_nm, before, concept)
    present = np.unique(labels[labels > 0])
    numbers = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    numbers[present] = np.arange(1, len(present) + 1)
    table = table.assign(label=np.arange(1, len(table) + 1))
    return Segmentation(
        numbers[labels],
        float(record.get("score", 1.0)),
        float(record.get("presence", 1.0)),
        concept,
        str(record.get("phrase") or options.get("name") or concept),
        str(record.get("where") or ""),
        image.pixel_size_nm,
        table,
        target=number,
        image=image,
    )


def _frames_table(stack: np.ndarray, nm: float | None) -> pd.DataFrame:
    import pandas as pd

    tables = [measured(frame, None, nm).assign(frame=number) for number, frame in enumerate(stack)]
    table = pd.concat(tables, ignore_index=True)
    return table[["frame", *(name for name in table if name != "frame")]]


def _write_stack(path: Path, stack: np.ndarray, nm: float | None) -> None:
    with LabelStackWriter(path, nm) as writer:
        for frame in stack:
            writer.append(frame)
