"""Instances as regions of interest of ImageJ: a zip that the ROI Manager opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.extras import require
from lisa_micro.results.answer import Segmentation
from lisa_micro.results.formats.outlines import Ring, instance_rings

if TYPE_CHECKING:
    from roifile import ImagejRoi

MOVE_TO, LINE_TO, CLOSE = 0.0, 1.0, 4.0
"""Steps of a composite path, as of Java's ``PathIterator``."""


def write_rois(path: Path, segments: Sequence[Segmentation]) -> None:
    """Write all instances as ImageJ ROIs; a ROI covers exactly the pixels of its instance.

    Names are ``concept_0001``, with the number of the segment in front if there are several. An instance in one piece
    is a traced polygon, one with holes or in pieces a composite.

    Raises:
        InputError: the package roifile is missing.
    """
    require("Writing ImageJ ROIs", "roifile")
    from roifile import roiwrite

    rois = []
    for number, segment in enumerate(segments, 1):
        before = f"{number}_" if len(segments) > 1 else ""
        for label, polygons in instance_rings(segment.labels):
            rois.append(
                _roi([ring for polygon in polygons for ring in polygon], f"{before}{segment.concept}_{label:04d}")
            )
    if rois:
        roiwrite(str(path), rois, mode="w")
    else:
        import zipfile

        with zipfile.ZipFile(path, "w"):
            pass


def _roi(rings: list[Ring], name: str) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    corners = np.concatenate(rings)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    roi: Any = ImagejRoi.frompoints(rings[0].astype(np.int32), name=name)
    roi.left, roi.top, roi.right, roi.bottom = (int(v) for v in (left, top, right, bottom))
    if len(rings) == 1:
        roi.roitype = ROI_TYPE.TRACED
        return roi
    path: list[float] = []
    for ring in rings:
        for k, (x, y) in enumerate(ring.tolist()):
            path += [LINE_TO if k else MOVE_TO, float(x), float(y)]
        path.append(CLOSE)
    roi.roitype = ROI_TYPE.RECT
    roi.integer_coordinates, roi.n_coordinates = None, 0
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi
