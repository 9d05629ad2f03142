"""Slices linked into 3-D instances: volumes of particles, necks, pores in a stack."""

from lisa_micro.volumes.linking import link_slices
from lisa_micro.volumes.run import segment_volume
from lisa_micro.volumes.volume import Volume

__all__ = ["Volume", "link_slices", "segment_volume"]
