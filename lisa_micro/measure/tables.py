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
    "thickness": ("thickness", 1),
    "thickness_min": ("thickness_min", 1),
    "thickness_max": ("thickness_max", 1),
    "opening": ("opening", 1),
    "opening_max": ("opening_max", 1),
    "feret_max": ("feret_max", 1),
    "feret_min": ("feret_min", 1),
}
_ALONG_AXIS: dict[str, tuple[str, int | None]] = {"length": ("length", 1), "width": ("width", 1)}
"""Columns of lengths and widths along an axis; the caliper diameters are properties of their own then."""
_SUMMARISED = ("diameter", "area", "length", "width", "perimeter", "circularity", "aspect_ratio")


def column(name: str, unit: str = "px") -> str:
    """Column of :func:`measure_particles` that holds a property.

    Parameters
    ----------
    name
        A key of :func:`lisa_micro.measure.particles.particle_properties`.
    unit
        ``"px"`` or ``"nm"``; ignored for dimensionless properties.

    Raises
    ------
    InputError
        Unknown property or unit.

    Examples
    --------
    >>> column("area", "nm"), column("length"), column("circularity", "nm")
    ('area_nm2', 'feret_max_px', 'circularity')
    """
    if name not in _COLUMNS:
        raise InputError(f"Unknown property {name!r}; choose one of {', '.join(_COLUMNS)}.")
    if unit not in ("px", "nm"):
        raise InputError(f"Unknown unit {unit!r}; choose px or nm.")
    base, power = _COLUMNS[name]
    return _column(base, power, unit)


def _column(base: str, power: int | None, unit: str) -> str:
    return base if power is None else f"{base}_{unit}{'2' if power == 2 else ''}"


def measure_particles(
    labels: np.ndarray, pixel_size_nm: float | None = None, pixels: MicrographLike | None = None
) -> pd.DataFrame:
    """Measure every instance; :mod:`lisa_micro.measure.particles` has the definitions.

    Parameters
    ----------
    labels
        ``(H, W)`` integers, 0 = background.
    pixel_size_nm
        Edge length of a pixel in nm; without it there are no nm columns.
    pixels
        ``(H, W)`` intensities, or any other micrograph.

    Returns
    -------
    pandas.DataFrame
        One row per instance, in order of the labels. Columns: ``label``, ``centroid_x_px``, ``centroid_y_px``,
        ``box_x0_px`` ... ``box_y1_px``, ``area_px2``, ``diameter_px``, ``feret_max_px``, ``feret_min_px``,
        ``perimeter_px``, ``circularity``, ``aspect_ratio``, ``mean_intensity``, ``touches_border``, ``contacts``
        (neighbours at most 2 px away), ``agglomerate``, ``gap_px``, ``neck_width_px``, ``neck_ratio``; with a pixel
        size followed by the same in nm (``area_nm2``, ``diameter_nm`` ...).

    Raises
    ------
    InputError
        Unusable labels, a pixel size that is not positive, or pixels of another shape.

    Examples
    --------
    >>> labels = np.zeros((12, 12), int)
    >>> labels[2:6, 2:6], labels[8:10, 8:10] = 1, 2
    >>> measure_particles(labels, pixel_size_nm=0.5)[["label", "area_px2", "area_nm2", "contacts"]].to_dict("list")
    {'label': [1, 2], 'area_px2': [16.0, 4.0], 'area_nm2': [4.0, 1.0], 'contacts': [0, 0]}
    """
    return particle_table(particle_properties(labels, pixels), pixel_size_nm)


def particle_table(properties: Mapping[str, np.ndarray], pixel_size_nm: float | None = None) -> pd.DataFrame:
    """The table of :func:`measure_particles` from properties that are measured already.

    Parameters
    ----------
    properties
        From :func:`lisa_micro.measure.particles.particle_properties`, or from
        :func:`lisa_micro.measure.structures.concept_properties`: lengths and widths along an axis are in the columns
        ``length`` and ``width`` of the table, beside the caliper diameters.
    pixel_size_nm
        Edge length of a pixel in nm.
    """
    import pandas as pd

    scale = check_pixel_size(pixel_size_nm)
    names: dict[str, tuple[str, int | None]] = {**_COLUMNS}
    if "feret_max" in properties:
        names |= _ALONG_AXIS
    table = {}
    for name, values in properties.items():
        base, power = names[name]
        table[_column(base, power, "px")] = values
    if scale is not None:
        for name, values in properties.items():
            base, power = names[name]
            if power is not None:
                table[_column(base, power, "nm")] = values * scale**power
    return pd.DataFrame(table)


def summarise(
    labels: np.ndarray, pixel_size_nm: float | None = None, pixels: MicrographLike | None = None
) -> dict[str, float]:
    """Summarise the instances of an image in a few numbers.

    Parameters
    ----------
    labels, pixel_size_nm, pixels
        As for :func:`measure_particles`.

    Returns
    -------
    dict of str to float
        ``count``; ``area_fraction`` (labelled part of the image, 0..1); ``number_density_per_um2`` with a pixel size,
        otherwise ``number_density_per_Mpx`` (per million pixels). For diameter, area, Feret diameters, perimeter,
        circularity and aspect ratio (in nm if known, otherwise px; the unit is in the key): ``mean_``, ``median_``,
        ``std_`` (n - 1; NaN for one particle), ``D10_``, ``D50_``, ``D90_`` (percentiles by number, linear
        interpolation). NaN without particles. Particles cut by the border are included.

    Raises
    ------
    InputError
        As :func:`measure_particles`, or an image without pixels.

    Examples
    --------
    >>> labels = np.zeros((10, 10), int)
    >>> labels[2:6, 2:6] = 1
    >>> numbers = summarise(labels, pixel_size_nm=2.0)
    >>> numbers["count"], numbers["area_fraction"], numbers["mean_area_nm2"]
    (1.0, 0.16, 64.0)
    """
    scale = check_pixel_size(pixel_size_nm)
    size = check_labels(labels).size
    if size == 0:
        raise InputError("The label image has no pixels.")
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
    """Statistics of ``(n,)`` values.

    Returns
    -------
    dict of str to float
        ``mean``, ``median``, ``std`` (n - 1; NaN for one value), ``D10``, ``D50``, ``D90`` (percentiles); all NaN
        without values.

    Examples
    --------
    >>> statistics(np.array([1.0, 2.0, 3.0]))["D90"]
    2.8
    """
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

    It is drawn without matplotlib's global state, so it may be called from several threads.

    Parameters
    ----------
    values
        One per instance; values that are not finite are ignored.
    label
        Name of the property.
    unit
        Shown in brackets; ``""`` for none.
    out
        Picture to write (``.png``, ``.svg``, ``.pdf``).
    bins
        Number of bins; by default from the rule of Freedman and Diaconis, 5 to 60.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        Fewer than one bin.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if bins is not None and bins < 1:
        raise InputError(f"A histogram needs at least one bin, not {bins}.")
    array = np.asarray(values, float).ravel()
    array = array[np.isfinite(array)]
    figure = Figure(figsize=(6.0, 4.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(f"{label} ({unit})" if unit else label)
    axes.set_ylabel("number")
    axes.spines[["top", "right"]].set_visible(False)
    if len(array) == 0:
        axes.text(0.5, 0.5, "nothing to measure", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.hist(array, bins=bins or _bin_number(array), color="#3b75af", edgecolor="white", linewidth=0.6)
        numbers = statistics(array)
        axes.axvline(numbers["mean"], color="#c0392b", label=f"mean {numbers['mean']:.4g}")
        axes.axvline(numbers["median"], color="#333333", linestyle="--", label=f"median {numbers['median']:.4g}")
        axes.set_title(f"n = {len(array)}, standard deviation {numbers['std']:.3g}", fontsize=10)
        axes.legend(frameon=False)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins="auto", steps=[1, 2, 2.5, 5, 10]))
    if out is not None:
        figure.savefig(out)
    return figure


def _bin_number(values: np.ndarray) -> int:
    q25, q75 = np.percentile(values, [25, 75])
    width = 2 * (q75 - q25) / len(values) ** (1 / 3)
    number = np.ptp(values) / width if width > 0 else np.sqrt(len(values))
    return int(np.clip(np.ceil(number), 5, 60))
