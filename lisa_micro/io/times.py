"""Times in seconds, in the spellings that microscope files use."""

from __future__ import annotations

import math

from lisa_micro.io.units import check_positive

_SECONDS = {
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
}


def in_seconds(value: object, unit: str) -> float | None:
    """A time in seconds; ``None`` if the unit is not a time or the value is not a finite number of at least 0."""
    factor = _SECONDS.get(unit.strip().casefold())
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number * factor if factor is not None and math.isfinite(number) and number >= 0 else None


def check_frame_time(value: object) -> float | None:
    """Check a frame time in seconds given by a user; ``None`` stays ``None``.

    Raises:
        InputError: not a positive finite number.
    """
    return check_positive(value, "frame time", "seconds")
