"""The answer to a request about a plane that is too large to hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_micro.io.lazy import CompactLabels, Plane
from lisa_micro.large_images.planes.overview import Overview
from lisa_micro.results.answer import Answer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class PlaneSegment:
    """The instances found for one target.

    Attributes:
        labels: numbered 1..n without gaps; ``labels[y0:y1, x0:x1]`` is that part, int32.
        properties: one row per instance, units in the column names.
        concept, phrase, where, score, presence, pixel_size_nm, target: as in
            :class:`lisa_micro.results.answer.Segmentation`.
    """

    labels: CompactLabels
    properties: pd.DataFrame
    concept: str
    phrase: str = ""
    where: str = ""
    score: float = 1.0
    presence: float = 1.0
    pixel_size_nm: float | None = None
    target: int = 0

    @property
    def count(self) -> int:
        """Number of instances."""
        return self.labels.count

    def table(self) -> pd.DataFrame:
        """Measured properties, one row per instance, units in the column names."""
        return self.properties

    def __repr__(self) -> str:
        return f"<PlaneSegment: {self.count} x {self.concept}, shape {self.labels.shape}>"


@dataclass(frozen=True, eq=False, repr=False)
class PlaneAnswer:
    """The answer to one request about a plane.

    Attributes:
        answer: the reply, its values, plots and notes; without segments.
        segments: one for each target that was found.
        plane: what the request was about.
        overview: the plane as a whole, reduced.
    """

    answer: Answer
    segments: tuple[PlaneSegment, ...]
    plane: Plane
    overview: Overview

    @property
    def text(self) -> str:
        """The reply, with measured values filled in."""
        return self.answer.text

    @property
    def notes(self) -> tuple[str, ...]:
        """Notices for the user."""
        return self.answer.notes

    def save(
        self, folder: str | os.PathLike[str], *, details: Mapping[str, Any] | None = None, force: bool = False
    ) -> list[Path]:
        """Write ``overlay.png`` (reduced), ``labels.tif`` (in tiles), ``instances.csv``, plots and ``answer.json``.

        Args:
            folder: created if missing.
            details: further entries of ``answer.json``.
            force: whether existing results may be replaced.

        Raises:
            InputError: the folder cannot be written, or holds results and ``force`` is false.
        """
        from lisa_micro.large_images.planes.files import save_plane

        return save_plane(self, folder, details=details, force=force)

    def __repr__(self) -> str:
        return f"<PlaneAnswer: {self.text[:60]!r}, {', '.join(map(repr, self.segments)) or 'no segments'}>"
