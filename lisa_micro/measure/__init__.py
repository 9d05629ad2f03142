"""Measuring on instance labels: particles, contacts, necks (numpy, scipy, no torch)."""

from lisa_micro.measure.contacts import contacts
from lisa_micro.measure.necks import Neck, find_necks, measure_necks, neck_labels
from lisa_micro.measure.particles import particle_properties

__all__ = ["Neck", "contacts", "find_necks", "measure_necks", "neck_labels", "particle_properties"]
