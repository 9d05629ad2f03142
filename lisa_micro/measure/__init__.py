"""Measure instance labels: particles, contacts, necks, and their change over time (NumPy and SciPy, no torch).

The functions listed here are the public interface; definitions and formulas are in the modules.
"""

from lisa_micro.measure.contacts import contacts
from lisa_micro.measure.growth import GrowthOptions, growth_curve, pair_growth
from lisa_micro.measure.motion import mean_squared_displacement, pair_distances, relaxations, sizes_over_time
from lisa_micro.measure.necks import Neck, find_necks, measure_necks, neck_labels
from lisa_micro.measure.particles import particle_properties
from lisa_micro.measure.tables import column, histogram, measure_particles, particle_table, summarise

__all__ = [
    "GrowthOptions",
    "Neck",
    "column",
    "contacts",
    "find_necks",
    "growth_curve",
    "histogram",
    "mean_squared_displacement",
    "measure_necks",
    "measure_particles",
    "neck_labels",
    "pair_distances",
    "pair_growth",
    "particle_properties",
    "particle_table",
    "relaxations",
    "sizes_over_time",
    "summarise",
]
