"""Growth of necks, motion, relaxation: known truth, intervals that cover, and input that cannot be fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lisa_micro.measure import (
    growth_curve,
    mean_squared_displacement,
    measure_necks,
    measure_particles,
    pair_distances,
    pair_growth,
    relaxations,
    sizes_over_time,
)
from lisa_micro.measure.growth import GrowthOptions, growth_band
from lisa_micro.measure.growth_fit import fit_law
from lisa_micro.measure.relaxation import fit_relaxation
from lisa_micro.sim import simulate_sintering
from lisa_micro.types import InputError

RADIUS = 25.0


def law(n: float, t0: float, count: int, end: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Times and x in px of a neck that reaches ``end`` R in the last frame."""
    time_s = np.arange(count, dtype=float)
    return time_s, RADIUS * end * ((time_s - t0) / (time_s[-1] - t0)) ** (1 / n)


def table(time_s, x, a: int = 1, b: int = 2, **more) -> pd.DataFrame:
    columns = {"frame": np.arange(len(x)), "time_s": time_s, "a": a, "b": b, "x_px": x, "R_px": RADIUS}
    return pd.DataFrame(columns | more)


@pytest.mark.parametrize("n", [2.0, 3.0, 5.0, 7.0])
def test_exact_data_give_exact_numbers(n):
    time_s, x = law(n, -3.0, 40)
    row = pair_growth(table(time_s, x), m=4).iloc[0]
    assert row["why"] == ""
    assert row["n"] == pytest.approx(n, rel=1e-3)
    assert row["t0_s"] == pytest.approx(-3.0, abs=0.02)
    assert row["n_low"] < n < row["n_high"]
    rate = 0.8**n / (time_s[-1] + 3)
    assert row["rate_per_s"] == pytest.approx(rate, rel=0.01)
    assert row["rate_low_per_s"] < rate < row["rate_high_per_s"]
    assert row["B"] == pytest.approx(row["rate_per_s"] * RADIUS**4)
    assert row["B_unit"] == "px^4/s"
    used = table(time_s, x).query("frame >= @row.first_frame")
    assert growth_curve(row, used["time_s"]) == pytest.approx(used["x_px"] / RADIUS, abs=1e-3)


def test_units_and_column_names_do_not_matter():
    time_s, x = law(3.0, -1.0, 30)
    pixels = pair_growth(table(time_s, x, R_a_px=20.0, R_b_px=30.0), pixel_size_nm=0.5, m=2).iloc[0]
    columns = {"frame": np.arange(30), "time_s": time_s, "particle_a": 2, "particle_b": 1}
    nm = pd.DataFrame(columns | {"x_nm": x / 2, "R_a": 15.0, "R_b": 10.0})
    other = pair_growth(nm.sample(frac=1, random_state=0), pixel_size_nm=0.5, m=2).iloc[0]
    for name in ("n", "n_low", "t0_s", "B", "R_nm", "speed_nm_per_s"):
        assert other[name] == pytest.approx(pixels[name], rel=1e-6)
    assert pixels["B_unit"] == "nm^2/s"
    assert pixels["R_nm"] == pytest.approx(12.5)
    with pytest.raises(InputError, match="pixel_size_nm"):
        pair_growth(nm)


def errors(rng, count: int, rho: float) -> np.ndarray:
    out = rng.normal(size=count)
    for k in range(1, count):
        out[k] = rho * out[k - 1] + np.sqrt(1 - rho**2) * out[k]
    return out


def coverage(repetitions: int, n: float, rho: float, seed: int) -> tuple[float, float]:
    """Share of intervals that hold n, and their median width over n. Scatter of 0.4 px, edges half a pixel off."""
    rng = np.random.default_rng(seed)
    held, width = [], []
    for _ in range(repetitions):
        time_s, x = law(n, -0.7, 40)
        keep = x > 7
        x = x + 0.4 * errors(rng, 40, rho) + rng.normal(0, 0.5)
        low, high = fit_law(time_s[keep], x[keep], RADIUS).n_interval
        held.append(low <= n <= high)
        width.append((high - low) / n)
    return float(np.mean(held)), float(np.median(width))


def test_intervals_cover():
    held, width = coverage(30, 5.0, 0.0, 1)
    assert held >= 0.85
    assert width < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rho"), [(2.0, 0.0), (5.0, 0.5), (7.0, 0.0)])
def test_intervals_cover_in_200_repetitions(n, rho):
    held, width = coverage(200, n, rho, 2)
    assert 0.88 <= held <= 1.0
    assert width < 1.0


def test_interval_agrees_with_lmfit_where_its_own_assumptions_hold():
    """Independent errors, no offset: lmfit's profile by the F-test."""
    import lmfit

    rng = np.random.default_rng(5)
    time_s, x = law(4.0, -2.0, 60)
    x = x + rng.normal(0, 0.2, 60)
    fit = fit_law(time_s, x, RADIUS, offset_sd=0.0)
    parameters = lmfit.Parameters()
    parameters.add("n", 4.0, min=1, max=20)
    parameters.add("age", 2.0, min=0.01, max=100)
    parameters.add("end", 20.0)

    def residual(p):
        part = (time_s + p["age"].value) / (time_s[-1] + p["age"].value)
        return x - p["end"].value * part ** (1 / p["n"].value)

    minimizer = lmfit.Minimizer(residual, parameters)
    found = minimizer.minimize()
    bounds = lmfit.conf_interval(minimizer, found, p_names=["n"], sigmas=[0.95])["n"]
    assert fit.n == pytest.approx(found.params["n"].value, rel=0.03)
    assert fit.n_interval == pytest.approx((bounds[0][1], bounds[-1][1]), rel=0.12)


def test_the_interval_contains_an_error_that_changes_as_the_neck_opens():
    rng = np.random.default_rng(8)
    time_s, x = law(7.0, -0.7, 60)
    keep = x > 7
    part = (time_s - time_s[keep][0]) / (time_s[-1] - time_s[keep][0])
    x = x + 1.5 * (part - 0.5) + rng.normal(0, 0.2, 60)  # too thin at first, too wide at last
    without = fit_law(time_s[keep], x[keep], RADIUS)
    fit = fit_law(time_s[keep], x[keep], RADIUS, drift_sd=1.5)
    assert without.n_interval[1] < 7 < fit.n_interval[1]
    assert fit.n_interval[0] < 7
    assert abs(fit.drift) < 3 and without.drift == 0


def test_outliers_a_plateau_and_the_onset():
    rng = np.random.default_rng(3)
    time_s, x = law(3.0, -1.0, 60)
    x = x + rng.normal(0, 0.15, 60)
    x[[12, 30, 44]] -= 6.0  # a third particle lies on the neck
    row = pair_growth(table(time_s, x), options=GrowthOptions(drift_sd_px=0)).iloc[0]
    assert row["n_low"] < 3 < row["n_high"]
    assert row["n_high"] - row["n_low"] < 1.5
    stopped = np.where(time_s > 25, x[25], x) + rng.normal(0, 0.05, 60)
    row = pair_growth(table(time_s, np.minimum(stopped, x[25] + 0.3))).iloc[0]
    assert "growth stops" in row["note"]
    assert row["last_frame"] < 32
    wide = pair_growth(table(time_s, x)).iloc[0]
    tight = pair_growth(table(time_s, x), onsets={(2, 1): (-1.1, -0.9)}).iloc[0]
    assert -1.1 <= tight["t0_s"] <= -0.9
    assert tight["n_high"] - tight["n_low"] < wide["n_high"] - wide["n_low"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.head(4), "at least 6"),
        (lambda t: t.assign(x_px=15.0), "does not grow"),
        (lambda t: t.assign(x_px=15.0 - 0.1 * t["frame"]), "does not grow"),
        (lambda t: t.assign(x_px=3.0 + 0.02 * t["frame"]), "0 frames"),
        (lambda t: t.assign(time_s=np.nan), "times are unknown"),
        (lambda t: t.assign(time_s=0.0), "do not rise"),
        (lambda t: t.assign(at_border=True), "border"),
    ],
)
def test_what_cannot_be_fitted_says_why(change, words):
    time_s, x = law(4.0, -1.0, 30)
    result = pair_growth(change(table(time_s, x)))
    assert len(result) == 1
    assert words in result["why"].iloc[0]
    assert np.isnan(result["n"].iloc[0])
    assert np.isnan(growth_curve(result.iloc[0], time_s)).all()


def test_bad_rows_are_left_out_and_negative_times_are_times():
    time_s, x = law(4.0, -1.0, 30)
    good = pair_growth(table(time_s - 100, x)).iloc[0]
    assert good["t0_s"] == pytest.approx(-101, abs=0.1)
    broken = table(time_s, x)
    broken.loc[[3, 9], "x_px"] = [np.nan, -2.0]
    broken.loc[5, "R_px"] = np.inf
    row = pair_growth(pd.concat([broken, broken])).iloc[0]  # every row twice
    assert row["frames"] == 27
    assert row["n"] == pytest.approx(4.0, rel=0.01)


def test_bad_tables_and_arguments():
    time_s, x = law(4.0, -1.0, 30)
    whole = table(time_s, x)
    assert len(pair_growth(whole.iloc[:0])) == 0
    assert list(pair_growth(whole.iloc[:0])) == list(pair_growth(whole))
    for name in ("frame", "time_s", "a", "x_px", "R_px"):
        with pytest.raises(InputError, match="column"):
            pair_growth(whole.drop(columns=name))
    with pytest.raises(InputError, match="numbers"):
        pair_growth(whole.assign(x_px="wide"))
    with pytest.raises(InputError, match="level"):
        pair_growth(whole, options=GrowthOptions(level=95))
    with pytest.raises(InputError, match="curve"):
        growth_curve(pair_growth(whole).iloc[0], time_s, "both")


def test_band_holds_the_curve_and_the_border_is_found():
    rng = np.random.default_rng(8)
    time_s, x = law(3.0, -1.0, 40)
    data = table(time_s, x + rng.normal(0, 0.2, 40), x0_px=50.0, x1_px=60.0, y0_px=70.0, y1_px=80.0)
    row = pair_growth(data).iloc[0]
    fine = np.linspace(row["t0_s"], 39, 50)[1:]
    low, high = growth_band(data, row, fine)
    late = fine > 5
    assert (low[late] <= growth_curve(row, fine)[late] + 1e-3).all()
    assert (growth_curve(row, fine)[late] <= high[late] + 1e-3).all()
    data.loc[data["frame"] > 30, "x1_px"] = 99.4
    assert pair_growth(data, shape=(100, 100)).iloc[0]["last_frame"] == 30


def test_simulated_video():
    video = simulate_sintering(11, frames=45, shape=(256, 256), n_particles=9, mechanism="viscous flow", radius_nm=5.0)
    rows = []
    for t in range(len(video)):
        found = measure_necks(video.labels(t), video.pixel_size_nm)
        rows.append(found.assign(frame=t, time_s=t * video.frame_time_s))
    pairs = pair_growth(pd.concat(rows), shape=(256, 256))
    fitted = pairs[pairs["why"] == ""]
    assert len(fitted) >= 3
    assert ((fitted["n_low"] <= 2) & (fitted["n_high"] >= 2)).mean() >= 0.6
    assert {"speed_nm_per_s", "R_nm"} <= set(pairs)


# --------------------------------------------------------------------------------------------- motion and shape


def path(identity: int, xy: np.ndarray, **more) -> pd.DataFrame:
    count = len(xy)
    columns = {"frame": np.arange(count), "time_s": 0.5 * np.arange(count), "identity": identity}
    return pd.DataFrame(columns | {"centroid_x_px": xy[:, 0], "centroid_y_px": xy[:, 1]} | more)


def test_mean_squared_displacement():
    steps = np.arange(20.0)
    straight = path(1, np.stack([2 * steps, 0 * steps], 1))
    found = mean_squared_displacement(straight, drift="none", longest=3)
    assert found["msd_px2"].tolist() == pytest.approx([4.0, 16.0, 36.0])
    assert found["lag_s"].tolist() == [0.5, 1.0, 1.5]
    assert found["displacements"].tolist() == [19, 18, 17]
    rng = np.random.default_rng(0)
    drift = np.cumsum(np.full((200, 2), 0.7), axis=0)
    walkers = [path(k, np.cumsum(rng.normal(0, 0.5, (200, 2)), axis=0) + drift) for k in range(40)]
    together = mean_squared_displacement(pd.concat(walkers), longest=4)
    # a random walk: 2 dimensions, variance 0.25 a step
    assert together["msd_px2"].to_numpy() == pytest.approx(0.5 * np.arange(1, 5), rel=0.08)
    assert (mean_squared_displacement(pd.concat(walkers), "none", 4)["msd_px2"] > together["msd_px2"]).all()
    each = mean_squared_displacement(pd.concat(walkers), longest=2, each=True)
    assert len(each) == 80
    gappy = straight.drop(index=[4, 5])
    assert mean_squared_displacement(gappy, "none", 1)["displacements"].tolist() == [16]
    assert len(mean_squared_displacement(straight.head(1))) == 0
    with pytest.raises(InputError, match="drift"):
        mean_squared_displacement(straight, drift="all")
    with pytest.raises(InputError, match="centroid_x_px"):
        mean_squared_displacement(straight.drop(columns="centroid_x_px"))


def test_distances_and_shrinkage():
    steps = np.arange(30.0)
    still = path(1, np.zeros((30, 2)))
    nearing = path(2, np.stack([40 - np.maximum(steps - 4, 0) * 0.2, 0 * steps], 1)).drop(index=7)
    found = pair_distances(pd.concat([still, nearing]), [(2, 1), (1, 9)])
    assert len(found) == 29
    assert found["distance_px"].iloc[-1] == pytest.approx(35.0)
    assert found["shrinkage"].iloc[-1] == pytest.approx(0.125)
    assert len(pair_distances(still, [(1, 2)])) == 0


def test_relaxation_time_is_found():
    rng = np.random.default_rng(4)
    held = []
    for _ in range(60):
        time_s = np.arange(40.0)
        length = 60 + 25 * np.exp(-time_s / 9) + 0.4 * errors(rng, 40, 0.3)
        fit = fit_relaxation(time_s, length)
        held.append(fit.interval[0] <= 9 <= fit.interval[1])
    assert np.mean(held) >= 0.85
    exact = fit_relaxation(time_s, 60 + 25 * np.exp(-time_s / 9))
    assert exact.tau_s == pytest.approx(9, rel=1e-3)
    assert (exact.start, exact.end) == pytest.approx((85, 60), rel=1e-3)
    rows = [
        path(3, np.zeros((40, 2)), feret_max_px=length),
        path(4, np.zeros((40, 2)), feret_max_px=50.0),
        path(5, np.zeros((3, 2)), feret_max_px=50.0),
    ]
    found = relaxations(pd.concat(rows), [5, 3, 4, 9]).set_index("identity")
    assert found.index.tolist() == [3, 4, 5, 9]
    assert found.loc[3, "why"] == ""
    assert found.loc[3, "tau_s"] == pytest.approx(4.5, rel=0.3)  # half a second a frame
    assert "does not change" in found.loc[4, "why"]
    assert "3 frames" in found.loc[5, "why"]
    assert "0 frames" in found.loc[9, "why"]


def test_sizes_over_time():
    labels = np.zeros((40, 60), np.int32)
    labels[5:15, 5:15], labels[20:40, 30:50] = 1, 2
    frames = [measure_particles(labels * keep, 2.0).assign(frame=t, time_s=t * 1.0) for t, keep in enumerate((1, 1, 0))]
    tracks = pd.concat(frames).rename(columns={"label": "identity"})
    sizes = sizes_over_time(tracks)
    assert sizes["frame"].tolist() == [0, 1]
    assert sizes["count"].tolist() == [2, 2]
    assert sizes["unit"].tolist() == ["nm", "nm"]
    assert sizes["mean"].iloc[0] == pytest.approx(np.sqrt(4 / np.pi) * 30)
    assert sizes_over_time(tracks, border=False)["count"].tolist() == [1, 1]
