"""Particles over time: distances, displacements, sizes, and relaxation after coalescence.

All functions take the table of tracks: one row per particle and frame, with ``frame``, ``time_s``, ``identity`` (track
ID) and the columns of :func:`lisa_micro.measure_particles`. Rows may be in any order and frames may be missing. Lengths
are in px, and in nm if the table has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.measure.relaxation import LEAST_POINTS, fit_relaxation
from lisa_micro.measure.tables import statistics
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd

DRIFTS = ("none", "median")
_BEFORE = 5  # frames whose median distance is the reference of shrinkage
RELAXATION_COLUMNS: tuple[str, ...] = (
    *("identity", "tau_s", "tau_low_s", "tau_high_s", "start_px", "end_px", "scatter_px", "correlation"),
    *("aspect_first", "aspect_last", "frames", "first_frame", "last_frame", "why"),
)


def numbers(table: pd.DataFrame, name: str, what: str = "tracks") -> np.ndarray:
    """A column as float64.

    Raises
    ------
    InputError
        The column is missing or not numeric.
    """
    import pandas as pd

    if name not in table:
        raise InputError(f"The table of {what} has no column {name!r}; give one row per {what[:-1]} and frame.")
    try:
        return pd.to_numeric(table[name]).to_numpy(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"Column {name!r} of the table of {what} must hold numbers.") from error


def unit_of(table: pd.DataFrame, name: str) -> str:
    """``"nm"`` if the table has the column ``name`` in nm, otherwise ``"px"``."""
    return "nm" if f"{name}_nm" in table else "px"


def pair_distances(tracks: pd.DataFrame, pairs: Iterable[tuple[int, int]]) -> pd.DataFrame:
    """Distance of the centres of two particles over time, and their shrinkage.

    Shrinkage is 1 - L / L0, where L is the distance of the centroids and L0 its median over the first 5 frames of the
    pair. For densifying mechanisms of two equal spheres it grows as x^2 / (4 R^2) (Kingery and Berg 1955); for surface
    transport it stays 0. Centroids of labels shift outwards slightly as the neck fills, by a few per cent of R at most.

    Parameters
    ----------
    tracks
        See the module's description; needs ``frame, time_s, identity, centroid_x_px, centroid_y_px``.
    pairs
        Pairs of track IDs. To start at the contact, leave earlier frames out of ``tracks``.

    Returns
    -------
    pandas.DataFrame
        One row per pair and frame in which both are present: ``frame, time_s, a, b, distance_px`` (``distance_nm`` if
        the tracks have nm), ``shrinkage`` (0..1; negative if they move apart); empty if no pair is ever present
        together.

    Raises
    ------
    InputError
        A column is missing or not numeric.
    """
    import pandas as pd

    unit = unit_of(tracks, "centroid_x")
    axes = {name: numbers(tracks, name) for name in ("frame", "time_s", "identity", "centroid_x_px", "centroid_y_px")}
    axes |= {f"centroid_{axis}_nm": numbers(tracks, f"centroid_{axis}_nm") for axis in "xy" if unit == "nm"}
    table = pd.DataFrame(axes).drop_duplicates(["identity", "frame"]).sort_values("frame")
    by = dict(iter(table.groupby("identity")))
    parts = []
    for a, b in sorted({(min(pair), max(pair)) for pair in pairs}):
        if a not in by or b not in by:
            continue
        both = by[a].merge(by[b], on="frame", suffixes=("", "_b"))
        rows = pd.DataFrame({"frame": both["frame"].astype(np.int64), "time_s": both["time_s"]})
        rows["a"], rows["b"] = int(a), int(b)
        for which in dict.fromkeys(("px", unit)):
            rows[f"distance_{which}"] = np.hypot(
                both[f"centroid_x_{which}"] - both[f"centroid_x_{which}_b"],
                both[f"centroid_y_{which}"] - both[f"centroid_y_{which}_b"],
            )
        start = rows["distance_px"].dropna().iloc[:_BEFORE].median()
        rows["shrinkage"] = 1 - rows["distance_px"] / start if start > 0 else np.nan
        parts.append(rows)
    columns = ["frame", "time_s", "a", "b", *(f"distance_{u}" for u in dict.fromkeys(("px", unit))), "shrinkage"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def mean_squared_displacement(
    tracks: pd.DataFrame, drift: str = "median", longest: int | None = None, each: bool = False
) -> pd.DataFrame:
    """Mean squared displacement of the centroids against lag time.

    For each lag, all pairs of frames that far apart in which a particle is present are averaged, over time for each
    particle and over particles weighted by their numbers of pairs (Qian, Sheetz and Elson 1991). Windows overlap, so
    displacements of one particle are not independent; the standard error is therefore derived from the differences
    between particles. Twice the variance of the centroid error adds to every lag.

    Parameters
    ----------
    tracks
        See the module's description; needs ``frame, time_s, identity, centroid_x_px, centroid_y_px``. If there are
        ``sample_x_px, sample_y_px`` (drift measured on the images), they are used instead.
    drift
        ``"none"``: positions as they are. ``"median"``: subtract the median step of all particles from frame to frame;
        this needs several particles, since with one or two their own motion is subtracted as well.
    longest
        Longest lag in frames; by default a quarter of the frames, at least 1. Long lags rest on few displacements.
    each
        One row per particle and lag instead of one per lag.

    Returns
    -------
    pandas.DataFrame
        ``lag_frames``; ``lag_s`` (median of the times between the frames; NaN if times are unknown); ``msd_px2``
        (``msd_nm2`` if the tracks have nm); ``se_px2`` (standard error; NaN for one particle); ``displacements``,
        ``particles`` (numbers). With ``each`` also ``identity``, and neither ``se_px2`` nor ``particles``. Empty if no
        particle is present twice.

    Raises
    ------
    InputError
        A column is missing or not numeric, unknown ``drift``, or ``longest`` below 1.
    """
    import pandas as pd

    if drift not in DRIFTS:
        raise InputError(f"Unknown drift {drift!r}; choose one of {', '.join(DRIFTS)}.")
    if longest is not None and longest < 1:
        raise InputError(f"The longest lag must be at least 1 frame, not {longest}.")
    source = "sample" if {"sample_x_px", "sample_y_px"} <= set(tracks.columns) else "centroid"
    values = [numbers(tracks, name) for name in ("frame", "time_s", "identity", f"{source}_x_px", f"{source}_y_px")]
    table = pd.DataFrame(dict(zip(("frame", "time_s", "identity", "x", "y"), values, strict=True)))
    table = table.dropna(subset=["frame", "identity", "x", "y"]).drop_duplicates(["identity", "frame"])
    scale = _scale(tracks)
    columns = ["lag_frames", "lag_s", "msd_px2", "se_px2", "displacements", "particles"]
    columns = ["identity", *columns[:3], "displacements"] if each else columns
    rows: list[dict[str, float]] = []
    if len(table):
        frames = np.arange(int(table["frame"].min()), int(table["frame"].max()) + 1)
        wide = {name: table.pivot(index="identity", columns="frame", values=name) for name in ("x", "y")}
        x, y = (wide[name].reindex(columns=frames).to_numpy(float) for name in ("x", "y"))
        names = wide["x"].index.to_numpy()
        if drift == "median":
            x, y = x - _median_path(x), y - _median_path(y)
        times = table.groupby("frame")["time_s"].median().reindex(frames).to_numpy(float)
        most = max(1, len(frames) // 4) if longest is None else longest
        for lag in range(1, min(most, len(frames) - 1) + 1):
            squared = (x[:, lag:] - x[:, :-lag]) ** 2 + (y[:, lag:] - y[:, :-lag]) ** 2
            count = np.isfinite(squared).sum(axis=1)
            seen = count > 0
            if not seen.any():
                continue
            means = np.nansum(squared[seen], axis=1) / count[seen]
            gaps = times[lag:] - times[:-lag]
            lag_s = float(np.median(gaps[np.isfinite(gaps)])) if np.isfinite(gaps).any() else np.nan
            if each:
                rows += [
                    {"identity": int(k), "lag_frames": lag, "lag_s": lag_s, "msd_px2": v, "displacements": int(c)}
                    for k, v, c in zip(names[seen], means, count[seen], strict=True)
                ]
                continue
            weight = count[seen] / count[seen].sum()
            mean, many = float(weight @ means), len(means)
            spread = float(weight**2 @ (means - mean) ** 2) * many / (many - 1) if many > 1 else np.nan
            row = {"lag_frames": lag, "lag_s": lag_s, "msd_px2": mean, "se_px2": float(np.sqrt(spread))}
            rows.append(row | {"displacements": int(count.sum()), "particles": many})
    result = pd.DataFrame(rows, columns=columns)
    if scale is not None:
        result["msd_nm2"] = result["msd_px2"] * scale**2
    return result


def _median_path(positions: np.ndarray) -> np.ndarray:
    """``(T,)``: path of the sample, from the median step between neighbouring frames.

    A frame that shares no particle with the previous one is assumed not to have moved.
    """
    steps = np.diff(positions, axis=1)
    moved = np.zeros(positions.shape[1])
    seen = np.isfinite(steps).any(axis=0)
    moved[1:][seen] = np.nanmedian(steps[:, seen], axis=0)
    return np.cumsum(moved)


def _scale(tracks: pd.DataFrame) -> float | None:
    """Pixel size in nm from a length that is given in both units."""
    for name in ("diameter", "feret_max", "centroid_x"):
        if f"{name}_px" in tracks and f"{name}_nm" in tracks:
            px, nm = numbers(tracks, f"{name}_px"), numbers(tracks, f"{name}_nm")
            ratio = nm[px > 0] / px[px > 0]
            ratio = ratio[np.isfinite(ratio)]
            if len(ratio):
                return float(np.median(ratio))
    return None


def sizes_over_time(tracks: pd.DataFrame, name: str = "diameter", border: bool = True) -> pd.DataFrame:
    """Statistics of the size distribution in each frame.

    Parameters
    ----------
    tracks
        See the module's description; needs ``frame, time_s`` and the property.
    name
        ``"diameter"``, ``"feret_max"``, ``"feret_min"`` or ``"perimeter"``.
    border
        Whether particles cut by the border of the image are included (they appear smaller than they are).

    Returns
    -------
    pandas.DataFrame
        One row per frame that has a particle: ``frame, time_s, count, mean, median, std`` (n - 1; NaN for one
        particle), ``D10, D50, D90`` (percentiles by number), ``unit`` (nm if the tracks have it, otherwise px).

    Raises
    ------
    InputError
        A column is missing or not numeric.
    """
    import pandas as pd

    unit = unit_of(tracks, name)
    table = pd.DataFrame(
        {
            "frame": numbers(tracks, "frame"),
            "time_s": numbers(tracks, "time_s"),
            "value": numbers(tracks, f"{name}_{unit}"),
        }
    )
    if not border and "touches_border" in tracks:
        table = table[~tracks["touches_border"].to_numpy(bool)]
    rows = []
    for frame, part in table.dropna(subset=["frame", "value"]).groupby("frame"):
        rows.append(
            {"frame": int(frame), "time_s": float(part["time_s"].iloc[0]), "count": len(part)}
            | statistics(part["value"].to_numpy())
            | {"unit": unit}
        )
    return pd.DataFrame(
        rows, columns=["frame", "time_s", "count", "mean", "median", "std", "D10", "D50", "D90", "unit"]
    )


def relaxations(
    tracks: pd.DataFrame, births: Mapping[int, int] | Iterable[int], name: str = "feret_max", level: float = 0.95
) -> pd.DataFrame:
    """Relaxation of coalesced particles to a round shape; see :mod:`lisa_micro.measure.relaxation`.

    Parameters
    ----------
    tracks
        See the module's description; needs ``frame, time_s, identity`` and the property; ``aspect_ratio`` and
        ``touches_border`` are used if present.
    births
        Track IDs of coalesced particles; as a mapping, with the first frame to fit.
    name
        The length that relaxes.
    level
        Confidence level of the interval, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        One row per track ID, ascending: ``tau_s, tau_low_s, tau_high_s`` (0 or infinity if open); ``start_px, end_px``
        (the length in the first frame and at the end, from the fit); ``scatter_px``, ``correlation``; ``aspect_first,
        aspect_last`` (medians of the first and last 3 frames); ``frames, first_frame, last_frame`` (used); ``why``
        (reason why there is no fit, ``""`` otherwise).

    Raises
    ------
    InputError
        A column is missing or not numeric, or a level out of range.
    """
    import pandas as pd

    if not 0 < level < 1:
        raise InputError(f"The level of the interval must be between 0 and 1, such as 0.95, not {level}.")
    values = {column: numbers(tracks, column) for column in ("frame", "time_s", "identity", f"{name}_px")}
    table = pd.DataFrame(values).rename(columns={f"{name}_px": "length"})
    table["aspect"] = numbers(tracks, "aspect_ratio") if "aspect_ratio" in tracks else np.nan
    if "touches_border" in tracks:
        table = table[~tracks["touches_border"].to_numpy(bool)]
    table = table.dropna(subset=["frame", "identity", "length"]).drop_duplicates(["identity", "frame"])
    since = dict(births) if isinstance(births, Mapping) else dict.fromkeys(births, -np.inf)
    rows = []
    for identity in sorted(since):
        part = table[(table["identity"] == identity) & (table["frame"] >= since[identity])].sort_values("frame")
        row = dict.fromkeys(RELAXATION_COLUMNS, np.nan) | {"identity": int(identity), "frames": len(part), "why": ""}
        if len(part):
            row |= {"first_frame": int(part["frame"].iloc[0]), "last_frame": int(part["frame"].iloc[-1])}
            row |= {"aspect_first": part["aspect"].iloc[:3].median(), "aspect_last": part["aspect"].iloc[-3:].median()}
        time_s, length = part["time_s"].to_numpy(), part["length"].to_numpy()
        if len(part) < LEAST_POINTS:
            row["why"] = f"entirely visible in {len(part)} frames; at least {LEAST_POINTS} are needed"
        elif not (np.diff(time_s) > 0).all():
            row["why"] = "times are unknown, or do not rise from frame to frame; give the frame time"
        else:
            fit = fit_relaxation(time_s, length, level)
            if isinstance(fit, str):
                row["why"] = fit
            else:
                row |= {"tau_s": fit.tau_s, "tau_low_s": fit.interval[0], "tau_high_s": fit.interval[1]}
                row |= {"start_px": fit.start, "end_px": fit.end}
                row |= {"scatter_px": fit.noise, "correlation": fit.correlation}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(RELAXATION_COLUMNS))
