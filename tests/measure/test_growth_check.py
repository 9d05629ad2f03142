"""Growth fits that miss their frames are refused with a reason; noisy power laws are kept. The truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from lisa_micro.measure import growth_curve, pair_growth
from lisa_micro.measure.growth_check import MISFIT, runs_probability
from lisa_micro.viz.plots import growth_figure
from lisa_micro.viz.plots_html import growth_page

RADIUS = 25.0


def table(x: np.ndarray, a: int = 1, b: int = 2) -> pd.DataFrame:
    columns = {"frame": np.arange(len(x)), "time_s": np.arange(len(x)) * 1.0, "a": a, "b": b}
    return pd.DataFrame(columns | {"x_px": x, "R_px": RADIUS})


def correlated(rng: np.random.Generator, count: int, rho: float) -> np.ndarray:
    out = rng.normal(size=count)
    for k in range(1, count):
        out[k] = rho * out[k - 1] + np.sqrt(1 - rho**2) * out[k]
    return out


def shares(make: Callable[[np.random.Generator], np.ndarray], repetitions: int) -> tuple[float, list[str]]:
    """Share of fits that are kept, and the reasons of the others."""
    necks = pd.concat([table(make(np.random.default_rng((4, k))), 1, k + 2) for k in range(repetitions)])
    reasons = pair_growth(necks)["why"].tolist()
    return sum(not why for why in reasons) / repetitions, [why for why in reasons if why]


def power_law(n: float, count: int, sd: float, rho: float) -> Callable[[np.random.Generator], np.ndarray]:
    part = ((np.arange(count) + 0.7) / (count - 0.3)) ** (1 / n)
    # edges are half a pixel off throughout, as the fit assumes
    return lambda rng: 20 * part + sd * correlated(rng, count, rho) + rng.normal(0, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "count", "sd", "rho"),
    [(2.0, 40, 0.4, 0.0), (2.0, 40, 1.0, 0.0), (5.0, 40, 0.4, 0.5), (7.0, 24, 0.4, 0.3), (3.0, 14, 0.5, 0.0)],
)
def test_noisy_power_laws_are_kept(n, count, sd, rho):
    kept, reasons = shares(power_law(n, count, sd, rho), 40)
    assert kept >= 0.95, reasons


def step(rng: np.random.Generator) -> np.ndarray:
    return np.where(np.arange(40) > rng.uniform(12, 28), 18.0, 10.0) + rng.normal(0, 0.3, 40)


def stairs(rng: np.random.Generator) -> np.ndarray:
    return 9 + 6.0 * (np.arange(40) > 13) + 6.0 * (np.arange(40) > 26) + rng.normal(0, 0.3, 40)


def plateau_then_growth(rng: np.random.Generator) -> np.ndarray:
    return 9 + 12 * np.clip((np.arange(40) - 20) / 20, 0, 1) ** 0.4 + rng.normal(0, 0.3, 40)


def growth_then_plateau(rng: np.random.Generator) -> np.ndarray:
    # shorter than what is cut off as the end of growth
    return 9 + 12 * np.clip(np.arange(40) / 26, 0, 1) + rng.normal(0, 0.3, 40)


def growth_with_a_dip(rng: np.random.Generator) -> np.ndarray:
    return 9 + np.interp(np.arange(40), [0, 18, 26, 39], [0, 10, 4, 13]) + rng.normal(0, 0.3, 40)


@pytest.mark.slow
@pytest.mark.parametrize("make", [step, stairs, plateau_then_growth, growth_then_plateau, growth_with_a_dip])
def test_what_is_no_power_law_is_refused(make):
    kept, reasons = shares(make, 20)
    assert kept <= 0.05, kept
    # a step early on is a neck that no longer grows, and is refused as such
    assert sum(why.startswith(MISFIT) for why in reasons) >= 8


def test_shrinking_is_refused():
    kept, reasons = shares(lambda rng: 20 - 0.3 * np.arange(40) + rng.normal(0, 0.3, 40), 3)
    assert kept == 0
    assert not any(why.startswith(MISFIT) for why in reasons)


THIRD_PARTICLE = np.array([18.3, 18.2, 18.9, 20.5, 22.7, 39.4])
"""A neck of a simulated film in which a third particle joins in the last frame; the curve went through no point."""


def joined() -> pd.DataFrame:
    return table(THIRD_PARTICLE, 6, 18).assign(R_px=37.7, R_a_px=50.0, R_b_px=50.0)


def test_a_curve_through_none_of_its_points_is_refused():
    row = pair_growth(joined()).iloc[0]
    assert row["why"].startswith(MISFIT)
    assert "straight line" in row["why"]
    assert np.isnan(row["n"]) and np.isnan(row["t0_s"])
    assert row["speed_px_per_s"] > 0, "the mean speed needs no law"
    assert np.isnan(growth_curve(row, np.arange(6.0))).all()


def test_plots_show_the_points_and_the_reason():
    good = table(20 * ((np.arange(30) + 1) / 30) ** 0.25).assign(R_a_px=RADIUS, R_b_px=RADIUS)
    necks = pd.concat([good, joined()])
    pairs = pair_growth(necks)
    fitted, refused = growth_figure(necks, pairs).axes
    assert "n = " in fitted.get_title()
    assert MISFIT in " ".join(refused.get_title().split())
    assert sum(len(line.get_xdata()) for line in refused.get_lines()) == 6
    only = growth_figure(necks, pairs, [(18, 6)]).axes
    assert len(only) == 1 and not only[0].collections, "no curve and no band"
    names = [trace.name for trace in growth_page(necks, pairs).data if trace.mode == "markers"]
    assert any(name.startswith("6 and 18: no fit") for name in names)


def test_runs():
    assert runs_probability(np.tile([1.0, -1.0], 20)) > 0.99
    assert runs_probability(np.repeat([1.0, -1.0], 20)) < 1e-9
    assert runs_probability(np.ones(6)) == pytest.approx(1 / 32)
    assert runs_probability(np.zeros(4)) == 1
    rng = np.random.default_rng(2)
    random = np.array([runs_probability(rng.normal(size=30)) for _ in range(400)])
    assert np.mean(random < 0.05) < 0.08
