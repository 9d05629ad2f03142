"""The words of the reply language as data; nothing here knows about images or models.

Whoever adds a word adds it here, then a phrasing for it in ``datasets/texts``, and retrains.
"""

from __future__ import annotations

from dataclasses import dataclass

SEG = "[SEG]"
WHERE, END_WHERE = "<where>", "</where>"
VALUE, END_VALUE = "<value>", "</value>"
ABSENT = "<absent>"
SPECIAL_TOKENS = (SEG, WHERE, END_WHERE, VALUE, END_VALUE, ABSENT)
"""Added to the tokenizer as single tokens in this order, with ``lstrip=True``: the space before is free."""

CONCEPT_NOUNS: dict[str, tuple[str, str]] = {
    "particle": ("particle", "particles"),
    "neck": ("neck", "necks"),
    "pore": ("pore", "pores"),
    "agglomerate": ("agglomerate", "agglomerates"),
    "substrate": ("substrate", "substrate"),
}
"""Concept -> canonical singular and plural, the nouns that replies use."""


@dataclass(frozen=True)
class Property:
    """A measured property.

    Attributes:
        key: name of its column in ``measure.particle_properties``, in px or without unit.
        dimension: ``"length"``, ``"area"`` or ``"none"``.
        concepts: the concepts for which it is asked in the texts.
    """

    key: str
    dimension: str
    concepts: tuple[str, ...]


_BLOBS = ("particle", "pore", "agglomerate")
PROPERTIES: dict[str, Property] = {
    "diameter": Property("diameter", "length", _BLOBS),
    "radius": Property("radius", "length", _BLOBS),
    "area": Property("area", "area", (*_BLOBS, "neck")),
    "length": Property("length", "length", _BLOBS),
    "width": Property("width", "length", _BLOBS),
    "perimeter": Property("perimeter", "length", _BLOBS),
    "circularity": Property("circularity", "none", _BLOBS),
    "aspect ratio": Property("aspect_ratio", "none", _BLOBS),
    "neck width": Property("neck_width", "length", ("neck", "particle")),
    "neck radius": Property("neck_radius", "length", ("neck", "particle")),
    "neck ratio": Property("neck_ratio", "none", ("neck", "particle")),
    "intensity": Property("intensity", "none", ("particle", "pore")),
    "gap": Property("gap", "length", ("particle",)),
    "contacts": Property("contacts", "none", ("particle",)),
}
"""The properties of the grammar. ``contacts`` (number of neighbours in contact), ``perimeter``, ``radius``,
``neck radius`` (halves of diameter and neck width: no sums to do) go beyond the list of the design."""

COMPARATORS = (">=", "<=", ">", "<", "~")
"""``~`` means: within 10 %."""
TOLERANCE = 0.1
RELATIVE = ("mean", "median")
"""A comparison may be with the mean or the median of the property over the instances that are left so far."""

UNITS: dict[str, tuple[str, ...]] = {
    "length": ("nm", "px", "um", "A"),
    "area": ("nm2", "px2", "um2"),
    "none": (),
}
NM_PER_UNIT = {"nm": 1.0, "um": 1000.0, "A": 0.1, "nm2": 1.0, "um2": 1e6}

RANKS: dict[str, tuple[str, bool]] = {
    "largest": ("area", True),
    "smallest": ("area", False),
    "longest": ("length", True),
    "roundest": ("circularity", True),
    "darkest": ("intensity", False),
    "brightest": ("intensity", True),
}
"""Rank word -> column it sorts by, and whether the greatest come first."""

FLAGS = ("touching border", "in contact", "isolated", "in agglomerate")
REGIONS = (
    "left half",
    "right half",
    "top half",
    "bottom half",
    "top left quadrant",
    "top right quadrant",
    "bottom left quadrant",
    "bottom right quadrant",
    "centre",
)
CORNERS = ("top left corner", "top right corner", "bottom left corner", "bottom right corner")

STATISTICS = ("mean", "median", "min", "max", "std", "total", "D10", "D90")
WHOLE_MEASURES = ("count", "area fraction", "number density")

EVENTS = {
    "appearance": "appear",
    "contact": "contact",
    "neck formation": "neck",
    "coalescence": "coalesce",
    "split": "split",
    "disappearance": "vanish",
    "exit": "leave",
}
"""Noun of an event in a value slot -> its kind in the table of events (``pipeline.events.KINDS``)."""
EVENT_MEASURES = ("first {} time", "last {} time", "{} count")
VIDEO_MEASURES = ("growth exponent",)
"""Measures that have no moment, for they are of a whole video."""
MOMENTS = ("at start", "at end", "change", "rate")
"""What may follow a measure of an image when the question is about a video, besides ``at frame 12`` and ``at 3.5 s``:
``change`` is the last less the first, ``rate`` the slope against time."""
TIME_UNITS = ("ms", "s", "min", "h")
SECONDS_PER_UNIT = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}

MAX_CLAUSES = 4
"""How many clauses one target may have; the grammar for decoding stops there, the parser takes more."""
