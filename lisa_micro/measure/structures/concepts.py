"""What is measured of the instances of each concept, and of all of them together."""

from __future__ import annotations

import numpy as np

from lisa_micro.io import MicrographLike
from lisa_micro.measure.particles import particle_properties
from lisa_micro.measure.structures.grains import boundary_density, line_density, mean_intercept
from lisa_micro.measure.structures.layers import layer_measures, shell_measures
from lisa_micro.measure.structures.strands import centre_line_length, crack_measures, fibre_measures

AXIAL = ("fibre", "crack", "grain_boundary")
"""Concepts whose length and width are taken along an axis. The caliper diameters are in the columns ``feret_max`` and
``feret_min`` then."""
LINES = ("grain_boundary", "crack")
"""Concepts with a length per area."""


def concept_properties(labels: np.ndarray, concept: str, pixels: MicrographLike | None = None) -> dict[str, np.ndarray]:
    """Measure every instance of a concept, in pixels.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background; numbers may be missing.
    concept
        What they are: a name of :data:`lisa_micro.types.VISION_CONCEPTS`, or another one.
    pixels
        ``(H, W)`` intensities, or any other micrograph.

    Returns
    -------
    dict of str to ndarray
        Columns of :func:`lisa_micro.measure.particles.particle_properties`. Fibres and cracks have ``length`` and
        ``width`` along their axis, with the caliper diameters in ``feret_max`` and ``feret_min``; fibres, layers and
        shells ``thickness``, layers ``thickness_min`` and ``thickness_max`` besides; cracks ``opening`` and
        ``opening_max``; a network of boundaries the length of its centre lines.

    Raises
    ------
    InputError
        Unusable labels, or pixels of another shape than the labels.

    Examples
    --------
    >>> labels = np.zeros((20, 60), int)
    >>> labels[8:11, 5:55] = 1
    >>> found = concept_properties(labels, "crack")
    >>> {name: found[name].round(1).tolist() for name in ("length", "opening", "width", "feret_max")}
    {'length': [49.2], 'opening': [3.1], 'width': [3.1], 'feret_max': [50.0]}
    """
    found = particle_properties(labels, pixels)
    if concept == "layer":
        return found | layer_measures(labels)
    if concept == "shell":
        return found | shell_measures(found["area"], found["perimeter"])
    if concept not in AXIAL:
        return found
    own: dict[str, np.ndarray] = {"feret_max": found["length"], "feret_min": found["width"]}
    if concept == "fibre":
        own |= fibre_measures(labels)
        own["thickness"] = own["width"]
    elif concept == "crack":
        own |= crack_measures(labels)
        own["width"] = own["opening"]
    else:
        lengths = [max(centre_line_length(np.asarray(labels) == number), 1.0) for number in found["label"]]
        own["length"] = np.array(lengths, float)
        own["width"] = found["area"] / np.maximum(own["length"], 1.0)
    own["aspect_ratio"] = own["length"] / np.maximum(own["width"], 1e-9)
    return found | own


def whole_measures(labels: np.ndarray, concept: str) -> dict[str, float]:
    """Measures of all instances of a concept together, named as the reply language names them.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background.
    concept
        What they are.

    Returns
    -------
    dict of str to float
        Grains: ``intercept`` (px) and ``line density`` (1/px, of the boundaries between them); boundaries and cracks:
        ``line density``. Empty for other concepts, and where there is nothing to measure.

    Raises
    ------
    InputError
        Unusable labels.

    Examples
    --------
    >>> labels = np.zeros((100, 100), int)
    >>> labels[40:43] = 1
    >>> whole_measures(labels, "grain_boundary"), whole_measures(labels, "pore")
    ({'line density': 0.0099...}, {})
    """
    if not np.any(labels):
        return {}
    if concept == "grain":
        return {"intercept": mean_intercept(labels), "line density": boundary_density(labels)}
    return {"line density": line_density(labels)} if concept in LINES else {}
