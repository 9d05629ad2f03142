"""The interactive viewer of an answer: zoom, pan, masks to show and hide, number and size under the pointer."""

from __future__ import annotations

import base64
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io import format_length
from lisa_micro.results.quantities import instance_lines
from lisa_micro.types import Micrograph
from lisa_micro.viz.browser import display_shape, grey_picture, jpeg, labels_png, shades, viewer_page
from lisa_micro.viz.overlay import segment_colours

if TYPE_CHECKING:
    from lisa_micro.results.answer import Segmentation

NOTEBOOK_SIDE = 768
"""Longer side, px, of the picture in the output of a cell."""
NOTEBOOK_BYTES = 160_000
"""Largest size of that picture; a notebook keeps the outputs of all its cells."""
SHOWN_SIDE = 2048
"""Longer side, px, of the picture that ``show`` displays."""
_SMALLEST_SIDE = 256


def layer_view(segment: Segmentation, name: str, colour: str, url: str) -> dict[str, Any]:
    """A segment as a layer of the viewer, as plain data.

    Args:
        segment: the segment.
        name: unique among the layers.
        colour: ``#rrggbb``.
        url: address of its labels, as encoded by :func:`lisa_micro.viz.browser.labels_png`.

    Returns:
        ``id``, ``phrase``, ``concept``, ``colour``, ``count``, ``url``, ``shades``, ``boxes`` (XYXY px of every
        instance) and ``lines`` (measurements of every instance in words).
    """
    table = segment.table()
    columns = ["box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]
    boxes = table[columns].astype(int).values.tolist() if len(table) and set(columns) <= set(table) else []
    return {
        "id": name,
        "phrase": segment.phrase or segment.concept,
        "concept": segment.concept,
        "colour": colour,
        "count": int(np.count_nonzero(np.bincount(segment.labels.ravel())[1:])),
        "url": url,
        "shades": shades(segment.labels),
        "boxes": {str(int(label)): box for label, box in zip(table.get("label", []), boxes, strict=False)},
        "lines": instance_lines(segment),
    }


def answer_page(
    segments: Sequence[Segmentation],
    image: Micrograph | None,
    longest: int,
    most_bytes: int | None = None,
    alone: bool = False,
) -> str:
    """The viewer of segments as an HTML page without other files.

    Args:
        segments: at least one.
        image: the micrograph; without one, or with one of another shape, the background is black.
        longest: longer side of the picture, px.
        most_bytes: the picture is made smaller until it has no more; ``None``: it keeps its size.
        alone: whether the page fills a window, and is not in a frame.
    """
    shape = segments[0].labels.shape
    if image is None or image.shape != shape:
        image = Micrograph(np.zeros(shape, np.float32), segments[0].pixel_size_nm)
    side = max(min(longest, max(shape)), 1)
    while True:
        picture = jpeg(grey_picture(image, side))
        if most_bytes is None or len(picture) <= most_bytes or side <= _SMALLEST_SIDE:
            break
        side = max(_SMALLEST_SIDE, int(side * min(0.9, (most_bytes / len(picture)) ** 0.5)))
    height, width = image.shape
    shown = display_shape(image.shape, side)
    facts = f"{width} × {height} px"
    if image.pixel_size_nm is not None:
        facts += f" · {format_length(width * image.pixel_size_nm)} × {format_length(height * image.pixel_size_nm)}"
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in segment_colours(len(segments))]
    view = {
        "name": Path(image.source).name if image.source else "",
        "facts": facts,
        "image": {
            "url": _data_url(picture, "image/jpeg"),
            "width": width,
            "height": height,
            "shown": [shown[1], shown[0]],
            "nm": image.pixel_size_nm,
        },
        "layers": [
            layer_view(segment, str(k), colour, _data_url(labels_png(segment.labels, side, 9), "image/png"))
            for k, (segment, colour) in enumerate(zip(segments, colours, strict=True))
            if segment.labels.shape == shape
        ],
    }
    return viewer_page(view, alone)


def framed(page: str) -> str:
    """A page inside another one, in a frame that keeps their styles and scripts apart.

    The frame has no height until its script runs, which also hides the element in front of it.
    """
    # in single quotes, since the page is full of double ones
    text = page.replace("&", "&amp;").replace("'", "&#39;").replace("\n", "&#10;")
    style = "width:100%;height:0;border:0;display:block"
    return f"<iframe title='Viewer of the micrograph and its masks' style='{style}' srcdoc='{text}'></iframe>"


def show(html: str, page: str) -> None:
    """Show the viewer below the cell of a notebook, or, elsewhere, in a web browser.

    Args:
        html: for a notebook.
        page: for a browser; it is written to a temporary file, whose path is printed if no browser can be opened.
    """
    if in_notebook():
        from IPython.display import HTML, display

        display(HTML(html))
        return
    path = Path(tempfile.mkdtemp(prefix="lisa-micro-")) / "answer.html"
    path.write_text(page, encoding="utf-8")
    if not webbrowser.open(path.as_uri()):
        print(f"No web browser could be opened; the viewer is {path}")


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
