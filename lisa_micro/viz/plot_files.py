"""Write the plots of a tracked video: pictures and an interactive page."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.io import write_files
from lisa_micro.viz.plots import growth_figure, sizes_figure, timeline_figure
from lisa_micro.viz.plots_html import plots_page

if TYPE_CHECKING:
    import pandas as pd

PLOT_FILES = ("sizes.png", "growth.png", "timeline.png", "plots.html")


def save_plots(
    folder: str | os.PathLike[str],
    tracks: pd.DataFrame,
    events: pd.DataFrame,
    necks: pd.DataFrame,
    pairs: pd.DataFrame,
) -> list[Path]:
    """Write :data:`PLOT_FILES`; existing ones are replaced.

    Args:
        folder: created if missing. tracks: one row per particle and frame: ``frame, time_s, identity`` and the columns
        of :func:`measure_particles`. events: one row per event: ``kind, frame, time_s, before, after`` (tuples of track
        IDs). necks: one row per neck and frame, as for :func:`lisa_micro.measure.pair_growth`. pairs: the result of
        that function.

    Returns:
        the paths.

    Raises:
        InputError: the folder cannot be written, or a table lacks a column.
    """
    figures = {
        "sizes.png": sizes_figure(tracks),
        "growth.png": growth_figure(necks, pairs),
        "timeline.png": timeline_figure(tracks, events),
    }
    writers: dict[str, Callable[[Path], object]] = {name: figure.savefig for name, figure in figures.items()}
    page = plots_page(tracks, events, necks, pairs)
    writers["plots.html"] = lambda path: path.write_text(page, encoding="utf-8")
    return write_files(folder, writers)
