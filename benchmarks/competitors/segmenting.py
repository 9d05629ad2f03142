"""The steps that segment micrographs: choose a setting on training images, then segment the images that are scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from competitors import imagej, scikit
from competitors.found import Found
from competitors.pictures import Picture
from competitors.processes import Clock
from lisa_micro.metrics import pooled_counts

WORDS = "segment all particles"
Segment = Callable[[Sequence[tuple[Picture, Any]], Path], Iterator[Found]]
"""Pictures with their settings, and a folder for files on the way -> what is found in each, in order."""


@dataclass(frozen=True)
class Method:
    """A way of segmenting.

    Attributes:
        title: as shown in tables.
        segment: does it.
        setting: class of its settings; ``None``: it has none.
        grid: settings to choose from.
    """

    title: str
    segment: Segment
    setting: Callable[..., Any] | None = None
    grid: tuple[Any, ...] = ()


def segment_micro(jobs: Sequence[tuple[Picture, None]], work: Path) -> Iterator[Found]:
    """Ask LISA-micro for all particles: one request about a new micrograph, measurements included."""
    import lisa_micro as lm

    assistant = lm.load_assistant("micro", device="cpu")
    assistant.open_conversation(lm.Micrograph(jobs[0][0].pixels())).ask(WORDS)  # the first answer loads code
    for picture, _ in jobs:
        image = lm.Micrograph(picture.pixels())
        clock = Clock()
        answer = assistant.open_conversation(image).ask(WORDS)
        seconds = clock.read()
        labels, diameters = np.zeros(image.shape, np.int32), list[float]()
        if answer.segments:
            labels, table = answer.segments[0].labels, answer.segments[0].table()
            diameters = table["diameter_px"].tolist() if len(table) else []
        yield Found(picture.name, labels, diameters, *seconds)


METHODS = {
    "micro": Method('LISA-micro, "segment all particles"', segment_micro),
    "threshold": Method("scikit-image, threshold", scikit.segment, scikit.ScikitSetting, tuple(scikit.THRESHOLD_GRID)),
    "watershed": Method("scikit-image, watershed", scikit.segment, scikit.ScikitSetting, tuple(scikit.WATERSHED_GRID)),
    "imagej": Method("ImageJ, Analyze Particles", imagej.segment, imagej.ImageJSetting, tuple(imagej.GRID)),
}


def choose(method: str, pictures: list[dict], work: str) -> dict[str, Any]:
    """Choose the setting with the most true positives among all instances, TP / (TP + FP + FN), on training images.

    Args:
        method: a key of :data:`METHODS` that has a grid.
        pictures: fields of the training :class:`Picture`.
        work: folder for files on the way.

    Returns:
        ``setting``: its fields; ``ap``: its score; ``tried``: number of settings; the first of equal ones is taken.
    """
    entry, chosen = METHODS[method], [Picture(**one) for one in pictures]
    truths = [picture.labels() for picture in chosen]
    found = entry.segment([(picture, setting) for setting in entry.grid for picture in chosen], Path(work) / method)
    scores = []
    for _ in entry.grid:
        pairs = zip((one.labels for one in islice(found, len(chosen))), truths, strict=True)
        scores.append(pooled_counts(pairs).ap)
    shutil.rmtree(Path(work) / method, ignore_errors=True)
    best = int(np.argmax(scores))
    return {"setting": asdict(entry.grid[best]), "ap": scores[best], "tried": len(scores)}


def segment(method: str, pictures: list[dict], setting: dict | None, work: str) -> dict[str, Any]:
    """Segment the pictures that are scored; labels go to ``work/METHOD/NAME-labels.npy``.

    Returns:
        ``found``: for each picture ``name``, ``labels`` (path), ``diameters`` in px, ``seconds`` and
        ``processor_s``; ``peak_gb`` only where the work was done in a process of its own.
    """
    entry, folder = METHODS[method], Path(work) / method
    folder.mkdir(parents=True, exist_ok=True)
    values = entry.setting(**setting) if entry.setting and setting is not None else None
    rows, peak = [], 0.0
    for one in entry.segment([(Picture(**fields), values) for fields in pictures], folder):
        path = folder / f"{one.name}-labels.npy"
        np.save(path, one.labels)
        rows.append(
            {
                "name": one.name,
                "labels": str(path),
                "diameters": one.diameters,
                "seconds": one.seconds,
                "processor_s": one.processor_s,
            }
        )
        peak = max(peak, one.peak_gb)
    return {"found": rows, **({"peak_gb": peak} if peak else {})}
