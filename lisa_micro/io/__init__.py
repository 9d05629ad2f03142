"""Micrographs in, results out."""

from lisa_micro.io.contrast import to_unit_range
from lisa_micro.io.reader import read_micrograph

__all__ = ["read_micrograph", "to_unit_range"]
