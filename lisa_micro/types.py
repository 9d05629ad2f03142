"""Basic data types shared by all packages.

Images are arrays of shape ``(H, W)``. Points are ``(x, y)`` and boxes ``(x0, y0, x1, y1)`` (XYXY, far edge exclusive),
both in pixels of the original micrograph. Instance labels are int32: 0 is the background, k is instance k.

The results of the assistant, ``Segmentation`` and ``Answer``, are defined in :mod:`lisa_micro.results.answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False, repr=False)
class Micrograph:
    """One 2-D image and what is known about it.

    Attributes:
        pixels: ``(H, W)`` float32, intensities as in the file; colour is converted to luminance. May contain NaN and
            infinities, which :func:`lisa_micro.io.to_unit_range` handles.
        pixel_size_nm: edge length of a pixel in nanometres, or ``None`` if unknown.
        source: path of the file, or a description.
        pixel_size_origin: source of the pixel size: ``"user"``, ``"imagej"``, ``"ome"``, ``"fei"``, ``"zeiss"``,
            ``"tiff resolution"``, ``"mrc"``, ``"rosettasciio"``, ``"axes"``, ``"simulator"`` or ``"none"``.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"`` or ``None``.
        notes: what the reader changed or ignored, one sentence each.
        metadata: further metadata of the file.
    """

    pixels: np.ndarray
    pixel_size_nm: float | None = None
    source: str = ""
    pixel_size_origin: str = "none"
    modality: str | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

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
    """

    measure: str
    value: float
    unit: str
    text: str
    target: int


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
