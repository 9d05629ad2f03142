"""What may be a scale bar, and the limits of what may be one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lisa_micro.types import Box

FAINTEST = 150.0
"""Least grey level of a light bar; 255 less this is the largest of a dark one."""
LONGEST_SHARE = 0.85
"""Longest bar as a share of the width: a longer stroke is a frame or the edge of a data bar."""


@dataclass(frozen=True)
class Bar:
    """What may be a scale bar.

    Attributes:
        x0, x1: its ends, px from the left edge of the picture, between pixels.
        y0, y1: its upper and lower edge.
        light: whether it is lighter than its surroundings.
        kind: ``"bar"``, ``"ticks"``, or ``"halves"`` of a bar with its length in between.
        score: contrast with the surroundings over the spread of its grey value; the larger, the likelier.
        ticks: width in px of the tick at its left and at its right end, 0 without one; ``x0`` and ``x1`` lie in the
            middle of both if there are two.
        gap: of two halves the inner ends, between which their length stands.
    """

    x0: float
    x1: float
    y0: int
    y1: int
    light: bool
    kind: str = "bar"
    score: float = 0.0
    ticks: tuple[float, float] = (0.0, 0.0)
    gap: tuple[float, float] | None = None

    @property
    def length(self) -> float:
        """px."""
        return self.x1 - self.x0

    def times(self, factor: int) -> Bar:
        """The bar in a picture that is ``factor`` times as large."""
        gap = None if self.gap is None else (self.gap[0] * factor, self.gap[1] * factor)
        ticks = (self.ticks[0] * factor, self.ticks[1] * factor)
        x0, x1, y0, y1 = (value * factor for value in (self.x0, self.x1, self.y0, self.y1))
        return replace(self, x0=x0, x1=x1, y0=int(y0), y1=int(y1), ticks=ticks, gap=gap)

    @property
    def box(self) -> Box:
        """XYXY px."""
        return int(np.floor(self.x0)), self.y0, int(np.ceil(self.x1)), self.y1
