"""Measures of a followed video as numbers with units: moments, changes, rates, and the growth exponent.

How a constraint is meant ("the three largest"):

- at a moment: of that moment's instances;
- of a count, an area fraction or a number density over time, and of what has no identities (pores, agglomerates,
  substrate): anew in each frame;
- of a property over time: those that fulfil it in the first frame that shows any, followed by identity, with what they
  become by coalescence or splitting. Necks: each as it is in the frame in which it is widest, and followed while their
  particles coalesce with others (:func:`lisa_micro.pipeline.question_lines.neck_lines`).

Without a constraint a property over time is that of all instances of each frame.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.assistant import constraints, values
from lisa_micro.assistant.reply import noun_phrase
from lisa_micro.language import Clause, Measure, Nearest, Rank, render_measure
from lisa_micro.language.words import VIDEO_MEASURES, WHOLE_MEASURES
from lisa_micro.measure import pair_growth
from lisa_micro.pipeline.question_frames import Properties, VideoFrames, needs_masks
from lisa_micro.pipeline.question_lines import Pair, descendants, neck_lines
from lisa_micro.types import Value

if TYPE_CHECKING:
    import pandas as pd

    from lisa_micro.pipeline.tracks import Tracks

NO_FRAME_TIME = "No frame time is known, so times are in frames; follow the video with --frame-time S to have seconds."
ANEW = "The constraint was applied anew in each frame."
NOT_A_MECHANISM = "No mechanism of sintering follows from the exponent alone."


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


@dataclass(frozen=True)
class Group:
    """Who is followed for a measure over time: ``at`` gives them in a frame, in px; the rest as in :class:`Found`."""

    at: Callable[[int], Properties]
    notes: tuple[str, ...] = ()
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()


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
    """Measures moments, changes, rates and the growth exponent of a followed video.

    Args:
        tracks: the video.
    """

    def __init__(self, tracks: Tracks):
        self.tracks, self.frames = tracks, VideoFrames(tracks)

    def measure(self, asked: Asked) -> Found:
        """Anything but events. Never raises for what is not known: :attr:`Found.why` says it."""
        unknown = self.frames.unknown(asked.concept)
        if unknown:
            return none(asked, unknown)
        if asked.measure.stat in VIDEO_MEASURES:
            found = self._exponent(asked)
        elif asked.measure.when in ("change", "rate"):
            found = self._over_time(asked)
        else:
            found = self._moment(asked)
        if self.frames.partly:
            where = self.tracks.record.get("where")
            only = f"what '{where}' meant" if where else "what the boxes held"
            found = replace(found, notes=(*found.notes, f"Only {only} was followed, and nothing else is known of."))
        return found

    # ------------------------------------------------------------------------------------------- one moment

    def _moment(self, asked: Asked) -> Found:
        measure = asked.measure
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
        value, remarks = self._evaluate(asked, found)
        who = self._names(asked.concept, found)
        why = ""
        if math.isnan(value.value):
            why = f"There are no {asked.kind} in {self.frames.named(t)}."
            if len(found["area"]):
                why = f"The {asked.measure.stat} {asked.measure.prop} cannot be told in {self.frames.named(t)}."
        return Found(value, (*notes, *remarks), why, t, *who)

    def _evaluate(self, asked: Asked, found: Properties) -> tuple[Value, tuple[str, ...]]:
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

    # ------------------------------------------------------------------------------------------- over time

    def group(self, asked: Asked) -> Group:
        """Who is meant by a measure over time; see the head of the module."""
        followed = asked.concept == self.tracks.concept
        if asked.clauses and asked.measure.stat not in WHOLE_MEASURES:
            if followed:
                return self._identities(asked)
            if asked.concept == "neck":
                return self._lines(asked)
        anew = (ANEW,) if asked.clauses else ()
        return Group(lambda t: self.kept(asked, t)[0], anew)

    def chosen(self, asked: Asked) -> tuple[int | None, tuple[int, ...], tuple[str, ...]]:
        """The identities that fulfil the constraint in the first frame that shows any, that frame, and notes."""
        t = self.frames.first(self.tracks.concept)
        if t is None:
            return None, (), ()
        found, notes = self.kept(asked, t)
        return t, tuple(np.asarray(found["label"]).tolist()), notes

    def _identities(self, asked: Asked) -> Group:
        t, who, notes = self.chosen(asked)
        family = descendants(self.tracks.lineage, who)

        def at(frame: int) -> Properties:
            found = self.frames.properties(asked.concept, frame)
            return values.subset(found, np.isin(found["label"], list(family)))

        if t is not None:
            notes = (*notes, f"Meant are the {asked.phrase} of {self.frames.named(t)}: {_numbers(who)}.")
        if len(family) > len(who):
            notes = (*notes, f"What became of them counts too: {_numbers(sorted(family - set(who)))}.")
        return Group(at, notes, t, tuple(who))

    @cached_property
    def lines(self) -> np.ndarray:
        """See :func:`lisa_micro.pipeline.question_lines.neck_lines`."""
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

    def _lines(self, asked: Asked) -> Group:
        chosen, notes = self.chosen_lines(asked)
        masks = needs_masks(asked.measure, asked.clauses)

        def at(frame: int) -> Properties:
            found = self.frames.properties("neck", frame, masks)
            return values.subset(found, chosen[found["label"]])

        pairs = self.pairs(chosen)
        if pairs:
            who = "; ".join(f"{a} and {b}" for a, b in pairs[:6]) + (" ..." if len(pairs) > 6 else "")
            notes = (*notes, f"Meant are the {asked.phrase}, each when it is widest: between {who}.")
        return Group(at, notes, None, (), pairs)

    def pairs(self, chosen: np.ndarray) -> tuple[Pair, ...]:
        """The pairs of particles of rows of ``Tracks.necks``."""
        rows = self.tracks.necks.loc[chosen, ["particle_a", "particle_b"]].drop_duplicates()
        return tuple((int(a), int(b)) for a, b in rows.itertuples(index=False))

    def _over_time(self, asked: Asked) -> Found:
        if not self.frames.last:
            return none(asked, "The video has one frame only, so nothing can change in it.")
        group = self.group(asked)
        change = asked.measure.when == "change"
        series: list[tuple[int, Value]] = []
        remarks: tuple[str, ...] = ()
        forward = range(len(self.tracks))
        # a change needs the first and the last frame that tell anything, and no others
        for frames in (forward, reversed(forward)) if change else (forward,):
            for t in frames:
                value, remarks = self._evaluate(asked, group.at(t))
                if not math.isnan(value.value):
                    series.append((t, value))
                    if change:
                        break
        if len(series) < 2 or series[0][0] == series[-1][0]:
            where = f" but in {self.frames.named(series[0][0])}" if series else ""
            return none(asked, f"There are no {asked.kind} to measure in any frame{where}.", group.notes)
        found = self._change(asked, series) if change else self._rate(asked, series)
        notes = (*found.notes, *group.notes, *remarks)
        return replace(found, notes=notes, frame=group.frame, identities=group.identities, pairs=group.pairs)

    def _change(self, asked: Asked, series: list[tuple[int, Value]]) -> Found:
        (first, before), (last, after) = series[0], series[-1]
        value = after.value - before.value
        text = f"{value:.0f}" if asked.measure.stat == "count" else ""
        if before.unit == "%":
            text = f"{values.significant(value)} percentage points"
        note = (
            f"From {before.text} in {self.frames.named(first)} to {after.text} in {self.frames.named(last)}, "
            "last less first."
        )
        return number(asked, value, before.unit, text, notes=(note,))

    def _rate(self, asked: Asked, series: list[tuple[int, Value]]) -> Found:
        frames = np.array([t for t, _ in series], float)
        unit = series[0][1].unit
        slope, error, per, notes = self._slope(frames, np.array([value.value for _, value in series]))
        unit = f"{unit or '1'}/{per}"
        spread = "" if math.isnan(error) else f" with a standard error of {values.significant(error)} {unit_text(unit)}"
        extent = f"{self.frames.named(series[0][0])} to {self.frames.named(series[-1][0])}"
        line = f"The rate is the slope of a straight line through {len(series)} frames, {extent}{spread}."
        text = ""
        if unit.startswith("%"):
            text = f"{values.significant(slope)} percentage points per {per}"
        return number(asked, slope, unit, text, notes=(line, *notes))

    def _slope(self, frames: np.ndarray, series: np.ndarray) -> tuple[float, float, str, tuple[str, ...]]:
        """Slope by least squares, its standard error (NaN of two points), the unit of time, and notes."""
        from scipy.stats import linregress

        interval = self.tracks.frame_time_s
        line = linregress(frames * (1.0 if interval is None else interval), series)
        error = float(line.stderr) if len(series) > 2 else math.nan
        return float(line.slope), error, *(("frame", (NO_FRAME_TIME,)) if interval is None else ("s", ()))

    # ------------------------------------------------------------------------------------------- the law of growth

    @cached_property
    def growth(self) -> pd.DataFrame:
        """See :func:`lisa_micro.measure.pair_growth`. The exponent has no unit, so that frames do for times."""
        tracks = self.tracks
        if tracks.frame_time_s is not None:
            return tracks.findings.growth
        necks = tracks.necks.assign(time_s=tracks.necks["frame"].astype(float))
        return pair_growth(necks, tracks.pixel_size_nm, shape=tracks.shape)

    def _exponent(self, asked: Asked) -> Found:
        if self.tracks.concept != "particle":
            return none(asked, "Necks grow between particles, and the particles were not followed in this video.")
        if asked.concept == "neck":
            rows, notes = self.chosen_lines(asked)
            pairs = set(self.pairs(rows))
        else:
            _, who, notes = self.chosen(asked)
            family = descendants(self.tracks.lineage, who)
            pairs = {pair for pair in self.pairs(np.ones(len(self.tracks.necks), bool)) if family & set(pair)}
        table = self.growth
        table = table[[pair in pairs for pair in zip(table["a"], table["b"], strict=True)]] if len(table) else table
        if not len(table):
            return none(asked, "There are no necks in any frame.", notes)
        fitted = table[table["why"] == ""]
        if not len(fitted):
            why, count = Counter(table["why"]).most_common(1)[0]
            return none(asked, f"None of {len(table)} necks could be fitted ({count}: {why}).", notes)
        n = fitted["n"].to_numpy(float)
        about = f"{len(fitted)} of {len(table)} necks could be fitted"
        if len(fitted) == 1:
            low, high = (float(fitted[name].iloc[0]) for name in ("n_low", "n_high"))
            upper = "has no upper end" if math.isinf(high) else f"ends at {values.significant(high)}"
            note = f"{about}; its 95 % interval begins at {values.significant(low)} and {upper}."
        else:
            low, high = np.percentile(n, [25, 75])
            wide = int(np.isinf(fitted["n_high"]).sum())
            note = f"The exponent is the median; {about}, half of them between {low:.3g} and {high:.3g}"
            note += f", and the interval of {wide} has no upper end." if wide else "."
        chosen = tuple((int(a), int(b)) for a, b in zip(fitted["a"], fitted["b"], strict=True))
        told = (f"{note[0].upper()}{note[1:]}", NOT_A_MECHANISM, *notes)
        return number(asked, float(np.median(n)), "", notes=told, pairs=chosen)


def _numbers(identities: Iterable[int], most: int = 12) -> str:
    """``identities 3, 7 and 12``."""
    names = [str(k) for k in identities]
    if not names:
        return "none"
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"{'identity' if len(names) == 1 else 'identities'} {shown}"
