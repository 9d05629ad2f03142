"""Micrographs and segments as plain data for the page, with the addresses of their pictures.

The page needs no further request for colours, opacity, contours, zoom and hover; see :mod:`lisa_micro.viz.browser`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from lisa_micro.results.answer import Segmentation
from lisa_micro.results.viewer import layer_view
from lisa_micro.types import Micrograph
from lisa_micro.viz.browser import display_shape, grey_png, labels_png
from lisa_micro_app.state.session import Session


def image_view(session: Session, image: Micrograph, key: str, longest: int) -> dict[str, Any]:
    """The micrograph as plain data: ``url``, ``width`` and ``height`` in px, size as sent (``shown``), pixel size."""
    height, width = image.shape
    shown = display_shape(image.shape, longest)
    return {
        "key": key,
        "url": session.once(f"image-{key}-{longest}{marks_key(image)}", "image/png", lambda: grey_png(image, longest)),
        "width": width,
        "height": height,
        "shown": [shown[1], shown[0]],
        "nm": image.pixel_size_nm,
    }


def marks_key(image: Micrograph) -> str:
    """Part of the name of a picture that differs where another scale bar is drawn into it; ``""`` without one."""
    if image.scale_bar is None:
        return ""
    return "-" + hashlib.blake2b(repr(image.scale_bar).encode(), digest_size=6).hexdigest()


def layer_views(
    session: Session, segments: Sequence[Segmentation], colours: Sequence[str], key: str, longest: int
) -> list[dict[str, Any]]:
    """Segments as plain data, one layer each.

    Args:
        session: offers the pictures.
        segments, colours: one colour ``#rrggbb`` per segment.
        key: unique name of the answer within the session.
        longest: longer side of the label pictures, px.

    Returns:
        one :func:`lisa_micro.results.viewer.layer_view` each.
    """
    return [
        layer_view(
            segment,
            f"{key}-{k}",
            colour,
            session.once(f"labels-{key}-{k}", "image/png", partial(labels_png, segment.labels, longest)),
        )
        for k, (segment, colour) in enumerate(zip(segments, colours, strict=True))
    ]
