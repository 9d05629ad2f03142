"""Instances of every concept in the frames of a tracked video, from its tables and labels.

The tracked instances are read from the table of tracks. If these are particles, necks are read from their table, and
pores, agglomerates, substrate and neck masks are derived from the labels by the same definitions as on a micrograph.
Nothing is known of other concepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.datasets.derive import close_gaps, enclosed_background, paint_agglomerates
from lisa_micro.language import FULL_VOCABULARY, Measure
from lisa_micro.language.clauses import moment, number_text
from lisa_micro.language.program import terms
from lisa_micro.language.program.syntax import Between, Compare, Flag, Pipeline, Rank, Region
from lisa_micro.measure import column, neck_labels, particle_properties
from lisa_micro.measure.contacts import agglomerates, compact, facing
from lisa_micro.video.track_data import TrackData

if TYPE_CHECKING:
    import pandas as pd


DERIVED = ("neck", "pore", "agglomerate", "substrate")
"""Concepts that are derived from particles."""
FRAMES_COUNT_FROM_0 = "Frames count from 0, as in the tables."

_READ = (
    *("label", "x", "y", "area", "diameter", "length", "width", "perimeter", "circularity", "aspect_ratio"),
    *("intensity", "touches_border", "contacts", "agglomerate", "gap", "neck_width", "neck_ratio"),
)
# for neck masks these properties would describe neighbouring necks, and are left out
_BETWEEN = ("contacts", "agglomerate", "gap", "neck_width", "neck_ratio")
_OF_CHORDS = ("neck_width", "neck_radius", "neck_ratio")

Properties = dict[str, np.ndarray]


class VideoFrames:
    """Instances of every concept in every frame of a tracked video.

    Args:
        tracks: tracks of the video.
    """

    def __init__(self, tracks: TrackData):
        self.tracks = tracks
        self._rows = _by_frame(tracks.tracks)
        self._necks = _by_frame(tracks.necks)
        self._cache: dict[tuple[str, int, bool], Properties] = {}
        self._first: dict[str, int | None] = {}

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return len(self.tracks) - 1

    def unknown(self, concept: str) -> str:
        """Return one sentence why nothing is known of a concept, or ``""`` if it is known."""
        tracked = self.tracks.concept
        if concept == tracked or (tracked == "particle" and concept in DERIVED):
            return ""
        asked, known = nouns(concept)[1], nouns(tracked)[1]
        return (
            f"This video has tracks of {known}, not of {asked}; track the {asked} in a separate run to ask about them."
        )

    def properties(self, concept: str, t: int, masks: bool = False) -> Properties:
        """Return the properties of the instances of a concept in a frame, in px.

        Args:
            concept: a concept for which :meth:`unknown` returns ``""``.
            t: frame number.
            masks: for necks, also measure their masks; otherwise there are ``x`` and ``y`` (the middle of the chord),
                ``neck_width``, ``neck_ratio`` and an ``area`` of NaN.

        Returns:
            columns as of :func:`lisa_micro.measure.particle_properties`. ``label`` is the track ID of a tracked
            instance, or the row of a neck in ``TrackData.necks``. Derived instances have no intensities (NaN).
        """
        key = (concept, t, masks and concept == "neck")
        if key not in self._cache:
            self._cache[key] = self._measured(*key)
        return self._cache[key]

    def _measured(self, concept: str, t: int, masks: bool) -> Properties:
        if concept == self.tracks.concept:
            return self._tracked(t)
        if concept == "neck":
            chords = self._chords(t)
            return self._masks(chords, t) if masks and len(chords["area"]) else chords
        labels = self.tracks.labels[t]
        if concept == "pore":
            return particle_properties(enclosed_background(labels))
        if concept == "substrate":
            return particle_properties((labels == 0).astype(np.int32))
        numbered, names = compact(labels)
        group = agglomerates(len(names), np.unique(facing(numbered).pair, axis=0))
        return particle_properties(paint_agglomerates(numbered, group, close_gaps(numbered > 0)))

    def _tracked(self, t: int) -> Properties:
        table = self.tracks.tracks
        rows = table.iloc[self._rows.get(t, [])]
        columns = {"label": "identity"} | {name: column(name) for name in _READ[1:]}
        return {
            name: rows[source].to_numpy()
            for name, source in columns.items()
            if source in table and not (self.tracks.concept == "neck" and name in _BETWEEN)
        }

    def _chords(self, t: int) -> Properties:
        where = np.asarray(self._necks.get(t, []), np.int64)
        rows = self.tracks.necks.iloc[where]
        columns = {"x": "centre_x_px", "y": "centre_y_px", "neck_width": "width_px", "neck_ratio": "x_over_R"}
        found = {name: rows[source].to_numpy(float) for name, source in columns.items()}
        return {"label": where, **found, "area": np.full(len(rows), np.nan)}

    def _masks(self, chords: Properties, t: int) -> Properties:
        painted, necks = neck_labels(self.tracks.labels[t])
        rows = self.tracks.necks.iloc[chords["label"]]
        row_of = {(a, b): k for k, (a, b) in enumerate(zip(rows["particle_a"], rows["particle_b"], strict=True))}
        found = particle_properties(painted)
        # labels that touch without a contact of their bodies have no row
        known = np.array([(necks[k - 1].a, necks[k - 1].b) in row_of for k in found["label"]], bool)
        found = {name: np.asarray(values)[known] for name, values in found.items()}
        order = np.array([row_of[necks[k - 1].a, necks[k - 1].b] for k in found["label"]], np.int64)
        # a neck without any pixel, in images of a few pixels, keeps the properties of its chord
        out = {name: np.full(len(rows), np.nan) for name in found if name not in _BETWEEN}
        for name in out:
            out[name][order] = found[name]
        out["touches_border"] = out["touches_border"] == 1
        return out | {name: chords[name] for name in ("label", "neck_width", "neck_ratio")}

    def labels(self, concept: str, t: int) -> np.ndarray:
        """Return the labels of a concept in a frame, ``(H, W)`` integers: those of the column ``label`` of
        :meth:`properties`."""
        labels = self.tracks.labels[t]
        if concept == self.tracks.concept:
            return labels
        if concept == "pore":
            return enclosed_background(labels)
        if concept == "substrate":
            return (labels == 0).astype(np.int32)
        if concept == "agglomerate":
            numbered, names = compact(labels)
            group = agglomerates(len(names), np.unique(facing(numbered).pair, axis=0))
            return paint_agglomerates(numbered, group, close_gaps(numbered > 0))
        painted, necks = neck_labels(labels)
        rows = self.tracks.necks.iloc[self._necks.get(t, [])]
        row_of = {
            (int(a), int(b)): int(k)
            for a, b, k in zip(rows["particle_a"], rows["particle_b"], self._necks.get(t, []), strict=True)
        }
        # row 0 would be background: necks are numbered from 1 here, see :class:`FrameMeasures`
        numbers = np.zeros(int(painted.max(initial=0)) + 1, np.int32)
        for k, neck in enumerate(necks, 1):
            if k < len(numbers):
                numbers[k] = row_of.get((neck.a, neck.b), -1) + 1
        return numbers[painted]

    def first(self, concept: str) -> int | None:
        """Return the first frame with an instance of a concept, ``None`` if there is none."""
        if concept not in self._first:
            shown = (t for t in range(len(self.tracks)) if len(self.properties(concept, t)["area"]))
            self._first[concept] = next(shown, None)
        return self._first[concept]

    def at(self, when: str) -> tuple[int | None, str]:
        """Return the frame of a moment.

        Args:
            when: a ``Measure.when`` that starts with ``at``.

        Returns:
            the frame number and a note or ``""``; or ``None`` and one sentence that says why there is none.
        """
        kind, value = moment(when)
        interval = self.tracks.frame_time_s
        if kind == "frame":
            t = int(value)
            return (None, f"There is no frame {t}; {self._extent()}.") if t > self.last else (t, "")
        if kind != "time":
            return (0 if kind == "start" else self.last), ""
        if interval is None:
            return None, f"The frame time is unknown, so that there is no frame {when}; ask for a frame number instead."
        # up to half a frame after the last frame, that frame is the nearest
        if value > (self.last + 0.5) * interval:
            return None, f"{when.removeprefix('at ')} is after the end; {self._extent()}."
        t = min(round(value / interval), self.last)
        exact = abs(t * interval - value) < 1e-6 * interval
        return t, "" if exact else f"The frame nearest to {when.removeprefix('at ')} is {self.named(t)}."

    def _extent(self) -> str:
        count = len(self.tracks)
        frames = "1 frame, frame 0" if count == 1 else f"{count} frames, 0 to {self.named(self.last, '')}"
        return f"the video has {frames}"

    def named(self, t: int, word: str = "frame ") -> str:
        """Return ``frame 12 (6 s)``, or ``frame 12`` if the frame time is unknown."""
        interval = self.tracks.frame_time_s
        return f"{word}{t}" if interval is None else f"{word}{t} ({number_text(t * interval)} s)"


def nouns(concept: str) -> tuple[str, str]:
    """Return the singular and the plural of a concept; a custom concept is called by its name."""
    return FULL_VOCABULARY.nouns(concept) if FULL_VOCABULARY.knows(concept) else (concept, f"{concept}s")


def needs_masks(measure: Measure | None, pipeline: Pipeline) -> bool:
    """Whether a measure and a constraint need the masks of necks, beyond their chords."""
    names = [terms.PROPERTIES[measure.prop].key] if measure and measure.prop else []
    if measure and measure.stat == "area fraction":
        names.append("area")
    for step in pipeline:
        for part in step.filters:
            if isinstance(part, Rank):
                by = terms.RANK_WORDS[part.by][0] if part.by in terms.RANK_WORDS else part.by.partition(" ")[2]
                names.append("neck_width" if by == "area" else terms.PROPERTIES[by].key)
            elif isinstance(part, Flag):
                names.append("touches_border")
            elif isinstance(part, Compare | Between):
                names.append(terms.PROPERTIES[part.prop].key)
            elif not isinstance(part, Region):
                names.append("outlines")
    return any(name not in _OF_CHORDS for name in names)


def _by_frame(table: pd.DataFrame) -> dict[int, np.ndarray]:
    """Return the row positions of each frame."""
    frames = table["frame"].to_numpy(np.int64)
    order = np.argsort(frames, kind="stable")
    numbers, starts = np.unique(frames[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(frames) else {}
