"""Measures of fibres, cracks, layers, shells, grains and boundaries on instance labels (NumPy and SciPy, no torch).

The functions listed here are the public interface; definitions and formulas are in the modules.
"""

from lisa_micro.measure.structures.concepts import concept_properties, whole_measures
from lisa_micro.measure.structures.grains import (
    boundary_density,
    grain_size_number,
    line_density,
    mean_grain_area,
    mean_intercept,
    phase_fraction,
)
from lisa_micro.measure.structures.layers import layer_measures
from lisa_micro.measure.structures.strands import centre_line_length, crack_measures, fibre_measures

__all__ = [
    "boundary_density",
    "centre_line_length",
    "concept_properties",
    "crack_measures",
    "fibre_measures",
    "grain_size_number",
    "layer_measures",
    "line_density",
    "mean_grain_area",
    "mean_intercept",
    "phase_fraction",
    "whole_measures",
]
