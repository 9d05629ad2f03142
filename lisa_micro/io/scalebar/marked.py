"""A scale bar that a person marks in the picture: its two ends, and its length with a unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lisa_micro.io.pixelsize import BELIEVABLE_NM
from lisa_micro.io.scalebar.bar import Bar
from lisa_micro.io.units import unit_in_nm
from lisa_micro.types import Box, BurntInScale, InputError

LEAST_PX = 1.0
"""Least distance of the two ends."""
BESIDE_PX = 6.0
"""Distance across a marked bar within which what was found in the picture is taken for the same bar."""
EXAMPLES = "such as 20 nm or 0,5 µm"

_LENGTH = re.compile(r"(?P<number>[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+))\s*(?P<unit>.*)", re.DOTALL)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_SHOWN = 40


@dataclass(frozen=True)
class MarkedBar:
    """A scale bar as a person marks it; :func:`marked_scale` checks it.

    Attributes:
        ends: its two ends, ``x0, y0, x1, y1`` px from the left and upper edge of the picture, between pixels.
        length: its length with a unit, such as ``"20 nm"`` or ``"0,5 µm"``.
    """

    ends: tuple[float, ...]
    length: str


def stated_length(text: str) -> tuple[str, float]:
    """A length that a person typed, as text and in nm; decimal point or comma.

    Unlike what is read from a picture, it may have any number: the person sees the bar.

    >>> stated_length(" 0,5µm "), stated_length("20 nm")
    (('0.5 µm', 500.0), ('20 nm', 20.0))

    Raises:
        InputError: empty, no length, without a unit, with another unit than one of length, or not positive.
    """
    words = " ".join(text.split())
    shown = repr(words if len(words) <= _SHOWN else f"{words[:_SHOWN]}...")
    if not words:
        raise InputError(f"Type the length of the scale bar with its unit, {EXAMPLES}.")
    match = _LENGTH.fullmatch(words)
    if match is None:
        raise InputError(f"{shown} is no length; type the length of the scale bar with its unit, {EXAMPLES}.")
    number, unit = match["number"], match["unit"].strip()
    if _GROUPED.fullmatch(number):
        raise InputError(f"The comma in {shown} may separate thousands or decimals; leave it out, or use a point.")
    if not unit:
        raise InputError(f"The length {shown} has no unit; type it with one, {EXAMPLES}.")
    factor = unit_in_nm(unit)
    if factor is None:
        raise InputError(f"The unit of {shown} is no unit of length; use pm, Å, nm, µm or mm.")
    value = float(number.replace(",", "."))
    if not value > 0:
        raise InputError(f"The length of a scale bar must be positive, not {shown}.")
    return f"{value:.12g} {unit}", value * factor


def marked_scale(mark: MarkedBar, shape: tuple[int, int]) -> BurntInScale:
    """The scale bar that a person marked, as a line without height.

    Args:
        mark: ends and length.
        shape: ``(H, W)`` px of the picture.

    Raises:
        InputError: ends that are not four numbers, outside of the picture or at the same place; no length; or a pixel
            size that no micrograph can have.
    """
    x0, y0, x1, y1 = _checked_ends(mark.ends, shape)
    text, nm = stated_length(mark.length)
    if (x1, y1) < (x0, y0):
        x0, y0, x1, y1 = x1, y1, x0, y0
    scale = BurntInScale(x0, x1, (y0 + y1) / 2, 0.0, text, nm, None, y1 - y0)
    low, high = BELIEVABLE_NM
    if not low <= scale.pixel_size_nm <= high:
        raise InputError(
            f"A scale bar of {text} and {scale.length_px:.4g} px gives {scale.pixel_size_nm:.3g} nm per pixel, which "
            "no micrograph can have; check the length and its unit."
        )
    return scale


def _checked_ends(ends: Sequence[float], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = (float(value) for value in ends)
        known = all(map(math.isfinite, (x0, y0, x1, y1)))
    except (TypeError, ValueError, OverflowError):
        known = False
    if not known:
        raise InputError(f"The ends {str(ends)[:_SHOWN]} of the scale bar are not x0,y0,x1,y1: four numbers in px.")
    height, width = shape
    if not all(0 <= x <= width and 0 <= y <= height for x, y in ((x0, y0), (x1, y1))):
        raise InputError(
            f"The ends {x0:.6g},{y0:.6g} and {x1:.6g},{y1:.6g} of the scale bar are not both within the picture of "
            f"{width} x {height} px; mark them in the picture."
        )
    if math.hypot(x1 - x0, y1 - y0) < LEAST_PX:
        raise InputError("Both ends of the scale bar are at the same place; mark its one end and its other end.")
    return x0, y0, x1, y1


def with_surroundings(
    scale: BurntInScale, read: BurntInScale | None, bars: Sequence[Bar] = (), texts: Sequence[Box] = ()
) -> BurntInScale:
    """A marked scale bar with its height and the place of its text, as far as the picture shows them.

    Args:
        scale: from :func:`marked_scale`.
        read: what was read from the picture, right or wrong; ``None``: nothing.
        bars: candidates in the picture, px of the picture.
        texts: boxes of lines of text, XYXY px.
    """
    if read is not None and _same(scale, read.x0, read.x1, read.y, read.height):
        return replace(scale, y=read.y, height=read.height, text_box=read.text_box)
    like = [bar for bar in bars if _same(scale, bar.x0, bar.x1, (bar.y0 + bar.y1) / 2, bar.y1 - bar.y0)]
    if like:
        # of several candidates the one whose ends are nearest
        best = min(like, key=lambda bar: abs(bar.x0 - scale.x0) + abs(bar.x1 - scale.x1))
        scale = replace(scale, y=(best.y0 + best.y1) / 2, height=float(best.y1 - best.y0))
    beside = [box for box in texts if _beside(scale, box)]
    return replace(scale, text_box=min(beside, key=lambda box: _gap(scale, box))) if beside else scale


def _same(scale: BurntInScale, x0: float, x1: float, y: float, height: float) -> bool:
    """Whether a horizontal bar that was found lies where one was marked."""
    flat = abs(scale.drop) <= BESIDE_PX + height
    return flat and abs(scale.y - y) <= BESIDE_PX + height and max(scale.x0, x0) < min(scale.x1, x1)


def _gap(scale: BurntInScale, box: Box) -> float:
    """Distance across the bar of a text from it, px."""
    return max(box[1] - scale.y, scale.y - box[3], 0.0) - scale.height / 2


def _beside(scale: BurntInScale, box: Box) -> bool:
    """Whether a text stands above or below the bar, as near as lengths do."""
    middle = (box[0] + box[2]) / 2
    return scale.x0 <= middle <= scale.x1 and _gap(scale, box) <= 2 * (box[3] - box[1])
