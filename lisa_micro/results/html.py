"""HTML representation of results for notebooks: a title, facts, the viewer or a small picture, the head of a table."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 5
"""Rows of the table that are shown."""
MAX_COLUMNS = 8
"""Columns of the table that are shown."""


def result_html(
    title: str,
    facts: Sequence[str],
    picture: bytes | None,
    table: pd.DataFrame | None,
    plots: Sequence[tuple[str, bytes]] = (),
    viewer: str = "",
) -> str:
    """HTML for ``_repr_html_`` of a result.

    Args:
        title: heading.
        facts: one line each, shown below the heading.
        picture: PNG file, for example from :func:`lisa_micro.viz.thumbnail.overlay_thumbnail`.
        table: its first :data:`MAX_ROWS` rows and :data:`MAX_COLUMNS` columns are shown; what is omitted is stated.
        plots: title and PNG file of each plot, shown below the picture.
        viewer: HTML of the interactive viewer that takes the place of the picture where scripts run; see
            :func:`lisa_micro.results.viewer.framed`.

    Returns:
        a ``<div>`` that needs no further files. Text is escaped.
    """
    parts = [f"<strong>{html.escape(title)}</strong>"] if title else []
    parts += [f"<div>{html.escape(fact)}</div>" for fact in facts]
    if picture is not None:
        parts.append(f"<div>{_image('overlay', picture)}{viewer}</div>")
    parts += [_image(name, plot) for name, plot in plots]
    if table is not None and len(table):
        shown = table.iloc[:MAX_ROWS, :MAX_COLUMNS]
        parts.append(shown.to_html(index=False, border=0, float_format=lambda value: f"{value:.4g}"))
        if shown.shape != table.shape:
            parts.append(f"<small>{len(table)} rows, {len(table.columns)} columns in all</small>")
    return f'<div class="lisa-micro-result">{"".join(parts)}</div>'


def _image(name: str, png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<img alt="{html.escape(name)}" style="max-width:480px;width:100%;display:block" '
        f'src="data:image/png;base64,{data}">'
    )
