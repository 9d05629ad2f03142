"""Particles over time: how far apart, how far they wander, how large they are; and how coalesced ones become round.

All take the table of tracks: one row a particle and frame, with ``frame``, ``time_s``, ``identity`` and the columns of
:func:`lisa_micro.measure_particles`. Rows may come in any order; frames may be missing. Lengths are px, and nm where
the table has them.
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
_BEFORE = 5  # frames whose median is the length that shrinkage is counted from
RELAXATION_COLUMNS: tuple[str, ...] = (
    *("identity", "tau_s", "tau_low_s", "tau_high_s", "start_px", "end_px", "scatter_px", "correlation"),
    *("aspect_first", "aspect_last", "frames", "first_frame", "last_frame", "why"),
)


def numbers(table: pd.DataFrame, name: str, what: str = "tracks") -> np.ndarray:
    """A column as float64.

    Raises:
        InputError: it is missing, or does not hold numbers.
    """
    import pandas as pd

    if name not in table:
        raise InputError(f"the table of {what} has no column {name!r}; give one row a {what[:-1]} and frame")
    try:
        return pd.to_numeric(table[name]).to_numpy(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"the column {name!r} of the table of {what} must hold numbers") from error


def unit_of(table: pd.DataFrame, name: str) -> str:
    """``"nm"`` where the table has the column ``name`` in nm, else ``"px"``."""
    return "nm" if f"{name}_nm" in table else "px"


def pair_distances(tracks: pd.DataFrame, pairs: Iterable[tuple[int, int]]) -> pd.DataFrame:
    """Distance of the centres of two particles over time, and their shrinkage.

    Shrinkage is 1 - L / L0, with L the distance of the centroids and L0 its median over the first 5 frames of the pair.
    For densifying mechanisms of two equal spheres it grows as x^2 / (4 R^2) (Kingery and Berg 1955); where matter moves
    along the surface it stays 0. Centroids of labels shift outwards a little as the neck fills, by some per cent of R
    at most.

    Args:
        tracks: see the head of the module; needs ``frame, time_s, identity, centroid_x_px, centroid_y_px``.
        pairs: identities. To count from the contact on, leave earlier frames out of ``tracks``.

    Returns:
        one row a pair and frame in which both are seen: ``frame, time_s, a, b, distance_px`` (``distance_nm`` where
        the tracks have nm), ``shrinkage`` (0..1; negative where they part); empty where no pair is ever seen together.

    Raises:
        InputError: a column is missing or not of numbers.
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

    For every lag, all pairs of frames that far apart in which a particle is seen, averaged over time for each particle,
    and over particles with their numbers of pairs as weights (Qian, Sheetz and Elson 1991). Windows overlap, so that
    displacements of one particle are not independent; the standard error is therefore taken from how much particles
    differ. Twice the square of the error of a centroid adds to every lag alike.

    Args:
        tracks: see the head of the module; needs ``frame, time_s, identity, centroid_x_px, centroid_y_px``. Where there
            are ``sample_x_px, sample_y_px`` (drift measured on the images), they are used instead.
        drift: ``"none"``: positions as they are; ``"median"``: the median step of all particles from frame to frame is
            taken off. It needs several particles: with one or two their own motion is taken off as well.
        longest: lag in frames; None: a quarter of the frames, 1 at least. Long lags rest on few displacements.
        each: one row a particle and lag instead of one a lag.

    Returns:
        ``lag_frames``; ``lag_s`` (median of the times between the frames; NaN where times are unknown); ``msd_px2``
        (``msd_nm2`` where the tracks have nm); ``se_px2`` (standard error; NaN for one particle); ``displacements``,
        ``particles`` (numbers). With ``each`` also ``identity``, and neither ``se_px2`` nor ``particles``. Empty
        where no particle is seen twice.

    Raises:
        InputError: a column is missing or not of numbers, no such drift, or ``longest`` below 1.
    """
    import pandas as pd

    if drift not in DRIFTS:
        raise InputError(f"no drift called {drift!r}; choose one of {', '.join(DRIFTS)}")
    if longest is not None and longest < 1:
        raise InputError(f"the longest lag must be at least 1 frame, not {longest}")
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
            own = np.nansum(squared[seen], axis=1) / count[seen]
            gaps = times[lag:] - times[:-lag]
            lag_s = float(np.median(gaps[np.isfinite(gaps)])) if np.isfinite(gaps).any() else np.nan
            if each:
                rows += [
                    {"identity": int(k), "lag_frames": lag, "lag_s": lag_s, "msd_px2": v, "displacements": int(c)}
                    for k, v, c in zip(names[seen], own, count[seen], strict=True)
                ]
                continue
            weight = count[seen] / count[seen].sum()
            mean, many = float(weight @ own), len(own)
            spread = float(weight**2 @ (own - mean) ** 2) * many / (many - 1) if many > 1 else np.nan
            row = {"lag_frames": lag, "lag_s": lag_s, "msd_px2": mean, "se_px2": float(np.sqrt(spread))}
            rows.append(row | {"displacements": int(count.sum()), "particles": many})
    result = pd.DataFrame(rows, columns=columns)
    if scale is not None:
        result["msd_nm2"] = result["msd_px2"] * scale**2
    return result


def _median_path(positions: np.ndarray) -> np.ndarray:
    """``(T,)``: where the sample has gone, from the median step between neighbouring frames; a frame that shares no
    particle with the one before is taken not to have moved."""
    steps = np.diff(positions, axis=1)
    moved = np.zeros(positions.shape[1])
    seen = np.isfinite(steps).any(axis=0)
    moved[1:][seen] = np.nanmedian(steps[:, seen], axis=0)
    return np.cumsum(moved)


def _scale(tracks: pd.DataFrame) -> float | None:
    """Pixel size in nm from a length that is there in both units."""
    for name in ("diameter", "feret_max", "centroid_x"):
        if f"{name}_px" in tracks and f"{name}_nm" in tracks:
            px, nm = numbers(tracks, f"{name}_px"), numbers(tracks, f"{name}_nm")
            ratio = nm[px > 0] / px[px > 0]
            ratio = ratio[np.isfinite(ratio)]
            if len(ratio):
                return float(np.median(ratio))
    return None


def sizes_over_time(tracks: pd.DataFrame, name: str = "diameter", border: bool = True) -> pd.DataFrame:
    """The size distribution of every frame in numbers.

    Args:
        tracks: see the head of the module; needs ``frame, time_s`` and the property.
        name: ``"diameter"``, ``"feret_max"``, ``"feret_min"`` or ``"perimeter"``.
        border: whether particles that the image's border cuts are counted (they look smaller than they are).

    Returns:
        one row a frame that has a particle: ``frame, time_s, count, mean, median, std`` (n - 1; NaN for one particle),
        ``D10, D50, D90`` (percentiles by number), ``unit`` (nm where the tracks have it, else px).

    Raises:
        InputError: a column is missing or not of numbers.
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
    """How fast coalesced particles become round; see :mod:`lisa_micro.measure.relaxation`.

    Args:
        tracks: see the head of the module; needs ``frame, time_s, identity`` and the property; ``aspect_ratio`` and
            ``touches_border`` are used where they are there.
        births: identities that came from coalescence; as a mapping, with the frame from which to fit.
        name: the length that relaxes.
        level: of the interval, between 0 and 1.

    Returns:
        one row an identity, ascending: ``tau_s, tau_low_s, tau_high_s`` (0 or infinity where open); ``start_px,
        end_px`` (the length in the first frame and in the end, by the fit); ``scatter_px``, ``correlation``;
        ``aspect_first, aspect_last`` (medians of the first and last 3 frames); ``frames, first_frame, last_frame``
        (used); ``why`` (why there is no fit, ``""`` where there is one).

    Raises:
        InputError: a column is missing or not of numbers, or a level that cannot be.
    """
    import pandas as pd

    if not 0 < level < 1:
        raise InputError(f"the level of the interval must be between 0 and 1, such as 0.95, not {level}")
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
            row["why"] = f"seen whole in {len(part)} frames; at least {LEAST_POINTS} are needed"
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
