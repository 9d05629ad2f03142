"""Results of the assistant: a reply with its segmentations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.execution import PlotData, Result
from lisa_micro.results.html import result_html
from lisa_micro.results.plotting import plot_of
from lisa_micro.results.viewer import NOTEBOOK_BYTES, NOTEBOOK_SIDE, SHOWN_SIDE, answer_page, framed, show
from lisa_micro.types import InputError, Micrograph, Value
from lisa_micro.viz.answer_plots import colours_by_target, plot_figure, plot_png, plot_title
from lisa_micro.viz.overlay import segment_colours
from lisa_micro.viz.thumbnail import overlay_thumbnail

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lisa_micro.io.memory import MicrographLike

UNDERSTOOD = "I understood: "
"""Beginning of the text of an answer that is unsure; what was understood follows, up to a full stop."""
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """The instances found for one target.

    Attributes:
        labels: ``(H, W)`` int32 instance labels, numbered 1..n without gaps. If boxes were the prompt, instance k comes
            from box k and may be empty.
        score: predicted quality of the mask, 0..1.
        presence: probability that the requested objects are in the micrograph, 0..1.
        concept: one of :data:`lisa_micro.types.CONCEPTS`, a custom concept, or ``"object"`` for points and boxes.
        phrase: the words of the reply that refer to it.
        where: the constraint as written by the language model; ``""`` if there is none.
        pixel_size_nm: as in the micrograph.
        properties: measured properties, one row per instance, units in the column names.
        notes: notices for the user, one sentence each.
        target: number of the target in the reply, from 1, as in :class:`~lisa_micro.types.Value`;
            0 for boxes and points.
        image: the micrograph, used for display only.
        mean_size: the mean size that replies tell, with its standard error where it is known; ``None`` if nothing was
            asked in words, or after a correction.
    """

    labels: np.ndarray
    score: float = 1.0
    presence: float = 1.0
    concept: str = "object"
    phrase: str = ""
    where: str = ""
    pixel_size_nm: float | None = None
    properties: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    target: int = 0
    image: Micrograph | None = None
    mean_size: Value | None = None

    @property
    def mask(self) -> np.ndarray:
        """``(H, W)`` bool: union of all instances."""
        return self.labels > 0

    @property
    def count(self) -> int:
        """Number of instances (the largest label)."""
        return int(self.labels.max(initial=0))

    def table(self) -> pd.DataFrame:
        """Measured properties, one row per instance, units in the column names; empty if nothing was measured."""
        import pandas as pd

        return pd.DataFrame() if self.properties is None else self.properties

    def mean_diameter(self) -> tuple[float, str]:
        """Mean equivalent-circle diameter of the instances.

        Returns:
            the value and its unit, ``"nm"`` if the pixel size is known and ``"px"`` otherwise; NaN without instances.
        """
        areas = np.bincount(self.labels.ravel())[1:]
        areas = areas[areas > 0]
        mean = float(np.sqrt(4 * areas / np.pi).mean()) if len(areas) else float("nan")
        return (mean, "px") if self.pixel_size_nm is None else (mean * self.pixel_size_nm, "nm")

    def show(self, longest: int = SHOWN_SIDE) -> None:
        """Show the micrograph with the masks; see :meth:`Answer.show`."""
        _show([self], self.image, longest)

    def plot(self, prop: str = "diameter", kind: str = "histogram", against: str = "") -> Figure:
        """Plot a property of the instances; see :meth:`Answer.plot`."""
        return plot_figure(plot_of([self], prop, kind, against))

    def __repr__(self) -> str:
        return f"<Segmentation: {_summary(self)}, shape {self.labels.shape}, score {self.score:.2f}>"

    def _repr_html_(self) -> str:
        facts = [_summary(self), *self.notes]
        picture, viewer = _thumbnail([self], self.image), _viewer([self], self.image)
        return result_html(self.phrase or self.concept, facts, picture, self.table(), viewer=viewer)


@dataclass(frozen=True)
class Reading:
    """A way to understand a request.

    Attributes:
        raw: the reply in the reply language.
        text: what it asks for, in words.
    """

    raw: str
    text: str


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """The answer to one request.

    Attributes:
        text: the reply as shown to the user, with measured values filled in.
        segments: one :class:`Segmentation` for each target that was found.
        prompt: the request.
        raw: the reply as written by the language model.
        values: the measured numbers in the text, in order.
        declined: true if nothing was selected or measured, for the reason that ``refusal`` gives.
        refusal: ``"absent"`` (nothing of the kind is in the micrograph), ``"unknown"`` (the model has not learned to
            see it), ``"cannot"`` (the reply language cannot express the request), or ``""``.
        plots: the plots that were asked for, with their numbers.
        understood: what the request was understood to ask for, in words; ``""`` for small talk.
        confidence: 0..1, calibrated probability that the request was understood rightly; ``None`` for a model without
            calibration.
        alternative: the next best reading of a request that was understood with low confidence.
        notes: notices for the user (prompt shortened, clause not understood, ...).
        seconds: duration of each stage.
        image: the micrograph, used for display only.
        result: the executed program, from which the text was written; ``None`` where there is none.
    """

    text: str
    segments: tuple[Segmentation, ...] = ()
    prompt: str = ""
    raw: str = ""
    values: tuple[Value, ...] = ()
    declined: bool = False
    refusal: str = ""
    plots: tuple[PlotData, ...] = ()
    understood: str = ""
    confidence: float | None = None
    alternative: Reading | None = None
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    image: Micrograph | None = None
    result: Result | None = None

    def labels(self, shape: tuple[int, int]) -> np.ndarray:
        """All instances of all segments in one label image.

        Args:
            shape: ``(H, W)`` of the micrograph.

        Returns:
            ``(H, W)`` int32, 1..n. Where segments overlap, the earlier one keeps the pixel. Segments of another shape
            are ignored.
        """
        out, count = np.zeros(shape, np.int32), 0
        for segment in self.segments:
            labels = np.asarray(segment.labels)
            if labels.shape != shape:
                continue
            out = np.where((out == 0) & (labels > 0), labels + count, out)
            count += int(labels.max(initial=0))
        return out.astype(np.int32)

    def save(
        self, path: str | os.PathLike[str], format: str | None = None, image: MicrographLike | None = None
    ) -> Path:
        """Save the instances in the format of another program: ImageJ ROIs, GeoJSON, OME-Zarr or Excel.

        Args:
            path: of the file; of a folder for OME-Zarr.
            format: ``"roi"``, ``"geojson"``, ``"zarr"`` or ``"xlsx"``; ``None``: the one of the path's suffix.
            image: the micrograph; ``None``: the one that the answer is about.

        Returns:
            the path.

        Raises:
            InputError: an unknown format, a missing package, a path that cannot be written, or no micrograph is known.
        """
        from lisa_micro.results.formats import save

        about = image if image is not None else self.image
        if about is None:
            raise InputError("The answer holds no micrograph; give it as image=...")
        return save(self, about, path, format)

    def show(self, longest: int = SHOWN_SIDE) -> None:
        """Show the micrograph with the masks: zoom, pan, masks to show and hide, number and size of instances.

        In a notebook the viewer appears below the cell, otherwise in a web browser. It works without a network.

        Args:
            longest: longer side of the picture, px; a larger micrograph is scaled down to it.

        Raises:
            InputError: the answer has no segments, or a size below 1 px.
        """
        if not self.segments:
            raise InputError(f"There is nothing to show: {self.text}")
        _show(self.segments, self.image, longest)

    def plot(self, prop: str = "diameter", kind: str = "histogram", against: str = "") -> Figure:
        """Plot a property of the instances, one series for each segment, in the colours of the overlay.

        Args:
            prop: the property, such as ``"diameter"``, ``"area"``, ``"neck width"`` or ``"circularity"``.
            kind: ``"histogram"`` or ``"cumulative"``, which mark D10, D50 and D90, or ``"scatter"``.
            against: the horizontal property of a scatter plot.

        Returns:
            a figure of matplotlib, which a notebook shows and ``savefig`` saves.

        Raises:
            InputError: an unknown property or kind, or a property that was not measured.
        """
        data = plot_of(self.segments, prop, kind, against)
        return plot_figure(data, self.plot_colours(data))

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN_CHARACTERS else self.text[: _SHOWN_CHARACTERS - 3] + "..."
        parts = [repr(text), *(_summary(segment) for segment in self.segments)]
        if not self.segments:
            parts.append("declined" if self.declined else "no segments")
        return f"<Answer: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        picture = _thumbnail(self.segments, self.image) if self.segments else None
        viewer = _viewer(self.segments, self.image) if self.segments else ""
        table = self.segments[0].table() if self.segments else None
        facts = [*(_summary(segment) for segment in self.segments), *self.notes]
        if self.alternative is not None:
            facts.append(f"Did you mean {self.alternative.text}?")
        plots = [(plot_title(plot), plot_png(plot, self.plot_colours(plot))) for plot in self.plots if not plot.problem]
        return result_html(self.text, facts, picture, table, plots, viewer)

    def plot_colours(self, plot: PlotData) -> list[str]:
        """``#rrggbb`` of the series of one of the plots: those of their segments in the overlay."""
        colours = segment_colours(len(self.segments))
        known = {
            segment.target or k: "#{:02x}{:02x}{:02x}".format(*colour)
            for k, (segment, colour) in enumerate(zip(self.segments, colours, strict=True), start=1)
        }
        return colours_by_target(plot, known)


def _summary(segment: Segmentation) -> str:
    """Count, concept and mean size, for example ``12 x neck, mean diameter 8.31 nm``."""
    size, unit = segment.mean_diameter()
    return f"{segment.count} x {segment.concept}" + (f", mean diameter {size:.3g} {unit}" if size == size else "")


def _thumbnail(segments: Sequence[Segmentation], image: Micrograph | None) -> bytes:
    labels = [segment.labels for segment in segments]
    pixels = None if image is None or image.shape != labels[0].shape else image.pixels
    names = [segment.phrase or segment.concept for segment in segments]
    return overlay_thumbnail(labels, pixels, segments[0].pixel_size_nm, names)


def _viewer(segments: Sequence[Segmentation], image: Micrograph | None) -> str:
    return framed(answer_page(segments, image, NOTEBOOK_SIDE, NOTEBOOK_BYTES))


def _show(segments: Sequence[Segmentation], image: Micrograph | None, longest: int) -> None:
    if longest < 1:
        raise InputError(f"The picture's longer side must be at least 1 px, not {longest}.")
    still = _thumbnail(segments, image)
    html = result_html("", [], still, None, viewer=framed(answer_page(segments, image, longest)))
    show(html, answer_page(segments, image, longest, alone=True))
