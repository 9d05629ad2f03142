"""Tables, summaries and histograms of measured particles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.io import MicrographLike
from lisa_micro.io.units import check_pixel_size
from lisa_micro.measure.contacts import check_labels
from lisa_micro.measure.particles import particle_properties
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# property of particle_properties -> (column without unit, power of the pixel size in it)
_COLUMNS: dict[str, tuple[str, int | None]] = {
    "label": ("label", None),
    "x": ("centroid_x", 1),
    "y": ("centroid_y", 1),
    "x0": ("box_x0_px", None),
    "y0": ("box_y0_px", None),
    "x1": ("box_x1_px", None),
    "y1": ("box_y1_px", None),
    "area": ("area", 2),
    "diameter": ("diameter", 1),
    "length": ("feret_max", 1),
    "width": ("feret_min", 1),
    "perimeter": ("perimeter", 1),
    "circularity": ("circularity", None),
    "aspect_ratio": ("aspect_ratio", None),
    "intensity": ("mean_intensity", None),
    "touches_border": ("touches_border", None),
    "contacts": ("contacts", None),
    "agglomerate": ("agglomerate", None),
    "gap": ("gap", 1),
    "neck_width": ("neck_width", 1),
    "neck_ratio": ("neck_ratio", None),
}
_SUMMARISED = ("diameter", "area", "length", "width", "perimeter", "circularity", "aspect_ratio")


def column(name: str, unit: str = "px") -> str:
    """Column of :func:`measure_particles` that holds a property.

    Args:
        name: a key of :func:`lisa_micro.measure.particles.particle_properties`.
        unit: ``"px"`` or ``"nm"``; without effect on properties that have no unit.

    Raises:
        InputError: no such property or unit.
    """
    if name not in _COLUMNS:
        raise InputError(f"no property called {name!r}; there are {', '.join(_COLUMNS)}")
    if unit not in ("px", "nm"):
        raise InputError(f"no unit called {unit!r}; choose px or nm")
    base, power = _COLUMNS[name]
    return base if power is None else f"{base}_{unit}{'2' if power == 2 else ''}"


def measure_particles(
    labels: np.ndarray, pixel_size_nm: float | None = None, pixels: MicrographLike | None = None
) -> pd.DataFrame:
    """Measure every instance; definitions in :mod:`lisa_micro.measure.particles`.

    Args:
        labels: ``(H, W)`` integers, 0 = background.
        pixel_size_nm: edge of a pixel in nm; without it there are no nm columns.
        pixels: ``(H, W)`` intensities.

    Returns:
        one row an instance, in label order. Columns: ``label``, ``centroid_x_px``, ``centroid_y_px``,
        ``box_x0_px`` ... ``box_y1_px``, ``area_px2``, ``diameter_px``, ``feret_max_px``, ``feret_min_px``,
        ``perimeter_px``, ``circularity``, ``aspect_ratio``, ``mean_intensity``, ``touches_border``,
        ``contacts`` (neighbours at most 2 px away), ``agglomerate``, ``gap_px``, ``neck_width_px``,
        ``neck_ratio``; with a pixel size the same in nm behind them (``area_nm2``, ``diameter_nm`` ...).

    Raises:
        InputError: unusable labels, a pixel size that is not positive, or pixels of another shape.
    """
    return particle_table(particle_properties(labels, pixels), pixel_size_nm)


def particle_table(properties: Mapping[str, np.ndarray], pixel_size_nm: float | None = None) -> pd.DataFrame:
    """The table of :func:`measure_particles` from properties that are measured already."""
    import pandas as pd

    scale = check_pixel_size(pixel_size_nm)
    table = {column(name): values for name, values in properties.items()}
    if scale is not None:
        table |= {
            column(name, "nm"): values * scale ** _COLUMNS[name][1]
            for name, values in properties.items()
            if _COLUMNS[name][1] is not None
        }
    return pd.DataFrame(table)


def summarise(
    labels: np.ndarray, pixel_size_nm: float | None = None, pixels: MicrographLike | None = None
) -> dict[str, float]:
    """Numbers for the whole image.

    Args:
        labels, pixel_size_nm, pixels: as for :func:`measure_particles`.

    Returns:
        ``count``; ``area_fraction`` (labelled part of the image, 0..1); ``number_density_per_um2`` with a
        pixel size, else ``number_density_per_Mpx`` (per million pixels); and for diameter, area, Feret
        diameters, perimeter, circularity and aspect ratio (in nm where known, else px, the unit in the
        key): ``mean_``, ``median_``, ``std_`` (n - 1; NaN for one particle), ``D10_``, ``D50_``, ``D90_``
        (percentiles by number, linear interpolation). NaN where there is no particle. Particles cut by the
        border are counted.

    Raises:
        InputError: as :func:`measure_particles`, or an image without pixels.
    """
    scale = check_pixel_size(pixel_size_nm)
    size = check_labels(labels).size
    if size == 0:
        raise InputError("the label image has no pixels")
    properties = particle_properties(labels, pixels)
    count = len(properties["label"])
    result = {"count": float(count), "area_fraction": float(properties["area"].sum()) / size}
    if scale is None:
        result["number_density_per_Mpx"] = count / size * 1e6
    else:
        result["number_density_per_um2"] = count / (size * scale**2) * 1e6
    for name in _SUMMARISED:
        power = _COLUMNS[name][1]
        values = properties[name] * (scale**power if scale is not None and power else 1.0)
        key = column(name, "px" if scale is None else "nm")
        result |= {f"{statistic}_{key}": value for statistic, value in statistics(values).items()}
    return result


def statistics(values: np.ndarray) -> dict[str, float]:
    """``mean, median, std`` (n - 1; NaN for one value), ``D10, D50, D90`` (percentiles) of ``(n,)`` values; NaN of
    none."""
    if len(values) == 0:
        return dict.fromkeys(("mean", "median", "std", "D10", "D50", "D90"), float("nan"))
    d10, d50, d90 = (float(v) for v in np.percentile(values, [10, 50, 90]))
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "std": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        "D10": d10,
        "D50": d50,
        "D90": d90,
    }


def histogram(
    values: Sequence[float] | np.ndarray,
    label: str = "diameter",
    unit: str = "px",
    out: str | os.PathLike[str] | None = None,
    bins: int | None = None,
) -> Figure:
    """Histogram of a property with mean, median and standard deviation.

    Drawn without matplotlib's global state, so that threads do not disturb each other.

    Args:
        values: one an instance; those that are not finite are left out.
        label: what it is.
        unit: shown in brackets, ``""`` for none.
        out: picture to write (``.png``, ``.svg``, ``.pdf``).
        bins: number; None: rule of Freedman and Diaconis, 5 to 60.

    Returns:
        the figure.

    Raises:
        InputError: fewer than one bin.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if bins is not None and bins < 1:
        raise InputError(f"a histogram needs at least one bin, not {bins}")
    values = np.asarray(values, float).ravel()
    values = values[np.isfinite(values)]
    figure = Figure(figsize=(6.0, 4.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(f"{label} ({unit})" if unit else label)
    axes.set_ylabel("number")
    axes.spines[["top", "right"]].set_visible(False)
    if len(values) == 0:
        axes.text(0.5, 0.5, "nothing to measure", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.hist(values, bins=bins or _bin_number(values), color="#3b75af", edgecolor="white", linewidth=0.6)
        numbers = statistics(values)
        axes.axvline(numbers["mean"], color="#c0392b", label=f"mean {numbers['mean']:.4g}")
        axes.axvline(numbers["median"], color="#333333", linestyle="--", label=f"median {numbers['median']:.4g}")
        axes.set_title(f"n = {len(values)}, standard deviation {numbers['std']:.3g}", fontsize=10)
        axes.legend(frameon=False)
        axes.yaxis.get_major_locator().set_params(integer=True)
    if out is not None:
        figure.savefig(out)
    return figure


def _bin_number(values: np.ndarray) -> int:
    q25, q75 = np.percentile(values, [25, 75])
    width = 2 * (q75 - q25) / len(values) ** (1 / 3)
    number = np.ptp(values) / width if width > 0 else np.sqrt(len(values))
    return int(np.clip(np.ceil(number), 5, 60))
