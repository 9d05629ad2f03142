"""What microscopes and programs state in the tags of a TIFF file; a module for each maker."""

from lisa_micro.io.tags.cameras import olympus, tvips
from lisa_micro.io.tags.fei import fei
from lisa_micro.io.tags.gatan import gatan
from lisa_micro.io.tags.jeol import jeol
from lisa_micro.io.tags.programs import imagej, ome
from lisa_micro.io.tags.stated import Edge, Stated
from lisa_micro.io.tags.tescan import tescan, tescan_entries
from lisa_micro.io.tags.zeiss import zeiss

FINDERS = (
    ("fei", fei),
    ("zeiss", zeiss),
    ("tescan", tescan),
    ("jeol", jeol),
    ("tvips", tvips),
    ("olympus", olympus),
    ("gatan", gatan),
    ("ome", ome),
    ("imagej", imagej),
)
"""Origin of a pixel size -> the reader that knows it, from the most to the least reliable."""

CODES = frozenset({33471, 33560, 34118, 34119, 34680, 34682, 34683, 37706, 50431, 65027})
"""Tags of microscopes that hold more than a single number."""

__all__ = ["CODES", "FINDERS", "Edge", "Stated", "tescan_entries"]
