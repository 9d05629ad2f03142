"""DeAOT: a network that propagates labels by gated attention to reference frames."""

from lisa_micro.models.trackers.deaot.config import CONFIGS, DeaotConfig, TrackingSettings
from lisa_micro.models.trackers.deaot.engine import DeaotTracker
from lisa_micro.models.trackers.deaot.loader import read_weights
from lisa_micro.models.trackers.deaot.network import DeAOT, build_deaot

__all__ = ["CONFIGS", "DeAOT", "DeaotConfig", "DeaotTracker", "TrackingSettings", "build_deaot", "read_weights"]
