"""How necks grow: one row a pair of particles, from a table of necks over time.

The law is (x / R)^n = B (t - t0) / R^m, with x half the chord, R the mean radius of the two particles, t0 the time at
which x was 0, and B a constant of material and temperature (two-sphere models of the initial stage: Frenkel 1945,
Kuczynski 1949, Kingery and Berg 1955, Coble 1961, collected in German 1996). One pair has one R, so that B and m cannot
be told apart: what is fitted is the rate K = B / R^m, and B follows for an m that the user believes in.

**No mechanism follows from n alone.** Different paths share exponents, several act at once, and the interval of n is
wide where growth has been seen over less than a decade of time. So none is named here.

Which frames count:

- R is the median of the first frames of the contact: the law speaks of the spheres as they met, and outlines that fill
  in around a neck would otherwise be taken for larger spheres.
- A chord is *resolved* above 1.4 sqrt(R px): two circles that merely touch are less than a pixel apart up to sqrt(R px)
  from their point of contact, and the labels of both meet there whether a neck has grown or not. Frames before x has
  passed this (by a running median, so that no single frame is picked by its error) are left out.
- Frames from ``max_ratio`` on are left out, and those of a plateau at the end, where growth has stopped. The models are
  for x/R below about 0.3; by default all of the growth is used, since little of it is resolved below.
- Frames in which the image's border cuts the chord (``at_border``) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io.units import check_pixel_size
from lisa_micro.measure.growth_fit import LEAST_FRAMES, Problem, allowance, band, fit_law
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd

MAX_RATIO = 0.9
"""x over the smaller radius up to which the law is fitted unless the user asks for less."""
RESOLVED = 1.4
"""Smallest resolved x in px, over the square root of R in px; see the head of the module."""
DRIFT_SD_PX = 1.5
"""How much the error of outlines about a neck may change while it opens, unless the user knows better."""

_FIRST = 5  # frames from which R is taken
_MEDIAN = 5  # frames of the running median
_PLATEAU = 0.4  # share of the time at the end without growth from which growth is said to have stopped
PAIR_COLUMNS: tuple[str, ...] = (
    *("a", "b", "n", "n_low", "n_high", "t0_s", "t0_low_s", "t0_high_s"),
    *("rate_per_s", "rate_low_per_s", "rate_high_per_s", "m", "B", "B_unit"),
    *("R_px", "offset_px", "drift_px", "scatter_px", "correlation", "speed_px_per_s", "speed_se_px_per_s"),
    *("frames", "frames_used", "first_frame", "last_frame", "first_s", "last_s"),
    *("x_first_px", "x_last_px", "x_over_R_last", "note", "why"),
)
"""Columns of :func:`pair_growth` where no pixel size is known."""


def pair_growth(
    necks: pd.DataFrame,
    pixel_size_nm: float | None = None,
    m: float | None = None,
    onsets: Mapping[tuple[int, int], tuple[float, float]] | None = None,
    level: float = 0.95,
    offset_sd_px: float = 0.5,
    drift_sd_px: float = DRIFT_SD_PX,
    max_ratio: float = MAX_RATIO,
    shape: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Fit the growth law to every pair; how, and why so, in :mod:`lisa_micro.measure.growth_fit`.

    Args:
        necks: one row a neck and frame, in any order. Columns: ``frame``; ``time_s``; ``a`` and ``b`` (or
            ``particle_a``, ``particle_b``), identities; ``x_px`` and ``R_px`` as :func:`lisa_micro.measure_necks` gives
            them, or ``x_nm`` and ``R_nm``; where there are ``R_a_px`` and ``R_b_px`` (or ``R_a``, ``R_b``, in the unit
            of x), R may be missing; where there is ``at_border`` (bool), such frames are left out.
        pixel_size_nm: edge of a pixel in nm; needed where lengths are in nm only. Where it is None, it is taken from
            columns that are there in both units.
        m: exponent of R, for B; without it B is NaN.
        onsets: (a, b) -> (earliest, latest) t0 in s, where the contact was seen to begin. A pair without an entry has
            its t0 free.
        level: of the intervals, between 0 and 1.
        offset_sd_px: how well the edges of the labels are known, all in common: standard deviation of a constant error
            of x in px, which the intervals contain. drift_sd_px: the same of a change of this error from the first
            frame to the last.
        max_ratio: x over the smaller radius up to which frames are used.
        shape: ``(H, W)`` px of the frames: where the table has the chord's ends ``x0_px, y0_px, x1_px, y1_px``, frames
            are left out in which one of them lies on the border.

    Returns:
        one row a pair, ordered by a and b (a < b): ``n, n_low, n_high`` (0 or infinity where an interval is open);
        ``t0_s, t0_low_s, t0_high_s`` (minus infinity where open); ``rate_per_s, rate_low_per_s, rate_high_per_s``
        (K = B / R^m); ``m``, ``B``, ``B_unit``; ``R_px``; ``offset_px`` and ``drift_px`` (c and d, see
        ``offset_sd_px``), ``scatter_px`` (standard deviation of x about the fit), ``correlation`` (of the errors of
        neighbouring frames, 0..1); ``speed_px_per_s`` with ``speed_se_px_per_s`` (slope of a straight line through the
        resolved frames: the mean speed of growth of x, and its standard error; from 3 frames on); ``frames`` (in
        contact), ``frames_used``, ``first_frame, last_frame, first_s, last_s`` (used), ``x_first_px, x_last_px,
        x_over_R_last`` (medians of up to 3 used frames at either end); ``note`` (what to know about a fit); ``why``
        (why there is none, ``""`` where there is one). With a pixel size also ``R_nm``, ``x_last_nm``,
        ``speed_nm_per_s``, ``speed_se_nm_per_s``. Numbers that could not be found are NaN.

    Raises:
        InputError: a column is missing or not of numbers, or an argument cannot be.
    """
    import pandas as pd

    if not 0 < level < 1:
        raise InputError(f"the level of the intervals must be between 0 and 1, such as 0.95, not {level}")
    if not (all(math.isfinite(sd) and sd >= 0 for sd in (offset_sd_px, drift_sd_px)) and max_ratio > 0):
        raise InputError("give max_ratio above 0, and an offset_sd_px and drift_sd_px of 0 px or more")
    table, scale = tidy_necks(necks, pixel_size_nm, shape)
    bounds = {tuple(sorted(pair)): span for pair, span in (onsets or {}).items()}
    rows: list[dict[str, Any]] = []
    for (a, b), rows_of_pair in table.groupby(["a", "b"], sort=True):
        row = dict.fromkeys(PAIR_COLUMNS, math.nan) | {"a": int(a), "b": int(b), "note": "", "why": "", "B_unit": ""}
        row |= _grow(rows_of_pair, bounds.get((a, b)), level, (offset_sd_px, drift_sd_px), max_ratio)
        if m is not None:
            unit = 1.0 if scale is None else scale
            row |= {"m": float(m), "B": row["rate_per_s"] * (row["R_px"] * unit) ** m}
            row["B_unit"] = f"{'px' if scale is None else 'nm'}^{m:g}/s"
        rows.append(row)
    result = pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
    if not rows:  # an empty table has columns of objects, of which nobody can compute
        texts = {"note", "why", "B_unit"}
        result = result.astype({name: float for name in PAIR_COLUMNS if name not in texts})
    if scale is not None:
        for name in ("R", "x_last", "speed", "speed_se"):
            tail = "_per_s" if name.startswith("speed") else ""
            result[f"{name}_nm{tail}"] = result[f"{name}_px{tail}"] * scale
    return result


def growth_curve(row: Mapping[str, Any], time_s: np.ndarray, which: str = "fit") -> np.ndarray:
    """x / R of a fitted pair.

    Args:
        row: of :func:`pair_growth`, as a dict or a pandas row.
        time_s: s, any shape.
        which: ``"fit"``, as the labels would show it (the offset and its drift included), or ``"law"``, without them.

    Returns:
        float64 of the shape of ``time_s``; NaN before t0, and everywhere where there is no fit.

    Raises:
        InputError: ``which`` is neither.
    """
    if which not in ("fit", "law"):
        raise InputError(f"no curve called {which!r}; choose fit or law")
    age = np.asarray(time_s, float) - row["t0_s"]
    with np.errstate(invalid="ignore"):
        ratio = (row["rate_per_s"] * np.where(age >= 0, age, np.nan)) ** (1 / row["n"])
    if which == "law":
        return ratio
    part = np.clip((np.asarray(time_s, float) - row["first_s"]) / (row["last_s"] - row["first_s"]), 0, 1) - 0.5
    return ratio + (row["offset_px"] + row["drift_px"] * part) / row["R_px"]


def growth_band(
    necks: pd.DataFrame,
    row: Mapping[str, Any],
    time_s: np.ndarray,
    level: float = 0.95,
    offset_sd_px: float = 0.5,
    drift_sd_px: float = DRIFT_SD_PX,
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x / R of all curves that the data of a fitted pair allow.

    Args:
        necks: the table that :func:`pair_growth` got.
        row: the pair's row of its result.
        time_s: s, ``(T,)``.
        level, offset_sd_px, drift_sd_px: as for :func:`pair_growth`.

    Returns:
        two float64 ``(T,)``; NaN before t0, and everywhere where there is no fit.
    """
    nothing = np.full(np.shape(time_s), np.nan)
    scale = row["R_nm"] / row["R_px"] if "R_nm" in row else None
    table, _ = tidy_necks(necks, scale)
    rows = table[(table["a"] == row["a"]) & (table["b"] == row["b"])]
    rows = rows[(rows["frame"] >= row["first_frame"]) & (rows["frame"] <= row["last_frame"])]
    if not math.isfinite(row["n"]) or len(rows) < LEAST_FRAMES:
        return nothing, nothing
    # weights of outliers are not kept in the row: the few frames that lost weight count in full here
    data = rows["time_s"].to_numpy(), rows["x"].to_numpy()
    problem = Problem(*data, np.ones(len(rows)), row["correlation"], row["scatter_px"], offset_sd_px, None, drift_sd_px)
    limit = problem.lowest()[2] + allowance(len(rows), row["correlation"], level)
    low, high = band(problem, (row["n_low"], row["n_high"]), limit, time_s)
    return low / row["R_px"], high / row["R_px"]


def tidy_necks(
    necks: pd.DataFrame, pixel_size_nm: float | None = None, shape: tuple[int, int] | None = None
) -> tuple[pd.DataFrame, float | None]:
    """A table of necks with the columns that are used here: ``frame, time_s, a, b, x, R, smaller, at_border``, a < b,
    lengths in px, ordered by pair and frame. Rows without x and R above 0 are left out, and of several rows of a pair
    in one frame the one with the widest neck stays. Times stay as they are, NaN included.

    Returns:
        the table, and the pixel size in nm, None where it is not known.

    Raises:
        InputError: a column is missing or not of numbers.
    """
    import pandas as pd

    scale = check_pixel_size(pixel_size_nm)
    first, second = (_one_of(necks, names) for names in (("a", "particle_a"), ("b", "particle_b")))
    unit = "px" if "x_px" in necks else "nm"
    x = _numbers(necks, f"x_{unit}")
    both = [_numbers(necks, name) for name in (f"R_a_{unit}", f"R_b_{unit}") if name in necks]
    both = both or [_numbers(necks, name) for name in ("R_a", "R_b") if name in necks]
    if f"R_{unit}" in necks or len(both) != 2:
        radius = _numbers(necks, f"R_{unit}")
    else:
        radius = (both[0] + both[1]) / 2
    smaller = np.minimum(both[0], both[1]) if len(both) == 2 else radius
    if scale is None and "x_px" in necks and "x_nm" in necks and len(necks):
        ratio = np.median(_numbers(necks, "x_nm") / np.where(x > 0, x, np.nan))
        scale = float(ratio) if np.isfinite(ratio) and ratio > 0 else None
    if unit == "nm":
        if scale is None:
            raise InputError("lengths in nm need pixel_size_nm as well, since what is resolved depends on it")
        x, radius, smaller = x / scale, radius / scale, smaller / scale
    a, b = _numbers(necks, first), _numbers(necks, second)
    table = pd.DataFrame(
        {
            "frame": _numbers(necks, "frame"),
            "time_s": _numbers(necks, "time_s"),
            "a": np.minimum(a, b),
            "b": np.maximum(a, b),
            "x": x,
            "R": radius,
            "smaller": smaller,
            "at_border": _at_border(necks, shape),
        }
    )
    lengths = table[["x", "R", "smaller"]]
    known = np.isfinite(table.drop(columns=["at_border", "time_s"])).all(axis=1) & (lengths > 0).all(axis=1)
    table = table[known].astype({"a": np.int64, "b": np.int64, "frame": np.int64})
    table = table.sort_values(["a", "b", "frame", "x"]).drop_duplicates(["a", "b", "frame"], keep="last")
    return table.reset_index(drop=True), scale


def _at_border(necks: pd.DataFrame, shape: tuple[int, int] | None) -> np.ndarray:
    """``(rows,)`` bool."""
    cut = necks["at_border"].to_numpy(bool) if "at_border" in necks else np.zeros(len(necks), bool)
    if shape is None or not {"x0_px", "y0_px", "x1_px", "y1_px"} <= set(necks.columns):
        return cut
    for name, size in (("x0_px", shape[1]), ("x1_px", shape[1]), ("y0_px", shape[0]), ("y1_px", shape[0])):
        # pixel centres are whole numbers, and a chord reaches half a pixel beyond the last of them
        cut = cut | ~((_numbers(necks, name) > 0.5) & (_numbers(necks, name) < size - 1.5))
    return cut


def _one_of(table: pd.DataFrame, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in table), names[0])


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    import pandas as pd

    if name not in table:
        raise InputError(
            f"the table of necks has no column {name!r}; give one row a neck and frame with a, b, time_s ..."
        )
    try:
        return pd.to_numeric(table[name]).to_numpy(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"the column {name!r} of the table of necks must hold numbers") from error


def _grow(
    rows: pd.DataFrame,
    bounds: tuple[float, float] | None,
    level: float,
    edge_sd: tuple[float, float],
    max_ratio: float,
) -> dict[str, Any]:
    """What :func:`pair_growth` says about one pair; ``rows`` as from :func:`tidy_necks`, ascending in time."""
    whole = rows[~rows["at_border"]]
    found: dict[str, Any] = {"frames": len(rows), "frames_used": 0}
    if len(whole) == 0:
        return found | {"why": "the border of the image cuts the neck in every frame"}
    time_s = rows["time_s"].to_numpy()
    if not np.isfinite(time_s).all():
        return found | {"why": "times are unknown; give the frame time"}
    if not (np.diff(time_s) > 0).all():
        return found | {"why": "times do not rise from frame to frame; give the frame time"}
    radius = float(whole["R"].iloc[:_FIRST].median())
    found["R_px"] = radius
    used, notes = _usable(whole, radius, max_ratio)
    found |= {"note": "; ".join(notes), "frames_used": len(used)}
    if len(used):
        found |= {"first_frame": int(used["frame"].iloc[0]), "last_frame": int(used["frame"].iloc[-1])}
        found |= {"first_s": float(used["time_s"].iloc[0]), "last_s": float(used["time_s"].iloc[-1])}
        found |= {"x_first_px": float(used["x"].iloc[:3].median()), "x_last_px": float(used["x"].iloc[-3:].median())}
        found["x_over_R_last"] = found["x_last_px"] / radius
    time_s, x = used["time_s"].to_numpy(), used["x"].to_numpy()
    slope, error = _line(time_s, x)
    found |= {"speed_px_per_s": slope, "speed_se_px_per_s": error}
    if len(used) < LEAST_FRAMES:
        return found | {"why": f"{len(used)} frames with a resolved, growing neck; at least {LEAST_FRAMES} are needed"}
    if bounds is not None and not bounds[0] < bounds[1]:
        return found | {"why": "the earliest t0 of this pair is not before the latest"}
    if bounds is not None and bounds[0] >= time_s[0]:
        return found | {"why": "the earliest t0 of this pair is not before its first resolved frame"}
    if not slope > 2 * error:
        return found | {"why": "x does not grow beyond its scatter"}
    fit = fit_law(time_s, x, radius, level, edge_sd[0], bounds, edge_sd[1])
    if not math.isfinite(fit.n_interval[1]):
        notes.append("n has no upper limit: too little of the growth was seen")
    # the straight line's own scatter contains the curvature; that of the law is the error of the data
    spread = fit.noise * math.sqrt((1 + fit.correlation) / (1 - fit.correlation))
    found["speed_se_px_per_s"] = spread / math.sqrt(float(((time_s - time_s.mean()) ** 2).sum()))
    names, units = ("n", "t0", "rate"), ("", "_s", "_per_s")
    keys = [
        (f"{name}{unit}", f"{name}_low{unit}", f"{name}_high{unit}") for name, unit in zip(names, units, strict=True)
    ]
    values = [
        (fit.n, *fit.n_interval),
        (fit.t0, *fit.t0_interval),
        tuple(_exp(v) for v in (fit.log_rate, *fit.log_rate_interval)),
    ]
    for three, numbers in zip(keys, values, strict=True):
        found |= dict(zip(three, numbers, strict=True))
    return found | {
        "offset_px": fit.offset,
        "drift_px": fit.drift,
        "scatter_px": fit.noise,
        "correlation": fit.correlation,
        "note": "; ".join(notes),
    }


def _exp(value: float) -> float:
    """exp that becomes infinite instead of raising."""
    return math.exp(value) if value < 700 else math.inf


def _usable(rows: pd.DataFrame, radius: float, max_ratio: float) -> tuple[pd.DataFrame, list[str]]:
    """The frames that the fit gets, and what to say about those at the end that it does not."""
    notes = []
    smooth = rows["x"].rolling(_MEDIAN, center=True, min_periods=1).median().to_numpy()
    smaller = float(rows["smaller"].iloc[:_FIRST].median())
    # outlines part on both sides: the harmonic mean of the radii is what their distance grows by
    other = max(2 * radius - smaller, smaller)
    limit = RESOLVED * math.sqrt(2 * smaller * other / (smaller + other))
    resolved = (smooth >= limit) & (rows["x"].to_numpy() >= limit)
    start = int(resolved.argmax()) if resolved.any() else len(rows)
    over = smooth[start:] >= max_ratio * smaller
    stop = start + int(over.argmax()) if over.any() else len(rows)
    if over.any():
        notes.append(f"used up to x = {max_ratio:g} of the smaller radius")
    rows, smooth = rows.iloc[start:stop], smooth[start:stop]
    if len(rows) >= 2 * LEAST_FRAMES:
        time_s = rows["time_s"].to_numpy()
        scatter = 1.4826 * float(np.median(np.abs(np.diff(rows["x"].to_numpy())))) / math.sqrt(2)
        level = float(np.median(smooth[-_MEDIAN:])) - max(scatter, 0.1)
        begin = int((smooth >= level).argmax())
        # a neck that never grows is no plateau after growth
        if begin > 1 and time_s[-1] - time_s[begin] > _PLATEAU * (time_s[-1] - time_s[0]):
            notes.append(f"growth stops at {time_s[begin]:.4g} s; later frames are not used")
            rows = rows.iloc[: begin + 1]
    return rows, notes


def _line(time_s: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Slope of the straight line of least squares and its standard error; NaN below 3 points."""
    if len(x) < 3:
        return math.nan, math.nan
    since = time_s - time_s.mean()
    spread = float((since**2).sum())
    slope = float((since * x).sum()) / spread
    rest = x - x.mean() - slope * since
    return slope, math.sqrt(float((rest**2).sum()) / (len(x) - 2) / spread)
