"""Growth of necks: one row per pair of particles, from a table of necks over time.

The law is (x / R)^n = B (t - t0) / R^m, with x half the chord, R the mean radius of the two particles, t0 the time at
which x was 0, and B a constant of material and temperature (two-sphere models of the initial stage: Frenkel 1945,
Kuczynski 1949, Kingery and Berg 1955, Coble 1961, collected in German 1996). One pair has one R, so B and m cannot be
separated: the fit gives the rate K = B / R^m, and B follows for an m chosen by the user.

**n alone does not identify a mechanism.** Different transport paths share exponents, several act at once, and the
interval of n is wide unless growth was observed over more than a decade of time. No mechanism is therefore named here.

Frames that are used:

- R is the median of the first frames of the contact: the law refers to the spheres as they met, and labels that fill in
  around a neck would otherwise be taken for larger spheres.
- A chord is *resolved* above 1.4 sqrt(R px): two circles that merely touch are less than a pixel apart up to sqrt(R px)
  from their point of contact, so their labels meet there whether a neck has grown or not. Frames before x has exceeded
  this limit (by a running median, so that no single frame is selected by its error) are left out.
- Frames from ``max_ratio`` are left out, and those of a plateau at the end, where growth has stopped. The models hold
  for x/R below about 0.3; by default all of the growth is used, since little of it is resolved below.
- Frames in which the border of the image cuts the chord (``at_border``) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io.units import check_pixel_size
from lisa_micro.measure.growth_check import misfit
from lisa_micro.measure.growth_fit import LEAST_FRAMES, Problem, allowance, band, fit_law
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd

MAX_RATIO = 0.9
"""Default ratio of x to the smaller radius up to which the law is fitted."""
RESOLVED = 1.4
"""Smallest resolved x in px, over the square root of R in px; see the module's description."""
DRIFT_SD_PX = 1.5
"""Default standard deviation of the change of the edge error while a neck opens, in px."""

_FIRST = 5  # frames from which R is determined
_MEDIAN = 5  # frames of the running median
_PLATEAU = 0.4  # fraction of the time at the end without growth from which growth is taken to have stopped
PAIR_COLUMNS: tuple[str, ...] = (
    *("a", "b", "n", "n_low", "n_high", "t0_s", "t0_low_s", "t0_high_s"),
    *("rate_per_s", "rate_low_per_s", "rate_high_per_s", "m", "B", "B_unit"),
    *("R_px", "offset_px", "drift_px", "scatter_px", "correlation", "speed_px_per_s", "speed_se_px_per_s"),
    *("frames", "frames_used", "first_frame", "last_frame", "first_s", "last_s"),
    *("x_first_px", "x_last_px", "x_over_R_last", "note", "why"),
)
"""Columns of :func:`pair_growth` without a pixel size."""


@dataclass(frozen=True)
class GrowthOptions:
    """Options of :func:`pair_growth`.

    Attributes
    ----------
    level
        Confidence level of the intervals, between 0 and 1.
    offset_sd_px
        Standard deviation of a constant error of x in px, common to all frames: how well the edges of the labels are
        known. The intervals include it.
    drift_sd_px
        Standard deviation of a change of this error from the first frame to the last.
    max_ratio
        Frames are used up to this ratio of x to the smaller radius.
    """

    level: float = 0.95
    offset_sd_px: float = 0.5
    drift_sd_px: float = DRIFT_SD_PX
    max_ratio: float = MAX_RATIO

    def check(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            A value out of range.
        """
        if not 0 < self.level < 1:
            raise InputError(f"The level of the intervals must be between 0 and 1, such as 0.95, not {self.level}.")
        if not all(math.isfinite(sd) and sd >= 0 for sd in (self.offset_sd_px, self.drift_sd_px)):
            raise InputError("offset_sd_px and drift_sd_px must be 0 px or more.")
        if not self.max_ratio > 0:
            raise InputError(f"max_ratio must be above 0, not {self.max_ratio}.")


def pair_growth(
    necks: pd.DataFrame,
    pixel_size_nm: float | None = None,
    m: float | None = None,
    onsets: Mapping[tuple[int, int], tuple[float, float]] | None = None,
    shape: tuple[int, int] | None = None,
    options: GrowthOptions | None = None,
) -> pd.DataFrame:
    """Fit the growth law to every pair; :mod:`lisa_micro.measure.growth_fit` describes the method.

    Parameters
    ----------
    necks
        One row per neck and frame, in any order. Columns: ``frame``; ``time_s``; ``a`` and ``b`` (or ``particle_a``,
        ``particle_b``), track IDs; ``x_px`` and ``R_px`` as from :func:`lisa_micro.measure_necks`, or ``x_nm`` and
        ``R_nm``. R may be missing if there are ``R_a_px`` and ``R_b_px`` (or ``R_a``, ``R_b``, in the unit of x). Rows
        with ``at_border`` (bool, optional) are left out.
    pixel_size_nm
        Edge length of a pixel in nm; required if lengths are in nm only. By default it is derived from columns that
        exist in both units.
    m
        Exponent of R, for B; without it B is NaN.
    onsets
        (a, b) -> (earliest, latest) t0 in s, if the beginning of the contact was observed. t0 of other pairs is free.
    shape
        ``(H, W)`` px of the frames: frames are left out in which an end of the chord (``x0_px, y0_px, x1_px, y1_px``)
        lies on the border.
    options
        Confidence level, errors of the edges, and range of x.

    Returns
    -------
    pandas.DataFrame
        One row per pair, ordered by a and b (a < b): ``n, n_low, n_high`` (0 or infinity for an open interval); ``t0_s,
        t0_low_s, t0_high_s`` (minus infinity if open); ``rate_per_s, rate_low_per_s, rate_high_per_s`` (K = B / R^m);
        ``m``, ``B``, ``B_unit``; ``R_px``; ``offset_px`` and ``drift_px`` (c and d of the fit); ``scatter_px``
        (standard deviation of x about the fit); ``correlation`` (of errors of neighbouring frames, 0..1);
        ``speed_px_per_s`` with ``speed_se_px_per_s`` (slope of a straight line through the resolved frames, the mean
        growth rate of x, and its standard error; from 3 frames); ``frames`` (in contact), ``frames_used``,
        ``first_frame, last_frame, first_s, last_s`` (used), ``x_first_px, x_last_px, x_over_R_last`` (medians of up to
        3 used frames at either end); ``note`` (remarks on a fit); ``why`` (reason why there is no fit, ``""``
        otherwise; :mod:`lisa_micro.measure.growth_check` says which fits are refused). With a pixel size also ``R_nm``,
        ``x_last_nm``, ``speed_nm_per_s``, ``speed_se_nm_per_s``.
        Undetermined numbers are NaN.

    Raises
    ------
    InputError
        A column is missing or not numeric, or an argument is out of range.
    """
    import pandas as pd

    options = options or GrowthOptions()
    options.check()
    table, scale = tidy_necks(necks, pixel_size_nm, shape)
    bounds = {(min(pair), max(pair)): span for pair, span in (onsets or {}).items()}
    rows: list[dict[str, Any]] = []
    for (a, b), rows_of_pair in table.groupby(["a", "b"], sort=True):
        row: dict[str, Any] = dict.fromkeys(PAIR_COLUMNS, math.nan)
        row |= {"a": int(a), "b": int(b), "note": "", "why": "", "B_unit": ""}
        row |= _grow(rows_of_pair, bounds.get((a, b)), options)
        if m is not None:
            unit = 1.0 if scale is None else scale
            row |= {"m": float(m), "B": row["rate_per_s"] * (row["R_px"] * unit) ** m}
            row["B_unit"] = f"{'px' if scale is None else 'nm'}^{m:g}/s"
        rows.append(row)
    result = pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
    if not rows:  # columns of an empty table are objects, which cannot be computed with
        texts = {"note", "why", "B_unit"}
        result = result.astype({name: float for name in PAIR_COLUMNS if name not in texts})
    if scale is not None:
        for name in ("R", "x_last", "speed", "speed_se"):
            tail = "_per_s" if name.startswith("speed") else ""
            result[f"{name}_nm{tail}"] = result[f"{name}_px{tail}"] * scale
    return result


def growth_curve(row: Mapping[str, Any], time_s: np.ndarray, which: str = "fit") -> np.ndarray:
    """x / R of a fitted pair.

    Parameters
    ----------
    row
        A row of :func:`pair_growth`, as a dict or a pandas row.
    time_s
        s, any shape.
    which
        ``"fit"``: as the labels show it, including the offset and its drift; ``"law"``: without them.

    Returns
    -------
    ndarray
        float64 of the shape of ``time_s``; NaN before t0, and everywhere without a fit.

    Raises
    ------
    InputError
        Another ``which``.

    Examples
    --------
    >>> row = {"n": 2.0, "t0_s": 0.0, "rate_per_s": 0.01}
    >>> growth_curve(row, np.array([-1.0, 4.0, 25.0]), "law")
    array([nan, 0.2, 0.5])
    """
    if which not in ("fit", "law"):
        raise InputError(f"Unknown curve {which!r}; choose fit or law.")
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
    options: GrowthOptions | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x / R of all curves that are compatible with the data of a fitted pair.

    Parameters
    ----------
    necks
        The table given to :func:`pair_growth`.
    row
        The row of the pair in its result.
    time_s
        s, ``(T,)``.
    options
        As for :func:`pair_growth`.

    Returns
    -------
    tuple of ndarray
        Two float64 ``(T,)``; NaN before t0, and everywhere without a fit.
    """
    options = options or GrowthOptions()
    nothing = np.full(np.shape(time_s), np.nan)
    scale = row["R_nm"] / row["R_px"] if "R_nm" in row else None
    table, _ = tidy_necks(necks, scale)
    rows = table[(table["a"] == row["a"]) & (table["b"] == row["b"])]
    rows = rows[(rows["frame"] >= row["first_frame"]) & (rows["frame"] <= row["last_frame"])]
    if not math.isfinite(row["n"]) or len(rows) < LEAST_FRAMES:
        return nothing, nothing
    # the row does not hold the weights of outliers, so the few frames that lost weight count in full here
    data = rows["time_s"].to_numpy(), rows["x"].to_numpy()
    offset_sd, drift_sd = options.offset_sd_px, options.drift_sd_px
    weights = np.ones(len(rows))
    problem = Problem(*data, weights, row["correlation"], row["scatter_px"], offset_sd, None, drift_sd)
    limit = problem.lowest()[2] + allowance(len(rows), row["correlation"], options.level)
    low, high = band(problem, (row["n_low"], row["n_high"]), limit, time_s)
    return low / row["R_px"], high / row["R_px"]


def tidy_necks(
    necks: pd.DataFrame, pixel_size_nm: float | None = None, shape: tuple[int, int] | None = None
) -> tuple[pd.DataFrame, float | None]:
    """Bring a table of necks into a standard form.

    Rows without positive x and R are left out, and of several rows of a pair in one frame the one with the widest neck
    is kept. Times are not changed, NaN included.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``frame, time_s, a, b, x, R, smaller, at_border``; a < b, lengths in px, ordered by pair and frame.
    pixel_size_nm : float or None

    Raises
    ------
    InputError
        A column is missing or not numeric.
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
            raise InputError("Lengths in nm also need pixel_size_nm, since the resolution limit depends on it.")
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
        # pixel centres are integers, and a chord extends half a pixel beyond the last one
        cut = cut | ~((_numbers(necks, name) > 0.5) & (_numbers(necks, name) < size - 1.5))
    return cut


def _one_of(table: pd.DataFrame, names: tuple[str, ...]) -> str:
    return next((name for name in names if name in table), names[0])


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    import pandas as pd

    if name not in table:
        raise InputError(
            f"The table of necks has no column {name!r}; give one row per neck and frame with a, b, time_s ..."
        )
    try:
        return pd.to_numeric(table[name]).to_numpy(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"Column {name!r} of the table of necks must hold numbers.") from error


def _grow(
    rows: pd.DataFrame,
    bounds: tuple[float, float] | None,
    options: GrowthOptions,
) -> dict[str, Any]:
    """The result of :func:`pair_growth` for one pair; ``rows`` as from :func:`tidy_necks`, ascending in time."""
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
    used, notes = _usable(whole, radius, options.max_ratio)
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
    fit = fit_law(time_s, x, radius, options.level, options.offset_sd_px, bounds, options.drift_sd_px)
    parts = {"n": fit.n, "t0_s": fit.t0, "rate_per_s": _exp(fit.log_rate), "offset_px": fit.offset}
    curve = growth_curve(found | parts | {"drift_px": fit.drift}, time_s)
    reason = misfit(time_s, x, x - radius * curve, fit.weights)
    if reason:
        return found | {"why": reason}
    if not math.isfinite(fit.n_interval[1]):
        notes.append("n has no upper limit: too little of the growth was seen")
    # the scatter about a straight line includes curvature; the scatter about the law is the error of the data
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
    """Exponential function that returns infinity instead of raising."""
    return math.exp(value) if value < 700 else math.inf


def _usable(rows: pd.DataFrame, radius: float, max_ratio: float) -> tuple[pd.DataFrame, list[str]]:
    """The frames for the fit, and notes on those at the end that are left out."""
    notes = []
    smooth = rows["x"].rolling(_MEDIAN, center=True, min_periods=1).median().to_numpy()
    smaller = float(rows["smaller"].iloc[:_FIRST].median())
    # the contours diverge on both sides: their distance grows with the harmonic mean of the radii
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
        # a neck that never grows is not a plateau after growth
        if begin > 1 and time_s[-1] - time_s[begin] > _PLATEAU * (time_s[-1] - time_s[0]):
            notes.append(f"growth stops at {time_s[begin]:.4g} s; later frames are not used")
            rows = rows.iloc[: begin + 1]
    return rows, notes


def _line(time_s: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Slope of the least-squares line and its standard error; NaN for fewer than 3 points."""
    if len(x) < 3:
        return math.nan, math.nan
    since = time_s - time_s.mean()
    spread = float((since**2).sum())
    slope = float((since * x).sum()) / spread
    rest = x - x.mean() - slope * since
    return slope, math.sqrt(float((rest**2).sum()) / (len(x) - 2) / spread)
