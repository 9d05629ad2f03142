"""The words of the project as small frozen dataclasses.

Axis order everywhere: images are ``(H, W)``, points and boxes are ``x, y`` in pixels of the original micrograph,
boxes are ``x0, y0, x1, y1`` (XYXY) with the far edge exclusive. Instance labels are int32, 0 = background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CONCEPTS = ("particle", "neck", "pore", "agglomerate", "substrate")
"""What the default preset can outline. A concept has instances, but for ``substrate``, which is one region."""


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
    """Input that cannot be used. The message is one sentence that says what is wrong and what to do; the command
    line prints it and exits with code 2."""


@dataclass(frozen=True)
class Micrograph:
    """One 2-D image.

    Attributes:
        pixels: ``(H, W)`` float32, intensities as in the file (colour turned into luminance); may hold NaN or
            infinities, which :func:`lisa_micro.io.to_unit_range` handles.
        pixel_size_nm: edge of a pixel in nanometres, ``None`` where unknown.
        source: where the image came from, a path or a description.
        pixel_size_origin: where the pixel size came from: ``"user"``, ``"imagej"``, ``"ome"``, ``"fei"``,
            ``"zeiss"``, ``"tiff resolution"``, ``"mrc"``, ``"rosettasciio"``, ``"simulator"``, or ``"none"``.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"``, ``"SEM"`` or ``None``.
        notes: what the reader had to do and a user should know, one sentence each.
        metadata: what else the file said.
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


@dataclass(frozen=True)
class Prompt:
    """What to segment, by one of three ways: words, boxes ``(N, 4)`` XYXY px, or points ``(N, 2)`` XY px with
    point labels ``(N,)`` (1 = inside, 0 = outside)."""

    words: str | None = None
    boxes: np.ndarray | None = None
    points: np.ndarray | None = None
    point_labels: np.ndarray | None = None


@dataclass(frozen=True)
class Segmentation:
    """The answer to one target.

    Attributes:
        labels: ``(H, W)`` int32, instance k where the value is k, numbered 1..n without gaps (but where boxes prompted
            it: instance k comes from box k, which may have given nothing).
        score: 0..1, predicted quality of the mask.
        presence: 0..1, probability that what was asked for is in the micrograph.
        concept: one of :data:`CONCEPTS`, or ``"object"`` where points or boxes prompted it.
        phrase: the words of the reply that refer to it.
        where: the constraint as written by the language model, ``""`` where there is none.
        pixel_size_nm: as in the micrograph.
        properties: measured properties, one row an instance; units in the column names.
        notes: what a user should know, one sentence each.
        target: number of the target of the reply that it answers, from 1, as in :class:`Value`; 0 where points or
            boxes prompted it.
    """

    labels: np.ndarray
    score: float = 1.0
    presence: float = 1.0
    concept: str = "object"
    phrase: str = ""
    where: str = ""
    pixel_size_nm: float | None = None
    properties: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    target: int = 0

    @property
    def mask(self) -> np.ndarray:
        """``(H, W)`` bool: where any instance is."""
        return self.labels > 0

    @property
    def count(self) -> int:
        """Number of instances: the highest of their numbers."""
        return int(self.labels.max(initial=0))

    def table(self) -> pd.DataFrame:
        """Measured properties, one row an instance, units in the column names (empty table where not measured)."""
        import pandas as pd

        return pd.DataFrame() if self.properties is None else self.properties


@dataclass(frozen=True)
class Value:
    """One measured number of a reply: ``measure`` as in the reply language, ``value`` in ``unit`` (``""`` for
    counts and fractions)."""

    measure: str
    value: float
    unit: str
    text: str
    target: int


@dataclass(frozen=True)
class Answer:
    """A reply.

    Attributes:
        text: the reply as shown, with values filled in.
        segments: one :class:`Segmentation` per target that is there.
        prompt: what was asked.
        raw: the reply as the language model wrote it.
        values: the numbers in the text, in order.
        declined: true where the answer is that nothing of the kind is there.
        notes: notices for the user (prompt cut, clause not understood, ...).
        seconds: time per stage.
    """

    text: str
    segments: tuple[Segmentation, ...] = ()
    prompt: str = ""
    raw: str = ""
    values: tuple[Value, ...] = ()
    declined: bool = False
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def labels(self, shape: tuple[int, int]) -> np.ndarray:
        """All instances in one label image.

        Args:
            shape: ``(H, W)`` of the micrograph.

        Returns:
            ``(H, W)`` int32, 1..n; of segments that overlap the earlier one keeps the pixel. All 0 where the answer
            outlines nothing, or labels of another shape (which are no answer to this micrograph).
        """
        out, count = np.zeros(shape, np.int32), 0
        for segment in self.segments:
            labels = np.asarray(segment.labels)
            if labels.shape != shape:
                continue
            out = np.where((out == 0) & (labels > 0), labels + count, out)
            count += int(labels.max(initial=0))
        return out.astype(np.int32)


@dataclass(frozen=True)
class Track:
    """One particle followed through a video: ``frames`` ``(n,)`` ascending, ``boxes`` ``(n, 4)`` XYXY px,
    ``parents`` identities that fused into this one (empty for one that appeared)."""

    identity: int
    frames: np.ndarray
    boxes: np.ndarray
    parents: tuple[int, ...] = ()
