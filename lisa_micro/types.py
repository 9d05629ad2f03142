"""Basic data types shared by all packages.

Images are arrays of shape ``(H, W)``. Points are ``(x, y)`` and boxes ``(x0, y0, x1, y1)`` (XYXY, far edge exclusive),
both in pixels of the original micrograph. Instance labels are int32: 0 is the background, k is instance k.

The results of the assistant, ``Segmentation`` and ``Answer``, are defined in :mod:`lisa_micro.results.answer`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np

CONCEPTS = ("particle", "neck", "pore", "agglomerate", "substrate")
"""Concepts that the default preset can segment. All of them have instances except ``substrate``, a single region."""


VISION_CONCEPTS = (
    *CONCEPTS,
    "grain",
    "grain_boundary",
    "precipitate",
    "crack",
    "layer",
    "fibre",
    "core",
    "shell",
    "hole",
    "satellite",
    "dislocation_loop",
    "annotation",
)
"""What the mask decoder can segment, in the order of its class embeddings; the reply language names the first five."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one sentence that says what is wrong and what to do. The command line prints it and exits with
    code 2.
    """


Box = tuple[int, int, int, int]
"""XYXY px, far edge exclusive."""


@dataclass(frozen=True)
class BurntInScale:
    """A scale bar that was read from the picture, or that a person marked in it.

    Attributes:
        x0, x1: left and right end of the bar, px from the left edge of the picture, between pixels.
        y, height: middle and height of the bar, px; a height of 0 is not known.
        text: its length as written, such as ``"200 nm"``.
        length_nm: the same in nm.
        text_box: where the text stands, XYXY px; ``None``: not known.
        drop: px by which the right end lies lower than the left one; 0 of a bar that was read.
    """

    x0: float
    x1: float
    y: float
    height: float
    text: str
    length_nm: float
    text_box: Box | None
    drop: float = 0.0

    @property
    def length_px(self) -> float:
        """Distance of its ends."""
        return math.hypot(self.x1 - self.x0, self.drop)

    @property
    def pixel_size_nm(self) -> float:
        """Edge length of a pixel that follows from it."""
        return self.length_nm / self.length_px


@dataclass(frozen=True, eq=False, repr=False)
class Micrograph:
    """One 2-D image and what is known about it.

    Attributes:
        pixels: ``(H, W)`` float32, intensities as in the file; colour is converted to luminance. May contain NaN and
            infinities, which :func:`lisa_micro.io.to_unit_range` handles.
        pixel_size_nm: edge length of a pixel in nanometres, or ``None`` if unknown.
        source: path of the file, or a description.
        pixel_size_origin: source of the pixel size: ``"user"``, ``"imagej"``, ``"ome"``, ``"fei"``, ``"zeiss"``,
            ``"tescan"``, ``"jeol"``, ``"olympus"``, ``"tvips"``, ``"gatan"``, ``"side-car file"``,
            ``"scale bar"``, ``"tiff resolution"``, ``"mrc"``, ``"rosettasciio"``, ``"axes"``, ``"simulator"`` or
            ``"none"``.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"`` or ``None``.
        notes: what the reader changed or ignored, one sentence each.
        metadata: further metadata of the file; ``"stage_tilt_deg"`` is the tilt of the stage, where it is stated.
        field: the part of the picture that shows the specimen, XYXY px; ``None``: all of it. A data bar lies outside.
        covers: boxes with letters inside the field, XYXY px, which hide the specimen.
        scale_bar: the scale bar that was read from the picture or marked in it; ``None``: there is none, or it could
            not be read.
    """

    pixels: np.ndarray
    pixel_size_nm: float | None = None
    source: str = ""
    pixel_size_origin: str = "none"
    modality: str | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = dataclass_field(default_factory=dict)
    field: Box | None = None
    covers: tuple[Box, ...] = ()
    scale_bar: BurntInScale | None = None

    @property
    def field_box(self) -> Box:
        """The field of view, XYXY px: :attr:`field`, or the whole picture."""
        height, width = self.shape
        return self.field or (0, 0, width, height)

    @property
    def field_shape(self) -> tuple[int, int]:
        """``(H, W)`` of the field of view in px."""
        x0, y0, x1, y1 = self.field_box
        return y1 - y0, x1 - x0

    @property
    def field_area(self) -> int:
        """Number of pixels that show the specimen: those of the field without the boxes that cover it.

        This is what area fractions and number densities refer to.
        """
        x0, y0, x1, y1 = self.field_box
        hidden = np.zeros(self.field_shape, bool)
        for a, b, c, d in self.covers:
            hidden[max(b - y0, 0) : max(d - y0, 0), max(a - x0, 0) : max(c - x0, 0)] = True
        return int(hidden.size - np.count_nonzero(hidden))

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    def __repr__(self) -> str:
        size = "no pixel size" if self.pixel_size_nm is None else f"{self.pixel_size_nm:.4g} nm/px"
        return f"<Micrograph {self.source!r}: shape {self.shape}, {size} ({self.pixel_size_origin})>"


@dataclass(frozen=True, eq=False)
class Prompt:
    """What to segment, given by words, boxes or points.

    Attributes:
        words: a request in natural language.
        boxes: ``(N, 4)`` XYXY px.
        points: ``(N, 2)`` XY px.
        point_labels: ``(N,)``, 1 = on the object, 0 = not on the object.
    """

    words: str | None = None
    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    point_labels: np.ndarray | None = None


@dataclass(frozen=True)
class Value:
    """One measured number in a reply.

    Attributes:
        measure: the measure as written in the reply language, for example ``"mean diameter"``.
        value: the number, in ``unit``.
        unit: for example ``"nm"``; ``""`` for counts and fractions.
        text: the number and its unit as shown in the reply.
        target: number of the target that was measured, from 1.
        standard_error: of ``value``, in ``unit``; ``None`` where it is not known.
    """

    measure: str
    value: float
    unit: str
    text: str
    target: int
    standard_error: float | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """One particle followed through a video.

    Attributes:
        identity: track ID.
        frames: ``(n,)`` frame numbers, ascending.
        boxes: ``(n, 4)`` XYXY px, one per frame.
        parents: track IDs of the particles that coalesced into this one; empty for one that appeared.
    """

    identity: int
    frames: np.ndarray
    boxes: np.ndarray
    parents: tuple[int, ...] = ()
