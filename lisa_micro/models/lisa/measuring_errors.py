"""A preset's own error in measuring sizes: a file beside its weights, written by ``benchmarks/sizes.py``.

It belongs to the weights that it was measured with: sha256 of the parts that outline particles stand in it, and with
other weights nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from lisa_micro.measure.uncertainty import CountError, ErrorCurve, MeasuringError
from lisa_micro.models.checkpoints import sha256
from lisa_micro.models.lisa.config import read_config

FILE = "measuring_error.json"
CALIBRATED_PARTS = ("sam_tower", "mask_head")
"""The parts of a model on which contours of particles depend."""


class _Curve(BaseModel):
    """Values against the size; all lists are equally long."""

    model_config = ConfigDict(extra="forbid")
    sizes: tuple[FiniteFloat, ...]
    bias: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _consistent(self) -> _Curve:
        columns = {name: values for name, values in self if name != "sizes"}
        if not self.sizes or any(len(values) != len(self.sizes) for values in columns.values()):
            raise ValueError("sizes and values must be equally many, at least one")
        if self.sizes[0] <= 0 or any(b <= a for a, b in zip(self.sizes, self.sizes[1:], strict=False)):
            raise ValueError("sizes must be positive and ascending")
        if any(value < 0 for name, values in columns.items() if name != "bias" for value in values):
            raise ValueError("deviations must not be negative")
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, ``(k,)`` each."""
        return {name: np.array(values) for name, values in self}


class _ErrorCurve(_Curve):
    """See :class:`lisa_micro.measure.uncertainty.ErrorCurve`."""

    between: tuple[FiniteFloat, ...]
    within: tuple[FiniteFloat, ...]


class _CountCurve(_Curve):
    """See :class:`lisa_micro.measure.uncertainty.CountError`."""

    dispersion: tuple[FiniteFloat, ...]


class _Concept(BaseModel):
    """See :class:`lisa_micro.measure.uncertainty.MeasuringError`."""

    model_config = ConfigDict(extra="forbid")
    size: str
    properties: dict[str, _ErrorCurve]
    count: _CountCurve | None = None


class MeasuringErrorFile(BaseModel):
    """Content of the file.

    Attributes:
        format: version of the format.
        parts: sha256 of each calibrated part.
        concepts: by name.
        source: what it was measured with, for the record.
    """

    model_config = ConfigDict(extra="forbid")
    format: Literal[1]
    parts: dict[str, str]
    concepts: dict[str, _Concept]
    source: dict[str, Any] = {}


def read_measuring_errors(folder: Path) -> Mapping[str, MeasuringError]:
    """The measuring error of a preset's folder by concept.

    Returns:
        empty without the file, or where it was measured with other weights.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    content = read_config(MeasuringErrorFile, path)
    if content.parts.keys() != set(CALIBRATED_PARTS) or any(
        not (weights := folder / f"{part}.safetensors").is_file() or sha256(weights) != content.parts[part]
        for part in CALIBRATED_PARTS
    ):
        return {}
    return {
        name: MeasuringError(
            concept.size,
            {column: ErrorCurve(**curve.arrays()) for column, curve in concept.properties.items()},
            None if concept.count is None else CountError(**concept.count.arrays()),
        )
        for name, concept in content.concepts.items()
    }
