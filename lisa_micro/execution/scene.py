"""What a program is executed on: measured instances of concepts, supplied when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lisa_micro.io.lazy import CompactLabels
from lisa_micro.measure.structures import concept_properties, whole_measures
from lisa_micro.measure.uncertainty import MeasuringError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Instances:
    """The measured instances of one concept.

    Attributes:
        table: one row an instance. Columns in px or without unit, named as in
            :func:`lisa_micro.measure.structures.concept_properties`; ``label``, ``x``, ``y`` and ``area`` are required.
        labels: ``(H, W)`` integers, 0 = background, in memory or as runs; an instance is where its ``label`` is. None
            where there are no outlines: relations by geometry then cannot be told.
        whole: measures of all instances together that a table cannot give, in px (``intercept``, ``line density``).
        error: of the model that outlined them; None where it is not known.
    """

    table: pd.DataFrame
    labels: np.ndarray | CompactLabels | None = None
    whole: Mapping[str, float] = field(default_factory=dict)
    error: MeasuringError | None = None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def numbers(self) -> np.ndarray:
        """``(n,)`` int64 labels of the instances."""
        return self.table["label"].to_numpy(np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` px of the labels.

        Raises:
            ValueError: there are no outlines.
        """
        if self.labels is None:
            raise ValueError("these instances have no outlines")
        return int(self.labels.shape[0]), int(self.labels.shape[1])

    @cached_property
    def _rows(self) -> np.ndarray:
        """k + 1 for the label of instance k (row of the table), 0 for all others."""
        labels = self.labels
        if labels is None:
            raise ValueError("these instances have no outlines")
        highest = labels.count if isinstance(labels, CompactLabels) else int(labels.max(initial=0))
        rows = np.zeros(max(highest, int(self.numbers.max(initial=0))) + 1, np.int32)
        rows[self.numbers] = np.arange(1, len(self.numbers) + 1)
        return rows

    def window(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """``(h, w)`` int32: k + 1 where instance k (row of the table) is, in a part of the image, clipped to it.

        Raises:
            ValueError: there are no outlines.
        """
        rows = self._rows
        assert self.labels is not None
        return np.asarray(rows[self.labels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]])

    @cached_property
    def indexed(self) -> np.ndarray:
        """The :meth:`window` that is the whole image.

        Raises:
            ValueError: there are no outlines.
        """
        height, width = self.shape
        return self.window(0, height, 0, width)


class Measures(Protocol):
    """A micrograph (or a video's tracks) with its measured instances."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` of the field of view, px."""
        ...

    @property
    def pixel_size_nm(self) -> float | None:
        """Edge of a pixel in nm, None where unknown."""
        ...

    def instances_of(self, concept: str) -> Instances:
        """All instances of a concept; called only for concepts that a program refers to. None of them: no rows."""
        ...


class LabelledScene:
    """Measures of label images that are at hand.

    Args:
        labels: concept -> ``(H, W)`` integers, 0 = background; a concept that is missing has no instances.
        pixel_size_nm: edge of a pixel in nm, None where unknown.
        pixels: ``(H, W)`` intensities.
        shape: ``(H, W)``, needed only where ``labels`` is empty.
        columns: concept -> columns that replace those measured on its labels, such as the ``neck_width`` of necks
            (px), which their masks do not tell exactly.
    """

    def __init__(
        self,
        labels: Mapping[str, np.ndarray],
        pixel_size_nm: float | None = None,
        pixels: np.ndarray | None = None,
        shape: tuple[int, int] = (0, 0),
        columns: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ):
        self._labels, self._pixels, self._columns = dict(labels), pixels, dict(columns or {})
        self.pixel_size_nm = pixel_size_nm
        first = next(iter(self._labels.values()), None)
        self.shape: tuple[int, int] = shape if first is None else (int(first.shape[0]), int(first.shape[1]))
        self._measured: dict[str, Instances] = {}

    def instances_of(self, concept: str) -> Instances:
        """Measured at the first call."""
        if concept not in self._measured:
            import pandas as pd

            labels = self._labels.get(concept)
            labels = np.zeros(self.shape, np.int32) if labels is None else labels
            properties = concept_properties(labels, concept, self._pixels)
            if concept == "neck":  # what is measured on masks of necks are necks between necks
                properties = {name: values for name, values in properties.items() if not name.startswith("neck_")}
            table = pd.DataFrame(properties | dict(self._columns.get(concept, {})))
            self._measured[concept] = Instances(table, labels, whole_measures(labels, concept))
        return self._measured[concept]
