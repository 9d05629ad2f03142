"""Length and lettering of scale bars, shared by the overlays of results and by the simulator's annotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

DEFAULT_FONT = "DejaVuSans.ttf"
"""Font of overlays."""


@dataclass(frozen=True)
class ScaleBar:
    """Length of a scale bar in nm and in px of the picture."""

    nm: float
    px: float


def nice_length(longest_nm: float, tolerance: float = 1e-9) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most ``longest_nm``, in nm.

    Args:
        longest_nm: upper limit, positive.
        tolerance: relative amount by which the limit may be exceeded, for limits that suffer from rounding.
    """
    power = 10.0 ** math.floor(math.log10(longest_nm))
    return next(factor * power for factor in (5, 2, 1, 0.5) if factor * power <= longest_nm * (1 + tolerance))


def scale_bar(longest_px: float, pixel_nm: float, tolerance: float = 1e-9) -> ScaleBar:
    """The longest scale bar of a round length.

    Args:
        longest_px: upper limit in px of the picture.
        pixel_nm: edge length of a pixel of the picture.
        tolerance: as for :func:`nice_length`.
    """
    nm = nice_length(pixel_nm * longest_px, tolerance)
    return ScaleBar(nm, nm / pixel_nm)


@lru_cache(maxsize=16)
def font_file(name: str) -> str | None:
    """Path of a font that is shipped with matplotlib (found without importing it), or ``None``.

    Unlike Pillow's own font, these have the micro sign and the scripts of Europe.
    """
    package = find_spec("matplotlib")
    for location in (package.submodule_search_locations or []) if package else []:
        path = Path(location) / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return str(path)
    return None


@lru_cache(maxsize=256)
def load_font(name: str, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """A font of ``size`` px: matplotlib's ``name``, or Pillow's own if that is not installed."""
    from PIL import ImageFont

    try:
        file = font_file(name)
        return ImageFont.truetype(file, size) if file else ImageFont.load_default(size=size)
    except (OSError, ImportError):  # a Pillow built without FreeType has a single small font
        return ImageFont.load_default()
