"""Statistics of a finished run: from its tables to samples of sizes, group by group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.io.cells import plain_table
from lisa_micro.measure.statistics import (
    GroupComparison,
    Sample,
    SizeStatistics,
    compare_groups,
    edge_weights,
    images_needed,
    outlying,
    particles_needed,
    size_statistics,
)
from lisa_micro.results.summary import REGIONS
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd

_WANTED = (
    *("image", "page", "request", "concept", "touches_border"),
    *(f"{name}_{unit}" for name in ("diameter", "neck_width") for unit in ("nm", "px")),
    *(f"box_{side}_px" for side in ("x0", "y0", "x1", "y1")),
)
_UNUSED = ("phrase", "where", "reply", "notes", "modality", "declined", "score", "presence")  # long, and not needed
ALL = "all images"
"""Name of the only group where there are none."""
MOST_COMPARED = 12
"""Groups above which pairs are not compared."""
LEAST_SPREAD = 0.05
"""Relative scatter of images that is always expected; smaller differences do not make an image stand out."""
MUCH_OF_ALL = 0.05
"""Share of the corrected number that a single particle may stand for without a note."""
MUCH_CUT = 0.2
"""Share of particles cut by the frame above which the edge correction is told to be uncertain."""


@dataclass(frozen=True, eq=False)
class GroupSizes:
    """Sizes of one concept in one group of images.

    Attributes:
        name: of the group.
        sample: the particles, with edge correction; those that the frame cuts have no weight.
        statistics: of the sample; ``None`` without particles.
        found: number of particles, those cut by the frame included.
        cut: number of those that the frame cuts.
        plain_mean: mean size of all particles found, without edge correction.
        number_density: particles per µm² (per million px without pixel sizes), with edge correction.
        enough_particles: number of independent particles for a D50 within 5 %.
        enough_images: number of images for a D50 within 5 %; ``None`` where it cannot be told.
    """

    name: str
    sample: Sample
    statistics: SizeStatistics | None
    found: int
    cut: int
    plain_mean: float
    number_density: float
    enough_particles: int | None
    enough_images: int | None


@dataclass(frozen=True)
class OutlyingImage:
    """An image that stands out from its group.

    Attributes:
        image, page, group: which one.
        measure: what stands out, with its unit.
        value: of this image.
        typical: median over the images of the group.
    """

    image: str
    page: int
    group: str
    measure: str
    value: float
    typical: float


@dataclass(frozen=True, eq=False)
class Topic:
    """What was found of one concept by one request.

    Attributes:
        request: number of the request, from 1. title: its words.
        concept: what was segmented.
        quantity: the size that is evaluated, such as ``"diameter"``.
        unit: ``"nm"`` or ``"px"``.
        groups: in alphabetical order.
        comparisons: of each pair of groups.
        outliers: images that stand out.
        notes: what a user should know, one sentence each.
    """

    request: int
    title: str
    concept: str
    quantity: str
    unit: str
    groups: tuple[GroupSizes, ...]
    comparisons: tuple[GroupComparison, ...] = ()
    outliers: tuple[OutlyingImage, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def label(self) -> str:
        """Quantity and unit for axes."""
        return f"{self.quantity} ({self.unit})"


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a run that statistics need.

    Attributes:
        images: one row for each image, request and segment.
        instances: one row for each instance, the columns that are needed.
        grouped: whether the images are in groups.
        titles: words of the requests.
    """

    images: pd.DataFrame
    instances: pd.DataFrame
    grouped: bool
    titles: tuple[str, ...]


def read_tables(folder: Path) -> Tables:
    """Read the tables of a run.

    Raises:
        InputError: the folder holds no finished run.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
        images = plain_table(
            pd.read_csv(
                folder / "images.csv",
                keep_default_na=False,
                na_values=[""],
                dtype={"image": str, "group": str, "concept": str},
                usecols=lambda name: name not in _UNUSED,
            )
        )
        file = pq.ParquetFile(folder / "instances.parquet", read_dictionary=["image", "concept"])
        instances = file.read(columns=[name for name in _WANTED if name in file.schema_arrow.names]).to_pandas()
        requests = record.get("requests", [])
        titles = tuple(str(one.get("title") or one.get("words") or f"request {k}") for k, one in enumerate(requests, 1))
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise InputError(f"{folder} holds no finished run; run `lisa-micro batch` first.") from error
    if "group" in images:
        images["group"] = images["group"].fillna("(none)")
    return Tables(images, instances, "group" in images, titles)


def analyse(folder: Path, seed: int = 0) -> list[Topic]:
    """Statistics of all requests and concepts of a run.

    Raises:
        InputError: the folder holds no finished run.
    """
    tables = read_tables(folder)
    return list(_topics(tables, seed))


def _topics(tables: Tables, seed: int) -> Iterator[Topic]:
    images = tables.images
    if images.empty:
        return
    for request in sorted(images["request"].unique()):
        rows = images[images["request"] == request]
        for concept in sorted(set(rows["concept"].dropna()) - set(REGIONS)):
            found = tables.instances[
                (tables.instances["request"] == request) & (tables.instances["concept"] == concept)
            ]
            title = tables.titles[request - 1] if request <= len(tables.titles) else f"request {request}"
            yield _topic(_Rows(int(request), title, concept, rows, found), tables.grouped, seed)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of both tables that belong to one request and concept."""

    request: int
    title: str
    concept: str
    images: pd.DataFrame
    instances: pd.DataFrame


def _topic(rows: _Rows, grouped: bool, seed: int) -> Topic:
    quantity = "neck_width" if rows.concept == "neck" and "neck_width_px" in rows.instances else "diameter"
    every = rows.images.drop_duplicates(["image", "page"]).reset_index(drop=True)
    scaled = every["pixel_size_nm"].notna()
    unit, notes = ("nm" if scaled.any() else "px"), []
    if unit == "nm" and not scaled.all():
        notes.append(f"{int((~scaled).sum())} images without a pixel size are left out of the sizes in nm.")
    if unit == "nm":
        every = every[scaled].reset_index(drop=True)
    instances = _sized(rows.instances, every, f"{quantity}_{unit}")
    names = sorted(every["group"].unique()) if grouped else [ALL]
    groups = []
    for k, name in enumerate(names):
        chosen = (every["group"] == name).to_numpy() if grouped else np.ones(len(every), bool)
        members = instances[chosen[instances["number"].to_numpy()]]
        groups.append(_group(name, every[chosen], members, unit, seed + k))
    samples = {one.name: one.sample for one in groups if one.statistics is not None}
    comparisons: list[GroupComparison] = []
    if 1 < len(samples) <= MOST_COMPARED:
        statistics = {one.name: one.statistics for one in groups if one.statistics is not None}
        comparisons = compare_groups(samples, statistics, seed)
    elif len(samples) > MOST_COMPARED:
        notes.append(f"{len(samples)} groups are too many to compare in pairs; at most {MOST_COMPARED} are compared.")
    notes += [text for one in groups for text in _group_notes(one, rows.concept, unit)]
    return Topic(
        rows.request,
        rows.title,
        rows.concept,
        quantity.replace("_", " "),
        unit,
        tuple(groups),
        tuple(comparisons),
        tuple(_outliers(rows, every, names, grouped, groups, f"{quantity.replace('_', ' ')} ({unit})")),
        tuple(notes),
    )


def _sized(instances: pd.DataFrame, every: pd.DataFrame, column: str) -> pd.DataFrame:
    """Instances of the images in ``every`` that have a size, with the row of their image as ``number``."""
    import pandas as pd

    # numbers instead of names, which would take gigabytes for millions of rows
    names = pd.Index(every["image"].unique())
    of_category = names.get_indexer(instances["image"].cat.categories)
    pages = int(max(every["page"].max(), instances["page"].max() if len(instances) else 0)) + 1 if len(every) else 1
    known = names.get_indexer(every["image"]) * pages + every["page"].to_numpy()
    order = np.argsort(known)
    wanted = of_category[instances["image"].cat.codes] * pages + instances["page"].to_numpy()
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), max(len(known) - 1, 0))
    number = order[place] if len(order) else np.zeros(len(wanted), int)
    sized = instances.assign(number=number, size=instances.get(column, np.nan))
    return sized[(known[number] == wanted) & (sized["size"] > 0)] if len(order) else sized.iloc[:0]


def _group(name: str, every: pd.DataFrame, instances: pd.DataFrame, unit: str, seed: int) -> GroupSizes:
    numbers = every.index.to_numpy()
    local = np.searchsorted(numbers, instances["number"].to_numpy())
    frames = every[["width_px", "height_px"]].to_numpy(float)
    weights, cut = np.ones(len(instances)), np.zeros(len(instances), bool)
    if "touches_border" in instances:
        cut = instances["touches_border"].fillna(False).to_numpy(bool)
        sides = [
            instances[f"box_{end}_px"].to_numpy(float) - instances[f"box_{start}_px"].to_numpy(float)
            for start, end in (("x0", "x1"), ("y0", "y1"))
        ]
        weights = edge_weights(sides[0], sides[1], cut, frames[local, 0], frames[local, 1])
    sizes = instances["size"].to_numpy(float)
    sample = Sample(sizes, local, len(every), weights)
    statistics = size_statistics(sample, seed) if len(sample) else None
    area = frames[:, 0] * frames[:, 1]
    total = float((area * every["pixel_size_nm"].to_numpy(float) ** 2).sum() if unit == "nm" else area.sum()) / 1e6
    gsd = float("nan") if statistics is None else statistics.lognormal.spread
    d50 = None if statistics is None else statistics.percentiles["number"][50]
    return GroupSizes(
        name,
        sample,
        statistics,
        found=len(sizes),
        cut=int(cut.sum()),
        plain_mean=float(sizes.mean()) if len(sizes) else float("nan"),
        number_density=float(weights.sum() / total) if total > 0 else float("nan"),
        enough_particles=particles_needed(gsd) if gsd >= 1 else None,
        enough_images=None if d50 is None else images_needed(d50, len(every)),
    )


def _group_notes(group: GroupSizes, concept: str, unit: str) -> Iterator[str]:
    if group.statistics is None:
        yield f"Group {group.name}: no whole {concept} was found, so it has no size statistics."
        return
    if group.found and group.cut / group.found > MUCH_CUT:
        yield (
            f"Group {group.name}: the frame cuts {group.cut / group.found:.0%} of the {concept} instances; sizes near "
            "or above that of the frame are missing, which no correction can make up for."
        )
    mean = group.statistics.means["number"].value
    if group.cut and abs(group.plain_mean / mean - 1) > 0.01:
        yield (
            f"Group {group.name}: without edge correction the mean would be {group.plain_mean:.4g} {unit} instead of "
            f"{mean:.4g} {unit}."
        )
    heaviest = group.sample.weighted("number")
    if heaviest.max() > MUCH_OF_ALL * heaviest.sum() and len(heaviest) > 1 / MUCH_OF_ALL:
        yield (
            f"Group {group.name}: a single large {concept} stands for {heaviest.max() / heaviest.sum():.0%} of the "
            "corrected number, because few as large fit into the frame; take images at lower magnification."
        )
    if group.statistics.images == 1:
        yield f"Group {group.name} has a single image; intervals need at least two."
    if group.enough_images is not None and group.enough_images > group.statistics.images:
        yield (
            f"Group {group.name}: about {group.enough_images} images like these would give a D50 within 5 %; "
            f"there are {group.statistics.images}."
        )


def _outliers(
    rows: _Rows, every: pd.DataFrame, names: list[str], grouped: bool, groups: list[GroupSizes], label: str
) -> Iterator[OutlyingImage]:
    of_concept = rows.images[rows.images["concept"] == rows.concept].groupby(["image", "page"])
    sums = of_concept[["count", "area_fraction"]].sum()
    index = list(zip(every["image"], every["page"], strict=True))
    sums = sums.reindex(index).fillna(0.0).reset_index(drop=True)
    area = (every["width_px"] * every["height_px"]).to_numpy(float)
    density = sums["count"].to_numpy() / area * 1e6
    typical_counts = density * (np.median(area) if len(area) else 0.0) / 1e6
    for name, group in zip(names, groups, strict=True):
        chosen = (every["group"] == name).to_numpy() if grouped else np.ones(len(every), bool)
        members = every[chosen]
        medians, fractions = group.sample.image_medians(), sums["area_fraction"].to_numpy()[chosen]
        # a logarithm of sizes; of numbers a scale on which the scatter of chance is 1 (Anscombe 1948)
        measures = {
            f"median {label}": (medians, np.log(medians), LEAST_SPREAD),
            "number per million px": (density[chosen], 2 * np.sqrt(typical_counts[chosen] + 0.375), 1.0),
            "area fraction": (fractions, fractions, LEAST_SPREAD * float(np.median(fractions))),
        }
        for measure, (values, scaled, least) in measures.items():
            stands_out = outlying(scaled, least)
            for k in np.flatnonzero(stands_out):
                row = members.iloc[k]
                yield OutlyingImage(
                    str(row["image"]), int(row["page"]), name, measure, float(values[k]), float(np.nanmedian(values))
                )
