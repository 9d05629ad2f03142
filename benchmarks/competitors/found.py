"""What a method finds in a micrograph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Found:
    """The particles that a method finds.

    Attributes:
        name: of the picture.
        labels: ``(H, W)`` instance labels.
        diameters: equivalent diameters in px, as the method's own table has them.
        seconds: from intensities in memory to labels and table.
        processor_s: the same as processor time of all threads; ``None`` where it is not known.
        peak_gb: peak memory of the process where it is not the one that runs the step; otherwise 0.
    """

    name: str
    labels: np.ndarray
    diameters: list[float]
    seconds: float
    processor_s: float | None = None
    peak_gb: float = 0.0
