"""Measure the particles and necks of a video frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.measure import Neck, measure_necks, particle_properties, particle_table
from lisa_micro.measure.contacts import MAX_GAP
from lisa_micro.measure.waists import body_gap

if TYPE_CHECKING:
    import pandas as pd

_MOST_PARTS = 100  # tables of single frames that are kept before they are joined


class TableBuilder:
    """Collects the tables of tracks and necks while frames become final.

    Args:
        pixel_size_nm, frame_time_s: ``None`` if unknown.
        contacts: whether to measure necks.
    """

    def __init__(self, pixel_size_nm: float | None, frame_time_s: float | None, contacts: bool):
        self.pixel_size_nm, self.frame_time_s, self.contacts = pixel_size_nm, frame_time_s, contacts
        self._tracks: list[pd.DataFrame] = []
        self._necks: list[pd.DataFrame] = []

    def add(
        self, frame: int, labels: np.ndarray, pixels: np.ndarray, drift: Sequence[float] | None
    ) -> tuple[dict[str, np.ndarray], list[Neck]]:
        """Measure a frame and add its rows.

        Args:
            frame: frame number.
            labels: ``(H, W)`` int32 track IDs.
            pixels: ``(H, W)`` intensities of the frame.
            drift: x, y px of the sample since the first frame, if measured.

        Returns:
            properties of the particles, as from :func:`lisa_micro.measure.particle_properties`, and the necks.
        """
        properties = particle_properties(labels, pixels)
        table = particle_table(properties, self.pixel_size_nm).rename(columns={"label": "identity"})
        if drift is not None:
            table["sample_x_px"] = table["centroid_x_px"] - drift[0]
            table["sample_y_px"] = table["centroid_y_px"] - drift[1]
        necks = measure_necks(labels if self.contacts else np.zeros_like(labels), self.pixel_size_nm)
        # Contours that bulge towards each other are not a contact: such contacts flicker and start many frames early.
        pairs = zip(necks["particle_a"], necks["particle_b"], strict=True)
        real = np.array([body_gap(labels, a, b) <= MAX_GAP for a, b in pairs], bool)
        necks = necks[real].reset_index(drop=True)
        necks["neck"] = np.arange(1, len(necks) + 1)
        for rows, store in ((table, self._tracks), (necks, self._necks)):
            rows.insert(0, "frame", frame)
            rows.insert(1, "time_s", frame * (np.nan if self.frame_time_s is None else self.frame_time_s))
            # empty tables are left out, since they would make the column types ambiguous
            if len(rows) or not store:
                store.append(rows)
            if len(store) > _MOST_PARTS:  # many small tables need ten times the memory of a large one
                store[:] = [_joined(store)]
        return properties, _as_necks(necks)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the tables of tracks and of necks over all frames."""
        return _joined(self._tracks), _joined(self._necks)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _as_necks(table: pd.DataFrame) -> list[Neck]:
    columns = ("particle_a", "particle_b", "x0_px", "y0_px", "x1_px", "y1_px", "x_px", "R_px")
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    return [Neck(a, b, ((x0, y0), (x1, y1)), x, radius) for a, b, x0, y0, x1, y1, x, radius in rows]
