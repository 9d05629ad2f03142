"""Fit of the growth law to one neck: x = C (t - t0)^(1/n) + c + d r(t), with reliable intervals.

The method:

- **Errors are in pixels, not relative.** The ends of a chord are uncertain by about a pixel wherever they are, so the
  sum of squares is over x in pixels. In logarithms the smallest necks, which are measured worst, would dominate.
- **A common offset c** describes edges that are a little too far out or in, in all frames alike. The data hardly
  determine it, and it would directly affect n (half a pixel on a neck of 10 px changes n by 5 %). It is a parameter
  with a normal prior around 0, so the interval of n includes its uncertainty.
- **A drift d of that offset**, from the first frame to the last, describes an edge error that changes while the neck
  opens: a narrow notch is segmented differently from a wide one. It is treated like c.
- **n and t0 are strongly correlated**, and the valley of the sum of squares is curved, so intervals come from the
  profile (for each n the best t0, C, c and d) and not from the curvature at the optimum. C, c and d enter linearly;
  the remaining search in t0 uses a grid, which avoids local minima.
- **Errors of consecutive frames are correlated**, since edges hardly move from frame to frame. The correlation of
  residuals one frame apart is estimated, and the data are whitened with it (first-order autoregression).
- **Outliers** (a third particle over the neck, labels that flicker) get less weight: Huber weights from the residuals
  of the previous fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_RANGE = (0.5, 40.0)
"""Exponents that are searched. An interval that reaches an end is open there."""
LEAST_FRAMES = 6
"""Least number of frames for a fit, which determines four parameters and a scatter."""

_FLOOR_PX = 0.05  # least standard deviation of a chord on a pixel grid
_HUBER = 2.0  # standard deviations beyond which a frame loses weight
_FREE = 3  # n, t0 and C; c and d are constrained by their priors
_GOLDEN = 0.5 * (np.sqrt(5) - 1)


@dataclass(frozen=True)
class Fit:
    """A fitted neck; lengths in pixels, times in seconds. Intervals are ``(low, high)``, infinite if open.

    Attributes
    ----------
    n, n_interval
        Exponent; 0 and infinity if open.
    t0, t0_interval
        Time at which x would be 0.
    log_rate, log_rate_interval
        Natural logarithm of K in (x / radius)^n = K (t - t0), K in 1/s.
    offset
        c, midway between the first frame and the last.
    drift
        d, its change between them.
    noise
        Standard deviation of x about the fit.
    correlation
        Of errors one frame apart, 0..1.
    weights
        ``(N,)`` weight of each frame, 0..1.
    """

    n: float
    t0: float
    log_rate: float
    offset: float
    drift: float
    n_interval: tuple[float, float]
    t0_interval: tuple[float, float]
    log_rate_interval: tuple[float, float]
    noise: float
    correlation: float
    weights: np.ndarray


def fit_law(
    time_s: np.ndarray,
    x: np.ndarray,
    radius: float,
    level: float = 0.95,
    offset_sd: float = 0.5,
    bounds: tuple[float, float] | None = None,
    drift_sd: float = 0.0,
) -> Fit:
    """Fit one neck.

    Parameters
    ----------
    time_s
        ``(N,)`` s, ascending, N at least :data:`LEAST_FRAMES`.
    x
        ``(N,)`` px, finite.
    radius
        px; x is divided by it in the rate.
    level
        Confidence level of the intervals, between 0 and 1.
    offset_sd, drift_sd
        px, standard deviations of the priors of c and d; 0 omits them.
    bounds
        ``(earliest, latest)`` t0 in s; ``None`` for any time before the first frame.

    Raises
    ------
    ValueError
        Too few frames, or times that do not ascend.
    """
    time_s, x = np.asarray(time_s, float), np.asarray(x, float)
    if len(x) < LEAST_FRAMES or not (np.diff(time_s) > 0).all():
        raise ValueError(f"the fit needs at least {LEAST_FRAMES} frames with ascending times")
    weights, rho, noise = np.ones(len(x)), 0.0, 1.0
    for _ in range(3):  # outliers and correlation are estimated from the previous fit
        problem = Problem(time_s, x, weights, rho, noise, offset_sd, bounds, drift_sd)
        weights, rho, noise = errors_of(problem.residual(*problem.lowest()[:2]), time_s)
    problem = Problem(time_s, x, weights, rho, noise, offset_sd, bounds, drift_sd)
    log_n, log_age, least = _polished(problem, *problem.lowest())
    limit = least + allowance(len(x), rho, level)
    low, high = _n_interval(problem, log_n, least, limit)
    t0, rate = _along_valley(problem, (low, high), log_age, limit, radius)
    offset, drift = problem.edges(log_n, log_age)
    return Fit(
        n=float(np.exp(log_n)),
        t0=problem.start - float(np.exp(log_age)),
        log_rate=float(problem.log_rate(log_n, log_age, radius)[0]),
        offset=float(offset),
        drift=float(drift),
        n_interval=(
            0.0 if low <= problem.log_ns[0] else float(np.exp(low)),
            np.inf if high >= problem.log_ns[-1] else float(np.exp(high)),
        ),
        t0_interval=t0,
        # (x / R)^n is unbounded if the exponent is
        log_rate_interval=rate if high < problem.log_ns[-1] else (-np.inf, np.inf),
        noise=noise,
        correlation=rho,
        weights=weights,
    )


class Problem:
    """Sum of squares as a function of n and of the neck's age in the first frame, t[0] - t0; C, c and d are optimal.

    All methods take the logarithms of n and age, as arrays of the same shape or numbers.
    """

    def __init__(
        self,
        time_s: np.ndarray,
        x: np.ndarray,
        weights: np.ndarray,
        rho: float,
        noise: float,
        offset_sd: float,
        bounds: tuple[float, float] | None,
        drift_sd: float = 0.0,
    ) -> None:
        self.x, self.since, self.start, self.span = x, time_s - time_s[0], time_s[0], time_s[-1] - time_s[0]
        step = float(np.median(np.diff(time_s)))
        self._current, self._previous = whitening(time_s, weights, rho, noise)
        self.white = self.whiten(x)
        known = ((offset_sd, np.ones(len(x))), (drift_sd, self.ramp(self.since)))
        self._free = [k for k, (sd, _) in enumerate(known) if sd > 0]
        self.edge = self.whiten(np.stack([column for _, column in known]))[self._free]
        self.prior = np.array([sd for sd, _ in known])[self._free] ** -2.0
        self._inverse = np.linalg.inv(self.edge @ self.edge.T + np.diag(self.prior))
        least, most = 1e-3 * step, 30 * self.span
        if bounds is not None:
            least = max(self.start - bounds[1], least)
            most = max(self.start - bounds[0], 2 * least)
        lowest_n, highest_n = np.log(N_RANGE)
        self.log_ages = np.linspace(np.log(least), np.log(most), 40)
        self.log_ns = np.linspace(lowest_n, highest_n, 41)

    def whiten(self, values: np.ndarray) -> np.ndarray:
        """Divide ``(..., N)`` by the noise and remove the correlation."""
        out = values * self._current
        if self._previous.any():
            out[..., 1:] -= values[..., :-1] * self._previous[1:]
        return out

    def shape(self, log_n: np.ndarray | float, log_age: np.ndarray | float) -> np.ndarray:
        """``(..., N)``: (t - t0)^(1/n) relative to its value in the last frame."""
        age = np.exp(np.asarray(log_age, float))[..., None]
        part = np.log((self.since + age) / (self.span + age))
        return np.exp(part * np.exp(-np.asarray(log_n, float))[..., None])

    def ramp(self, since: np.ndarray) -> np.ndarray:
        """Factor of d at a time after the first frame: -0.5 there, 0.5 in the last frame, constant beyond."""
        return np.clip(since / self.span, 0, 1) - 0.5

    def solve(self, log_n: np.ndarray | float, log_age: np.ndarray | float) -> tuple[np.ndarray, ...]:
        """Solve for the linear parameters.

        Returns
        -------
        tuple of ndarray
            x in the last frame without c and d; the whitened residuals, ``(..., N)``; those of c and d that are free,
            ``(..., K)``; the sum of squares including the priors; and the variance of the first.
        """
        u = self.whiten(self.shape(log_n, log_age))
        across = u @ self.edge.T @ self._inverse
        part = u - across @ self.edge
        uu, ux = np.einsum("...i,...i->...", u, part), part @ self.white
        end = ux / uu
        edges = (self.edge @ self.white) @ self._inverse - end[..., None] * across
        rest = self.white - end[..., None] * u - edges @ self.edge
        squares = np.einsum("...i,...i->...", rest, rest) + edges**2 @ self.prior
        return end, rest, edges, np.where(end > 0, squares, np.inf), 1 / uu

    def edges(self, log_n: np.ndarray | float, log_age: np.ndarray | float) -> np.ndarray:
        """``(..., 2)`` px: c and d."""
        found = self.solve(log_n, log_age)[2]
        out = np.zeros((*found.shape[:-1], 2))
        out[..., self._free] = found
        return out

    def residual(self, log_n: float, log_age: float) -> np.ndarray:
        """``(N,)`` px: residuals of x."""
        offset, drift = self.edges(log_n, log_age)
        end = self.solve(log_n, log_age)[0]
        return self.x - end * self.shape(log_n, log_age) - offset - drift * self.ramp(self.since)

    def log_rate(
        self, log_n: np.ndarray | float, log_age: np.ndarray | float, radius: float, slack: np.ndarray | float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logarithm of K in ((x - c) / radius)^n = K (t - t0).

        Returns
        -------
        tuple of ndarray
            Its lowest and highest value for C, c and d that add at most ``slack`` to the sum of squares.
        """
        end, *_, variance = self.solve(log_n, log_age)
        spread = np.sqrt(np.maximum(slack, 0) * variance)
        ends = np.stack([end - spread, end + spread]) / radius
        return tuple(np.exp(log_n) * np.log(np.maximum(ends, 1e-12)) - np.log(self.span + np.exp(log_age)))

    def profile(self, log_n: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """For each n the best age (logarithm) and its sum of squares: a grid, then golden-section search within it."""
        log_n = np.atleast_1d(np.asarray(log_n, float))
        grid = np.stack([self.solve(np.full(len(self.log_ages), v), self.log_ages)[3] for v in log_n])
        k, last = grid.argmin(axis=1), len(self.log_ages) - 1
        low, high = self.log_ages[np.maximum(k - 1, 0)], self.log_ages[np.minimum(k + 1, last)]
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = self.solve(log_n, left)[3], self.solve(log_n, right)[3]
        for _ in range(24):
            down = at_left < at_right
            low, high = np.where(down, low, left), np.where(down, right, high)
            fresh = np.where(down, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
            value = self.solve(log_n, fresh)[3]
            left, right = np.where(down, fresh, right), np.where(down, left, fresh)
            at_left, at_right = np.where(down, value, at_right), np.where(down, at_left, value)
        middle = 0.5 * (low + high)
        return middle, self.solve(log_n, middle)[3]

    def lowest(self) -> tuple[float, float, float]:
        """Logarithms of n and age at the optimum, and its sum of squares."""
        squares = self.profile(self.log_ns)[1]
        k = int(squares.argmin())
        between = np.linspace(self.log_ns[max(k - 1, 0)], self.log_ns[min(k + 1, len(self.log_ns) - 1)], 13)
        log_ages, squares = self.profile(between)
        k = int(squares.argmin())
        return float(between[k]), float(log_ages[k]), float(squares[k])


def allowance(count: int, rho: float, level: float) -> float:
    """Amount by which the sum of squares, in units of the variance, may exceed its minimum within an interval.

    It is Student's t squared for one parameter. Correlated errors leave fewer degrees of freedom than there are frames.
    """
    from scipy.special import stdtrit

    freedom = max(count * (1 - rho) / (1 + rho) - _FREE, 2.0)
    return float(stdtrit(freedom, 0.5 + level / 2)) ** 2


def band(problem: Problem, interval: tuple[float, float], limit: float, time_s: np.ndarray) -> np.ndarray:
    """Lowest and highest x, offset included, of all curves within the limit.

    Parameters
    ----------
    problem
        The fitted frames.
    interval
        Interval of n, finite or not.
    limit
        Limit of the sum of squares.
    time_s
        s; NaN before the latest t0.

    Returns
    -------
    ndarray
        ``(2, len(time_s))`` px.
    """
    low, high = np.log(np.clip(interval, *N_RANGE))
    log_ns = np.linspace(low, high, 25)
    log_ages, squares = problem.profile(log_ns)
    end, *_, variance = problem.solve(log_ns, log_ages)
    offset, drift = np.moveaxis(problem.edges(log_ns, log_ages), -1, 0)
    age = np.exp(log_ages)[:, None]
    since = np.asarray(time_s, float) - problem.start
    part = (since[None] + age) / (problem.span + age)
    with np.errstate(invalid="ignore"):
        shape = np.where(part >= 0, part, np.nan) ** np.exp(-log_ns)[:, None]
    spread = np.sqrt(np.maximum(limit - squares, 0) * variance)[:, None] * shape
    curves = end[:, None] * shape + offset[:, None] + drift[:, None] * problem.ramp(since)
    return np.stack([(curves - spread).min(axis=0), (curves + spread).max(axis=0)])


def whitening(time_s: np.ndarray, weights: np.ndarray, rho: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Factors of a value and of the previous one whose difference has unit variance and no correlation.

    Errors d frames apart are correlated by rho^d, so each value is compared with the prediction from the previous one.

    Returns
    -------
    tuple of ndarray
        ``(N,)`` each; the second is 0 in the first frame.
    """
    gaps = np.diff(time_s)
    carry = np.append(0.0, rho ** (gaps / np.median(gaps)) if rho > 0 else np.zeros(len(gaps)))
    scale = np.sqrt(weights) / noise
    root = np.sqrt(1 - carry**2)
    return scale / root, np.append(0.0, scale[:-1]) * carry / root


def errors_of(residual: np.ndarray, time_s: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Weights of the frames, correlation of neighbours, and standard deviation in px, from the residuals of a fit."""
    count = len(residual)
    spread = max(1.4826 * float(np.median(np.abs(residual))) * np.sqrt(count / (count - _FREE)), _FLOOR_PX)
    weights = np.minimum(1.0, _HUBER * spread / np.maximum(np.abs(residual), 1e-12))
    scaled = residual * np.sqrt(weights)
    noise = max(float(np.sqrt((scaled**2).sum() / (count - _FREE))), _FLOOR_PX)
    gap = np.diff(time_s)
    near = gap < 1.5 * np.median(gap)
    products, squares = scaled[1:] * scaled[:-1], 0.5 * (scaled[1:] ** 2 + scaled[:-1] ** 2)
    total = float(squares[near].sum())
    rho = float(products[near].sum()) / total if total > 0 else 0.0
    # residuals are less correlated than the errors: each fitted parameter removes about 1/N
    rho = float(np.clip(rho + (_FREE + 3 * max(rho, 0.0)) / count, 0.0, 0.95))
    return weights, rho, noise


def _polished(problem: Problem, log_n: float, log_age: float, squares: float) -> tuple[float, float, float]:
    """Refine the optimum of the grid with lmfit, within the searched ranges."""
    import lmfit

    parameters = lmfit.Parameters()
    for name, value, grid in (("log_n", log_n, problem.log_ns), ("log_age", log_age, problem.log_ages)):
        width = 1e-6 * (grid[-1] - grid[0])  # lmfit cannot leave a bound on which it starts
        parameters.add(name, float(np.clip(value, grid[0] + width, grid[-1] - width)), min=grid[0], max=grid[-1])

    def residual(values: lmfit.Parameters) -> np.ndarray:
        at = values["log_n"].value, values["log_age"].value
        _, rest, edges, _, _ = problem.solve(*at)
        return np.append(rest, np.sqrt(problem.prior) * edges)

    found = lmfit.minimize(residual, parameters, method="leastsq", max_nfev=400)
    best = float(found.params["log_n"].value), float(found.params["log_age"].value)
    lower = float(problem.solve(*best)[3])
    return (*best, lower) if lower < squares else (log_n, log_age, squares)


def _n_interval(problem: Problem, log_n: float, least: float, limit: float) -> tuple[float, float]:
    """Logarithms of the n at which the profile crosses the limit, or the ends of the searched range."""
    from scipy.optimize import brentq

    def above(value: float) -> float:
        return float(problem.profile(value)[1][0]) - limit

    squares = problem.profile(problem.log_ns)[1]
    ends = []
    for side in (-1, 1):
        grid = problem.log_ns[:: 1 if side > 0 else -1]
        beyond = side * grid > side * log_n
        inside = beyond & (squares[:: 1 if side > 0 else -1] <= limit)
        # the outermost n within the limit, since a profile may rise and fall again
        first = float(grid[inside][-1]) if inside.any() else log_n
        outer = grid[side * grid > side * first]
        ends.append(
            brentq(above, first, outer[0], xtol=1e-4) if len(outer) and above(outer[0]) > 0 > above(first) else grid[-1]
        )
    return float(ends[0]), float(ends[1])


def _along_valley(
    problem: Problem, interval: tuple[float, float], log_age: float, limit: float, radius: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Intervals of t0 and of the logarithm of the rate: their range over all n and t0 within the limit."""
    log_ns = np.linspace(*interval, 33)
    best = problem.profile(log_ns)[0]
    steps = np.concatenate([[0], np.exp(np.linspace(np.log(1e-4), np.log(10), 40))])
    steps = np.concatenate([-steps[:0:-1], steps])
    ages = np.clip(best[:, None] + steps, problem.log_ages[0], problem.log_ages[-1])
    grid = np.repeat(log_ns[:, None], len(steps), axis=1)
    squares = np.stack([problem.solve(a, b)[3] for a, b in zip(grid, ages, strict=True)])
    within = squares <= limit + 1e-9
    if not within.any():
        within = squares == squares.min()
    inside = ages[within]
    earliest = -np.inf if inside.max() >= problem.log_ages[-1] - 1e-9 else problem.start - float(np.exp(inside.max()))
    low, high = problem.log_rate(grid[within], inside, radius, limit - squares[within])
    return (earliest, problem.start - float(np.exp(inside.min()))), (float(low.min()), float(high.max()))
