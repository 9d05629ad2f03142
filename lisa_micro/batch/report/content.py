"""What the reports of a run show: its record, statistics, failures, methods, and pictures."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lisa_micro.batch.analysis import OutlyingImage, Tables, Topic
from lisa_micro.batch.picture import PICTURE_FILE, small_picture
from lisa_micro.io.cells import plain_table
from lisa_micro.io.labels import read_labels
from lisa_micro.io.reader import read_plain
from lisa_micro.language import FULL_VOCABULARY
from lisa_micro.measure.statistics.bootstrap import RESAMPLES
from lisa_micro.measure.statistics.comparison import PERMUTATIONS
from lisa_micro.types import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_PICTURES = 120
"""Images in the strip of the report, besides those that stand out."""
MOST_FAILURES = 200


@dataclass(frozen=True)
class Picture:
    """A small overlay.

    Attributes:
        name: of the image, with its page.
        group: of the image, or ``""``.
        text: what was found, for people. short: the same in a few words.
        file: overlay at full size, relative to the folder of the run; ``""`` if there is none.
        jpeg: the picture.
        flag: whether the image stands out.
    """

    name: str
    group: str
    text: str
    short: str
    file: str
    jpeg: bytes
    flag: bool


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that a report shows.

    Attributes:
        folder: of the run. record: content of ``run.json``.
        tables: of the run.
        topics: its statistics.
        failures: rows of ``failed.csv``, the first ones.
        pictures: in the order of the images.
        methods: paragraph for a publication.
    """

    folder: Path
    record: dict[str, Any]
    tables: Tables
    topics: Sequence[Topic]
    failures: list[dict[str, Any]]
    pictures: list[Picture]
    methods: str

    @property
    def title(self) -> str:
        """Title of the report."""
        sources = [Path(one).name or one for one in self.record["items"]]
        if len(sources) > 3:
            return f"{sources[0]} and {self.record['planned'] - 1} further images"
        return ", ".join(sources)

    @property
    def date(self) -> str:
        """Day on which the run was finished."""
        return time.strftime("%Y-%m-%d", time.localtime(self.record["finished"]))

    @property
    def outliers(self) -> list[OutlyingImage]:
        """Images that stand out, of all topics."""
        return [one for topic in self.topics for one in topic.outliers]

    @property
    def group_names(self) -> list[str]:
        """Names of the groups; empty without groups."""
        return sorted(self.tables.images["group"].unique()) if self.tables.grouped else []


def heading(topic: Topic, topics: Sequence[Topic]) -> str:
    """Heading of a topic; it names the request where several found the same concept."""
    same = sum(one.concept == topic.concept for one in topics) > 1
    name = topic.concept.capitalize() + ("" if topic.quantity == "diameter" else f", {topic.quantity}")
    return f"{name}: “{topic.title}”" if same else name


def gather(folder: Path, tables: Tables, topics: Sequence[Topic]) -> Content:
    """Collect what the reports show; pictures are drawn from the labels of the run.

    Raises:
        InputError: the record of the run cannot be read.
    """
    import pandas as pd

    record = json.loads((folder / "run.json").read_bytes())
    failed = plain_table(pd.read_csv(folder / "failed.csv", keep_default_na=False, nrows=MOST_FAILURES))
    flagged = {(one.image, one.page) for topic in topics for one in topic.outliers}
    pictures = _pictures(folder, tables.images, flagged)
    return Content(
        folder, record, tables, topics, failed.to_dict("records"), pictures, methods_text(record, tables, topics)
    )


def _pictures(folder: Path, images: pd.DataFrame, flagged: set[tuple[str, int]]) -> list[Picture]:
    numbers = images.groupby(["image", "page"], sort=False).ngroup()
    step = max(1, -(-(int(numbers.max()) + 1 if len(numbers) else 0) // MOST_PICTURES))
    stands_out = [key in flagged for key in zip(images["image"], images["page"], strict=True)]
    chosen = images[(numbers % step == 0) | np.array(stands_out, bool)]
    return [_picture(folder, rows, key in flagged) for key, rows in chosen.groupby(["image", "page"], sort=False)]


def _picture(folder: Path, rows: pd.DataFrame, flag: bool) -> Picture:
    first = rows.iloc[0]
    place = folder / first["folder"]
    found = [counted(row["count"], row["concept"]) for _, row in rows.iterrows() if isinstance(row["concept"], str)]
    short = ", ".join(found) or "nothing found"
    details = []
    for _, row in rows.iterrows():
        unit = "px" if row["pixel_size_nm"] != row["pixel_size_nm"] else "nm"
        for name in ("diameter", "neck_width"):
            value = row.get(f"median_{name}_{unit}", float("nan"))
            if value == value:
                details.append(f"median {name.replace('_', ' ')} {value:.4g} {unit}")
    overlay = next((one.name for one in sorted(place.glob("overlay_*.jpg"))), "")
    name = first["image"] + (f" page {first['page']}" if first["page"] else "")
    return Picture(
        name,
        first["group"] if "group" in rows else "",
        "; ".join([short, *details]),
        short,
        f"{first['folder']}/{overlay}" if overlay else "",
        _draw(place, json.loads((place / "item.json").read_bytes())),
        flag,
    )


def counted(count: int, concept: str) -> str:
    """Number and noun, such as ``4 particles``."""
    nouns = FULL_VOCABULARY.nouns(concept) if concept in FULL_VOCABULARY.names else (concept, concept)
    return f"{count} {nouns[0] if count == 1 else nouns[1]}"


def _draw(place: Path, record: dict[str, Any]) -> bytes:
    """A small overlay of the first request as JPEG; grey behind the labels if the image is gone."""
    if (place / PICTURE_FILE).is_file():  # the image is too large to be read again
        return (place / PICTURE_FILE).read_bytes()
    labels = [read_labels(path, kind="instances").pixels for path in sorted(place.glob("labels_1_*.tif"))]
    shape = (record["height_px"], record["width_px"])
    try:
        pixels = read_plain(record["path"], page=record["page"]).pixels
    except InputError:
        pixels = np.zeros(shape, np.float32)
    if pixels.shape != shape:  # another file of the same name
        pixels = np.zeros(shape, np.float32)
    return small_picture(pixels, labels, record["pixel_size_nm"])


def methods_text(record: dict[str, Any], tables: Tables, topics: Sequence[Topic]) -> str:
    """A paragraph for the methods section of a publication: programs, versions, definitions."""
    images = record["images"]
    requests = " and ".join(f"“{text}”" for text in tables.titles)
    parts = [
        f"Micrographs were segmented with LISA-micro {record['version']} (preset {record['preset']}, weights "
        f"{record['weights_sha256'][:12]}; Python {platform.python_version()}, PyTorch {_version('torch')}, NumPy "
        f"{_version('numpy')}, SciPy {_version('scipy')}), asked {requests}.",
        f"Of {images['done'] + images['failed']} images {images['done']} could be used; they hold "
        f"{images['instances']} instances.",
    ]
    if any(topic.quantity == "diameter" for topic in topics):
        parts.append("Sizes are diameters of the circle of equal area.")
    if any(topic.quantity != "diameter" for topic in topics):
        parts.append("The width of a neck is the length of the chord between the ends of the contact.")
    if topics:
        parts.append(
            "Particles that touch the frame were left out, and each of the others was weighted by the inverse of the "
            "probability that it lies wholly inside the frame (Miles-Lantuéjoul; ISO 13322-1). Percentiles and means "
            f"have 95 % intervals from a bootstrap over images ({RESAMPLES} resamples, expanded percentile interval; "
            "Hesterberg 2015). Lognormal and Weibull distributions were fitted by maximum likelihood."
        )
    if any(topic.comparisons for topic in topics):
        parts.append(
            "Groups were compared, with the image as the unit, by the Kolmogorov-Smirnov distance (permutation of "
            f"images, {PERMUTATIONS} permutations) and by the Mann-Whitney test of the medians of images, both "
            "adjusted by the method of Holm; effect sizes are the ratio of D50 and Cliff’s delta."
        )
    return " ".join(parts)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
