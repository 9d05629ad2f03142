"""The comparison of words with boxes as plain data for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lisa_micro.results.quantities import number
from lisa_micro.viz import draw_overlay
from lisa_micro.viz.browser import png
from lisa_micro_app.handlers import Pending
from lisa_micro_app.limits import Limits
from lisa_micro_app.state.pages import Compared
from lisa_micro_app.state.session import Session
from lisa_micro_app.views.masks import image_view

_PICTURE_PX = 1400


def boxes_view(session: Session, limits: Limits, reset: bool = False) -> dict[str, Any]:
    """The micrograph to draw boxes on.

    Args:
        session: whose micrograph.
        limits: of the app.
        reset: whether to remove the drawn boxes.
    """
    picture, image = session.state.picture, None
    if picture is not None:
        image = image_view(session, picture.micrograph, picture.key, limits.display_px)
    return {"image": image, "name": picture.name if picture else "", "most": limits.boxes, "reset": reset}


def comparison_view(session: Session, pending: Pending | None = None, notice: str = "") -> dict[str, Any]:
    """The last comparison: a sentence, scores, overlays side by side, and a map of the differences.

    Args:
        session: whose comparison.
        pending: progress of a new comparison.
        notice: what is wrong.
    """
    view: dict[str, Any] = {"notice": notice, "pending": None, "ready": False}
    if pending is not None:
        view["pending"] = {"stage": pending.status, "seconds": pending.seconds}
    compared = session.comparison.compared
    if compared is None or pending is not None:
        return view
    if compared.pictures is None:
        _draw(session, compared)
    comparison = compared.comparison
    return view | {
        "ready": True,
        "image": compared.name,
        "sentence": comparison.sentence,
        "against": comparison.reference,
        "scores": plain_table(comparison.scores),
        "pictures": compared.pictures,
        "difference": compared.difference,
        "notes": list(comparison.notes),
    }


def _draw(session: Session, compared: Compared) -> None:
    """Draw the overlays and the map of differences."""
    from lisa_micro.evaluate.comparison.pictures import difference_map, shrunk

    comparison = compared.comparison
    image = comparison.image
    shown = {name: way.labels for name, way in comparison.ways.items()}
    if comparison.truth is not None:
        shown["truth"] = comparison.truth
    reference = shown.get("truth", next(iter(shown.values())))

    def put(picture: np.ndarray) -> str:
        return session.put(png(shrunk(picture, _PICTURE_PX)), "image/png")

    compared.pictures = [
        {
            "name": name,
            "caption": f"{len(np.unique(labels[labels > 0]))} objects",
            "url": put(draw_overlay(image.pixels, numbered_as(labels, reference), image.pixel_size_nm)),
        }
        for name, labels in shown.items()
    ]
    pair = list(dict.fromkeys(name for name in ("words", "boxes", *shown) if name in shown))[:2]
    if len(pair) == 2:
        one, other = (shown[name] > 0 for name in pair)
        url = put(difference_map(image.pixels, one, other))
        compared.difference = {"url": url, "one": pair[0], "other": pair[1]}


def numbered_as(labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Renumber instances after the reference instances that they overlap most, so that an object has the same colour in
    all pictures. Each number is used once; instances without a partner get numbers that the reference does not have.

    Args:
        labels, reference: ``(H, W)`` int32.
    """
    overlap, base = (labels > 0) & (reference > 0), int(reference.max(initial=0)) + 1
    pairs, counts = np.unique(labels[overlap].astype(np.int64) * base + reference[overlap], return_counts=True)
    chosen: dict[int, int] = {}
    used: set[int] = set()
    for pair in pairs[np.argsort(-counts, kind="stable")].tolist():
        label, partner = divmod(pair, base)
        if label not in chosen and partner not in used:
            chosen[label] = partner
            used.add(partner)
    table = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    for label in np.unique(labels[labels > 0]).tolist():
        table[label] = chosen.setdefault(label, base + len(chosen))
    return table[labels]


def plain_table(table: pd.DataFrame) -> dict[str, Any]:
    """A table of scores as column names and rows of text."""
    columns = [name for name in table.columns if name != "compared with"]
    rows = [
        [value if isinstance(value, str) else number(value) for value in record]
        for record in table[columns].itertuples(index=False)
    ]
    return {"columns": columns, "rows": rows}
