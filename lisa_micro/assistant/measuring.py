"""What a program is executed on in a conversation: the instances that were found for its concepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from lisa_micro.assistant.targets import TargetInstances
from lisa_micro.execution import Instances
from lisa_micro.measure.structures import whole_measures
from lisa_micro.measure.uncertainty import MeasuringError
from lisa_micro.types import Micrograph


class FoundMeasures:
    """The instances of each concept of a reply. It is a :class:`lisa_micro.execution.Measures`.

    Args:
        image: the micrograph.
        found: instances by concept.
        absent: concepts that are not in the micrograph, whatever was found.
        errors: of the model, by concept, as far as they are known.

    Attributes:
        shape: ``(H, W)`` px.
        pixel_size_nm: edge of a pixel in nm; None where unknown.
    """

    def __init__(
        self,
        image: Micrograph,
        found: dict[str, TargetInstances],
        absent: Iterable[str] = (),
        errors: Mapping[str, MeasuringError] | None = None,
    ):
        self.shape, self.pixel_size_nm = image.shape, image.pixel_size_nm
        self.found, self.absent, self.errors = found, frozenset(absent), errors or {}
        self._instances: dict[str, Instances] = {}

    def instances_of(self, concept: str) -> Instances:
        """All instances of a concept; none of one that is absent or was not looked for."""
        if concept not in self._instances:
            self._instances[concept] = self._of(concept)
        return self._instances[concept]

    def _of(self, concept: str) -> Instances:
        import pandas as pd

        found = self.found.get(concept)
        if found is None or concept in self.absent:
            columns = ("label", "x", "y", "area")
            return Instances(pd.DataFrame({name: np.zeros(0) for name in columns}), np.zeros(self.shape, np.int32))
        whole = whole_measures(found.labels, concept)
        error, scale = self.errors.get(concept), found.tower_scale
        error = None if error is None or scale is None else error.scaled(scale)
        return Instances(pd.DataFrame(dict(found.properties)), found.labels, whole, error)
