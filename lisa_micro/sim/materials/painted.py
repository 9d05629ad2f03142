"""What every kind of material scene starts from and what it hands to the detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lisa_micro.sim.raster import Maps
from lisa_micro.sim.render import RENDERERS
from lisa_micro.types import VISION_CONCEPTS

CONCEPTS = VISION_CONCEPTS
"""Concepts that a material scene can have the truth of, named like the folders of a labelled set."""


@dataclass(frozen=True)
class Draw:
    """What a kind draws from.

    Attributes:
        place: all geometry comes from it.
        look: all contrast and texture comes from it.
        shape: ``(H, W)`` px.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"`` or ``"SEM"``; geometry must not depend on it.
    """

    place: np.random.Generator
    look: np.random.Generator
    shape: tuple[int, int]
    modality: str

    @property
    def transmitted(self) -> bool:
        """Whether the beam goes through the specimen."""
        return self.modality != "SEM"


@dataclass(frozen=True)
class Painted:
    """A scene without detector: what the microscope would show at infinite dose.

    Attributes:
        image: ``(H, W)`` float32, any unit.
        labels: ``(H, W)`` int32 per concept, without the concepts that are known to be absent.
        absent: concepts that are known to be absent, besides those in ``labels``.
        signal: ``(H, W)`` int32 labels of the objects whose contrast counts.
        ground: ``(H, W)`` bool, what their contrast is measured against.
        detail: px, size of the smallest structure that must stay visible; it limits the blur.
        size: px, typical size of the objects, from which the pixel size is drawn.
        faintest: lowest signal-to-noise ratio that is drawn by chance; small objects need more.
        params: what was drawn.
    """

    image: np.ndarray
    labels: dict[str, np.ndarray]
    absent: tuple[str, ...]
    signal: np.ndarray
    ground: np.ndarray
    detail: float
    size: float
    faintest: float = 0.3
    params: dict[str, Any] = field(default_factory=dict)


Painter = Callable[[Draw], Painted]


def all_but(*known_or_open: str) -> tuple[str, ...]:
    """The concepts that a scene does not have: all but those that it labels or whose truth is open."""
    return tuple(c for c in CONCEPTS if c not in known_or_open and c != "annotation")


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, uniform in its logarithm; ``low`` where ``high`` is below it, as in small
    images."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(low, high)))))


def chance(rng: np.random.Generator, share: float) -> bool:
    """True with probability ``share``."""
    return bool(rng.random() < share)


def draw_maps(maps: Maps, radius: float, draw: Draw) -> np.ndarray:
    """``(H, W)`` float32 image of the maps in the scene's modality, before the detector.

    Args:
        maps: geometry.
        radius: typical half width of the objects in px.
        draw: source of the look.
    """
    return RENDERERS[draw.modality](maps, max(radius, 3.0), draw.look, draw.look)[0]


def faintest_for(area_px: float, floor: float = 0.3) -> float:
    """Lowest signal-to-noise ratio at which an object of ``area_px`` is still detectable.

    A matched filter gains the square root of the area; five standard deviations are asked for (Rose criterion).
    """
    return float(max(floor, 5.0 / np.sqrt(max(area_px, 1.0))))
