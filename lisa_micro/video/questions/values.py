"""Measures of a moment of a followed video as numbers with units, and who is meant by a constraint.

A constraint ("the three largest") on a moment is one on that moment's instances. On something over time and on events
it means those that fulfil it in the first frame that shows any; of necks, each as it is in the frame in which it is
widest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.assistant import constraints, values
from lisa_micro.language import Clause, Measure, Nearest, Rank, render_measure
from lisa_micro.language.display import noun_phrase
from lisa_micro.types import Value
from lisa_micro.video.questions.frames import Properties, VideoFrames, needs_masks
from lisa_micro.video.questions.lineage import Pair, neck_lines

if TYPE_CHECKING:
    from lisa_micro.video.tracks import Tracks

NO_FRAME_TIME = "No frame time is known, so times are in frames; follow the video with --frame-time S to have seconds."


@dataclass(frozen=True)
class Found:
    """A measured value.

    Attributes:
        value: NaN where there is no number.
        notes: what to know about it, one sentence each.
        why: where there is no number, one sentence why.
        frame: where who is meant was decided, ``None`` where in no one frame.
        identities: what was measured, of what was followed; pairs: of necks, their two particles.
    """

    value: Value
    notes: tuple[str, ...] = ()
    why: str = ""
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A measure of a target: ``concept`` and ``clauses`` say of what, ``target`` is its number in the reply."""

    measure: Measure
    concept: str
    clauses: tuple[Clause, ...] = ()
    target: int = 1

    @property
    def phrase(self) -> str:
        """What the target is, in words."""
        return noun_phrase(self.concept, self.clauses)

    @property
    def kind(self) -> str:
        """The same in the plural, for saying that there are none: ranks cannot be what leaves nothing over."""
        return noun_phrase(self.concept, [c for c in self.clauses if not isinstance(c, Rank | Nearest)])


def unit_text(unit: str) -> str:
    """A unit as it is shown: ``nm²``, ``per s``."""
    return unit.replace("um", "µm").replace("2", "²").replace("1/", "per ")


def none(asked: Asked, why: str, notes: Iterable[str] = (), unit: str = "") -> Found:
    """No number, and why."""
    text = f"no value ({why[0].lower()}{why[1:].rstrip('.')})"
    return Found(Value(render_measure(asked.measure), math.nan, unit, text, asked.target), tuple(notes), why)


def number(asked: Asked, value: float, unit: str, text: str = "", **more: object) -> Found:
    """A number; ``text`` where it is not simply that with its unit."""
    text = text or f"{values.significant(value)} {unit_text(unit)}".rstrip()
    return Found(Value(render_measure(asked.measure), value, unit, text, asked.target), **more)  # type: ignore[arg-type]


class Measuring:
    """A followed video to be measured.

    Args:
        tracks: the video.
    """

    def __init__(self, tracks: Tracks):
        self.tracks, self.frames = tracks, VideoFrames(tracks)

    @property
    def partly(self) -> tuple[str, ...]:
        """What to say where the request that was followed meant only some of the instances."""
        where, boxes = (self.tracks.record.get(name) for name in ("where", "boxes_px"))
        if not (where or boxes):
            return ()
        only = f"what '{where}' meant" if where else "what the boxes held"
        return (f"Only {only} was followed, and nothing else is known of.",)

    # ------------------------------------------------------------------------------------------- one moment

    def moment(self, asked: Asked) -> Found:
        """A measure at a moment; where none was named, in the last frame. Never raises for what is not known:
        :attr:`Found.why` says it."""
        unknown, measure = self.frames.unknown(asked.concept), asked.measure
        if unknown:
            return none(asked, unknown)
        t, note = self.frames.at(measure.when or "at end")
        if t is None:
            return none(asked, note)
        found = self._in_frame(asked, t)
        notes = [note] if note else []
        if not measure.when and self.frames.last:
            first = self._in_frame(asked, 0)
            notes.append(
                f"No moment was named: this is the last frame, {self.frames.named(self.frames.last)}; "
                f"in the first it is {first.value.text}."
            )
            if measure.stat == "count" and not asked.clauses and asked.concept == self.tracks.concept:
                notes.append(f"{len(self.tracks.lineage)} identities were followed in all.")
        return replace(found, notes=(*notes, *found.notes))

    def kept(self, asked: Asked, t: int) -> tuple[Properties, tuple[str, ...]]:
        """Instances of a frame that the constraint keeps, in px, and notes."""
        found = self.frames.properties(asked.concept, t, needs_masks(asked.measure, asked.clauses))
        keep, notes = constraints.apply(
            asked.clauses, found, self.tracks.shape, self.tracks.pixel_size_nm, asked.concept
        )
        return values.subset(found, keep), notes

    def _in_frame(self, asked: Asked, t: int) -> Found:
        found, notes = self.kept(asked, t)
        value, remarks = self.evaluate(asked, found)
        who = self._names(asked.concept, found)
        why = ""
        if math.isnan(value.value):
            why = f"There are no {asked.kind} in {self.frames.named(t)}."
            if len(found["area"]):
                why = f"The {asked.measure.stat} {asked.measure.prop} cannot be told in {self.frames.named(t)}."
        return Found(value, (*notes, *remarks), why, t, *who)

    def evaluate(self, asked: Asked, found: Properties) -> tuple[Value, tuple[str, ...]]:
        """The measure, whatever its moment, of instances of a frame; and notes."""
        plain = Measure(asked.measure.stat, asked.measure.prop)
        tracks = self.tracks
        value, notes = values.evaluate(plain, found, tracks.shape, tracks.pixel_size_nm, asked.concept, asked.target)
        return replace(value, measure=render_measure(asked.measure)), notes

    def _names(self, concept: str, found: Properties) -> tuple[tuple[int, ...], tuple[Pair, ...]]:
        labels = np.asarray(found["label"]).tolist()
        if concept == self.tracks.concept:
            return tuple(labels), ()
        if concept != "neck":
            return (), ()
        rows = self.tracks.necks.loc[:, ["particle_a", "particle_b"]].to_numpy()
        return (), tuple((int(a), int(b)) for a, b in rows[np.asarray(labels, np.int64)])

    # ------------------------------------------------------------------------------------------- who is meant

    def chosen(self, asked: Asked) -> tuple[int | None, tuple[int, ...], tuple[str, ...]]:
        """The identities that fulfil the constraint in the first frame that shows any, that frame, and notes."""
        t = self.frames.first(self.tracks.concept)
        if t is None:
            return None, (), ()
        found, notes = self.kept(asked, t)
        return t, tuple(np.asarray(found["label"]).tolist()), notes

    @cached_property
    def lines(self) -> np.ndarray:
        """See :func:`lisa_micro.video.questions.lineage.neck_lines`."""
        return neck_lines(self.tracks.necks, self.tracks.lineage)

    def chosen_lines(self, asked: Asked) -> tuple[np.ndarray, tuple[str, ...]]:
        """``(rows,)`` bool of ``Tracks.necks``: those of the necks that fulfil the constraint, each as it is when it is
        widest; and notes."""
        necks = self.tracks.necks
        if not len(necks) or not asked.clauses:
            return np.ones(len(necks), bool), ()
        order = np.lexsort((-necks["x_px"].to_numpy(float), self.lines))
        widest = order[np.unique(self.lines[order], return_index=True)[1]]
        masks = needs_masks(asked.measure, asked.clauses)
        parts: list[Properties] = []
        for row in widest.tolist():
            found = self.frames.properties("neck", int(necks["frame"].iloc[row]), masks)
            parts.append(values.subset(found, found["label"] == row))
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        tracks = self.tracks
        keep, notes = constraints.apply(asked.clauses, whole, tracks.shape, tracks.pixel_size_nm, "neck")
        return np.isin(self.lines, self.lines[widest[keep]]), notes

    def pairs(self, chosen: np.ndarray) -> tuple[Pair, ...]:
        """The pairs of particles of rows of ``Tracks.necks``."""
        rows = self.tracks.necks.loc[chosen, ["particle_a", "particle_b"]].drop_duplicates()
        return tuple((int(a), int(b)) for a, b in rows.itertuples(index=False))


def listed(identities: Iterable[int], most: int = 12) -> str:
    """``identities 3, 7, 12``; ``none``."""
    names = [str(k) for k in identities]
    if not names:
        return "none"
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"{'identity' if len(names) == 1 else 'identities'} {shown}"
