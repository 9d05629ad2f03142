"""The words of version 2 of the reply language as data, and how long its parts may be.

Version 1's words are in :mod:`lisa_micro.language.words`; this module adds to them.
"""

from __future__ import annotations

from lisa_micro.language import words
from lisa_micro.language.words import Property

PLOT, END_PLOT = "<plot>", "</plot>"
UNKNOWN, CANNOT = "<unknown>", "<cannot>"
PROGRAM_TOKENS = (*words.SPECIAL_TOKENS, PLOT, END_PLOT, UNKNOWN, CANNOT)
"""The special tokens of version 2; those of version 1 come first, so that their numbers stay."""

PROPERTIES: dict[str, Property] = words.PROPERTIES | {
    "thickness": Property("thickness", "length", ("layer", "shell", "fibre")),
    "opening": Property("opening", "length", ("crack",)),
}
"""Property -> its column of measured instances, in px or without unit."""

RANK_WORDS: dict[str, tuple[str, bool]] = {
    "largest": ("area", True),
    "smallest": ("area", False),
    "longest": ("length", True),
    "roundest": ("circularity", True),
    "darkest": ("intensity", False),
    "brightest": ("intensity", True),
}
"""Rank word -> the property that it sorts by, and whether the greatest come first. "Largest" of necks goes by their
width."""
HIGHEST, LOWEST = "highest", "lowest"

COMPARATORS = (">=", "<=", ">", "<", "=", "~")
"""``~`` means within 10 per cent."""
STATISTICS_OF_REST = ("mean", "median", "D10", "D90")
"""What a comparison may take of the instances that are left so far."""
STATISTICS_OF_SET = ("mean", "median", "min", "max", "D10", "D90")
"""What a comparison may take of another set."""
STATISTICS = words.STATISTICS
WHOLE_MEASURES = (*words.WHOLE_MEASURES, "intercept", "line density")
"""``intercept``: mean intercept length of grains; ``line density``: length of lines per area."""
WHOLE_DIMENSIONS = {"intercept": "length", "line density": "inverse length"}

FLAGS = words.FLAGS
THIRDS = ("left third", "right third", "top third", "bottom third", "middle column", "middle row")
"""Thirds of the image; ``middle column`` lies between left and right third, ``middle row`` between top and bottom."""
REGIONS = (*words.REGIONS, *THIRDS)
EDGES = ("left edge", "right edge", "top edge", "bottom edge", "image edge")
"""Edges that instances may be near to; ``image edge`` is the nearest of the four."""
PLACES = ("centre", *words.CORNERS, *EDGES)

CONTACT_RELATIONS = ("touching", "inside", "containing", "with", "within")
"""Relations that hold with at least one member of a set, or with a number of them that is compared."""
ORDER_RELATIONS = ("left of", "right of", "above", "below", "larger than", "smaller than")
"""Relations that must hold with every member of a set."""
AMONG = "among"
"""Membership of a set of the same concept."""
RELATIONS = (*CONTACT_RELATIONS, *ORDER_RELATIONS, AMONG)
COUNTERS = (">=", "<=", ">", "<", "=")
"""How the number of members that a contact relation holds with may be compared."""

PLOT_KINDS = ("histogram", "cumulative", "scatter")

CANNOT_TOPICS: dict[str, str] = {
    "composition": "which elements or compounds something is made of",
    "structure": "crystal structure, phase, orientation, lattice, defects in it",
    "height": "the third dimension: height, thickness of the specimen, volume, roughness",
    "property": "mechanical, electrical, magnetic, optical, catalytic or thermal properties",
    "history": "how the specimen was made, treated, or when the picture was taken",
    "prediction": "what will happen, or what would happen under other conditions",
    "cause": "why something is as it is",
    "editing": "changing the picture: denoising, recolouring, removing, enlarging",
    "instrument": "operating or setting the microscope",
    "other images": "comparing with pictures or data that are not open",
    "test": "tests of significance, fits and models that are not built in",
    "shape": "shapes, patterns and arrangements for which there is no measure",
    "opinion": "whether something is good, publishable, enough",
    "other": "anything else that no program says",
}
"""Topic of ``<cannot>`` -> what it covers."""

MAX_STEPS = 6
"""Steps of a pipeline."""
MAX_FILTERS = 4
"""Filters of a union."""
MAX_DEPTH = 2
"""Sets within sets."""
MAX_TARGETS = 6
MAX_SLOTS = 8
"""Values and plots of a reply."""
MAX_SLOT_CHARACTERS = 600
"""Characters of a slot that are read; a longer one counts as not understood."""
MAX_DIGITS = 12
"""A longer number is noise of a model, and turning it into one would be slow."""
MAX_UNKNOWN_CHARACTERS = 80
"""Characters of the name of an unknown thing that are repeated."""
