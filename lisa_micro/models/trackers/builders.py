"""Build trackers by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lisa_micro.models.device import pick_device
from lisa_micro.models.trackers.deaot.config import CONFIGS
from lisa_micro.models.trackers.deaot.loader import deaot_tracker
from lisa_micro.models.trackers.overlap import OverlapTracker
from lisa_micro.protocols import Tracker
from lisa_micro.types import InputError

Builder = Callable[..., Tracker]
"""Builds a tracker from a weights file (or ``None``), a device, and keyword options."""


def overlap_tracker(checkpoint: Path | None, device: object, **options: object) -> OverlapTracker:
    """Build the tracker that links by overlap and has no network.

    Raises:
        InputError: if weights are given, or an unknown option.
    """
    if checkpoint is not None:
        raise InputError("Tracker 'overlap' has no weights; omit checkpoint.")
    unknown = sorted(set(options) - {"confirm", "gap", "waist"})
    if unknown:
        raise InputError(f"Tracker 'overlap' has no option {unknown[0]!r}; its options are confirm, gap and waist.")
    return OverlapTracker(**options)  # type: ignore[arg-type]


BUILDERS: dict[str, Builder] = {
    "overlap": overlap_tracker,
    **{name: partial(deaot_tracker, name) for name in CONFIGS},
}
"""Builders by name, used by :func:`build_tracker`; more can be registered."""


def build_tracker(name: str, checkpoint: str | Path | None = None, device: str = "auto", **options: object) -> Tracker:
    """Build a tracker.

    Args:
        name: one of :data:`BUILDERS`.
        checkpoint: weights file of a DeAOT tracker; the weights of ``deaot-t`` are included in the package.
        device: ``"auto"`` (a GPU if available, otherwise the CPU), ``"cpu"``, ``"cuda"``, ...
        options: for ``overlap`` the arguments of :class:`lisa_micro.models.trackers.overlap.OverlapTracker`, for a
            DeAOT tracker the fields of :class:`lisa_micro.models.trackers.deaot.config.TrackingSettings`.

    Raises:
        InputError: if the name, the device or an option is unknown, or if the weights are missing or do not fit.
    """
    if name not in BUILDERS:
        raise InputError(f"Unknown tracker {name!r}; choose one of {', '.join(sorted(BUILDERS))}.")
    weights = None if checkpoint is None else Path(checkpoint).expanduser()
    return BUILDERS[name](weights, pick_device(device), **options)
