"""Trackers by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lisa_micro.models.device import pick_device
from lisa_micro.models.trackers.base import Tracker
from lisa_micro.models.trackers.deaot.config import CONFIGS
from lisa_micro.models.trackers.deaot.loader import deaot_tracker
from lisa_micro.models.trackers.overlap import OverlapTracker
from lisa_micro.types import InputError

Builder = Callable[..., Tracker]
"""Weights' file (``None`` where none was given), device, and options by name -> tracker."""


def overlap_tracker(checkpoint: Path | None, device: object, **options: object) -> OverlapTracker:
    """The tracker without a network.

    Raises:
        InputError: weights, which it has none of, or an option that it does not know.
    """
    if checkpoint is not None:
        raise InputError("the tracker overlap has no weights; leave out checkpoint")
    unknown = sorted(set(options) - {"confirm", "gap", "waist"})
    if unknown:
        raise InputError(f"the tracker overlap has no option {unknown[0]!r}; its options are confirm, gap and waist")
    return OverlapTracker(**options)  # type: ignore[arg-type]


BUILDERS: dict[str, Builder] = {
    "overlap": overlap_tracker,
    **{name: partial(deaot_tracker, name) for name in CONFIGS},
}
"""What :func:`build_tracker` knows; more can be added."""


def build_tracker(name: str, checkpoint: str | Path | None = None, device: str = "auto", **options: object) -> Tracker:
    """Build a tracker.

    Args:
        name: one of :data:`BUILDERS`.
        checkpoint: file with the weights, where the tracker has any; those of ``deaot-t`` come with the package.
        device: ``"auto"`` (a GPU where there is one, else the CPU), ``"cpu"``, ``"cuda"``, ...
        options: the tracker's own; of ``overlap`` those of
            :class:`lisa_micro.models.trackers.overlap.OverlapTracker`, of the DeAOT ones those of
            :class:`lisa_micro.models.trackers.deaot.config.TrackingSettings`.

    Raises:
        InputError: no such tracker, device or option; no weights, or weights that do not fit.
    """
    if name not in BUILDERS:
        raise InputError(f"no tracker called {name!r}; there are: {', '.join(sorted(BUILDERS))}")
    weights = None if checkpoint is None else Path(checkpoint).expanduser()
    return BUILDERS[name](weights, pick_device(device), **options)
