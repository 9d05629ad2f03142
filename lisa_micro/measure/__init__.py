"""Measuring on instance labels: particles, contacts, necks (numpy, scipy, no torch)."""

from lisa_micro.measure.contacts import contacts
from lisa_micro.measure.necks import Neck, find_necks, measure_necks, neck_labels
from lisa_micro.measure.particles import particle_properties
from lisa_micro.measure.tables import column, histogram, measure_particles, particle_table, summarise

__all__ = [
    "Neck",
    "column",
    "contacts",
    "find_necks",
    "histogram",
    "measure_necks",
    "measure_particles",
    "neck_labels",
    "particle_properties",
    "particle_table",
    "summarise",
]
