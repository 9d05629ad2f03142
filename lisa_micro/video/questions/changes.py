"""Measure how a property changes over time in a tracked video: changes, rates, and the neck growth exponent.

Without a constraint, a property over time is that of all instances of each frame. With a constraint:

- for a count, an area fraction, a number density, and instances without tracks (pores, agglomerates, substrate), the
  constraint is applied to each frame separately;
- for other properties of tracked instances, it selects tracks in the first frame with any instance, together with all
  that they become by coalescence or splitting;
- for necks, it is applied to each neck in the frame in which it is widest; a neck persists while one of its particles
  coalesces with a third (:func:`lisa_micro.video.questions.lineage.neck_lines`).

The mean or median change of several selected tracks is that of their individual changes, each over its own frames, so
that a track that ends early does not distort it. The same holds for rates. Other statistics are taken in each frame.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.assistant import values
from lisa_micro.language.words import PROPERTIES, WHOLE_MEASURES
from lisa_micro.measure import pair_growth
from lisa_micro.measure.growth_check import MISFIT
from lisa_micro.types import Value
from lisa_micro.video.questions.frames import Properties, needs_masks
from lisa_micro.video.questions.lineage import Pair, descendants
from lisa_micro.video.questions.values import (
    NO_FRAME_TIME,
    NO_PARTICLES,
    Measured,
    Question,
    VideoMeasurements,
    listed,
    none,
    number,
    unit_text,
)

if TYPE_CHECKING:
    import pandas as pd

NOT_A_MECHANISM = "The exponent alone does not determine the sintering mechanism."
"""Note on every growth exponent."""
_INDIVIDUAL = ("mean", "median")  # statistics that are taken over the changes of individual tracks
_CHORDS = {"neck width": "width_px", "neck radius": "x_px", "neck ratio": "x_over_R"}

At = Callable[[int], Properties]
"""Returns the selected instances of a frame, in px."""
Series = list[tuple[int, Value]]
"""Frame numbers and values."""


@dataclass(frozen=True)
class Selection:
    """Selected instances over time: ``at`` returns all of them in a frame, ``each`` does so for single tracks; the
    other fields are those of :class:`lisa_micro.video.questions.values.Measured`."""

    at: At
    each: tuple[At, ...] = ()
    notes: tuple[str, ...] = ()
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()


def measure_over_time(video: VideoMeasurements, question: Question) -> Measured:
    """Measure a ``change``, the last value minus the first, or a ``rate``, the slope of a least-squares line.

    Args:
        video: measurements of the video.
        question: a measure with ``change`` or ``rate``.

    Returns:
        a number in the unit of the measure (percentage points for an area fraction); a rate is per ``s``, or per
        ``frame`` if the frame time is unknown. Frames, values and the standard error are in the notes.
    """
    frames = video.frames
    unknown = frames.unknown(question.concept)
    if unknown:
        return none(question, unknown)
    if not frames.last:
        return none(question, "The video has a single frame, so that nothing changes in it.")
    selection = _select(video, question)
    if len(selection.each) > 1 and question.measure.stat in _INDIVIDUAL:
        found = _of_each(video, question, selection)
    else:
        found = _of_series(video, question, *_series(video, question, selection.at))
        if not selection.each and question.measure.when == "rate" and not found.why:
            found = replace(found, notes=(*found.notes, *_individual_rates(video, question, found.value.unit)))
    if found.why:
        return replace(found, notes=selection.notes)
    notes = (*found.notes, *selection.notes)
    return replace(found, notes=notes, frame=selection.frame, identities=selection.identities, pairs=selection.pairs)


# ------------------------------------------------------------------------------------------------ selected instances


def _select(video: VideoMeasurements, question: Question) -> Selection:
    if question.pipeline and question.measure.stat not in WHOLE_MEASURES:
        if question.concept == video.tracks.concept:
            return _select_tracks(video, question)
        if question.concept == "neck":
            return _select_necks(video, question)
    notes = ("The constraint was applied to each frame separately.",) if question.pipeline else ()
    return Selection(lambda t: video.kept(question, t)[0], notes=notes)


def _select_tracks(video: VideoMeasurements, question: Question) -> Selection:
    t, ids, notes = video.chosen(question)
    lineage = video.tracks.lineage

    def of(names: Sequence[int]) -> At:
        family = list(descendants(lineage, names))

        def at(frame: int) -> Properties:
            found = video.frames.properties(question.concept, frame)
            return values.subset(found, np.isin(found["label"], family))

        return at

    if t is not None:
        notes = (*notes, f"In {video.frames.named(t)} the {question.phrase}: {listed(ids)}.")
    later = sorted(descendants(lineage, ids) - set(ids))
    if later:
        notes = (*notes, f"Tracks that result from them are included: {listed(later)}.")
    return Selection(of(ids), tuple(of([k]) for k in ids), notes, t, ids)


def _select_necks(video: VideoMeasurements, question: Question) -> Selection:
    chosen, notes = video.chosen_lines(question)
    masks = needs_masks(question.measure, question.pipeline)

    def of(rows: np.ndarray) -> At:
        def at(frame: int) -> Properties:
            found = video.frames.properties("neck", frame, masks)
            return values.subset(found, rows[found["label"]])

        return at

    lines = np.unique(video.lines[chosen])
    pairs = video.pairs(chosen)
    if pairs:
        ids = "; ".join(f"{a} and {b}" for a, b in pairs[:6]) + (" ..." if len(pairs) > 6 else "")
        notes = (*notes, f"The {question.phrase}, each neck when it is widest: between {ids}.")
    return Selection(of(chosen), tuple(of(video.lines == k) for k in lines), notes, None, (), pairs)


# ------------------------------------------------------------------------------------------------ changes and rates


def _series(video: VideoMeasurements, question: Question, at: At) -> tuple[Series, tuple[str, ...]]:
    """Return the values of all frames that have one, and notes; for a change only the first and the last value."""
    series: Series = []
    remarks: tuple[str, ...] = ()
    forward, change = range(video.frames.last + 1), question.measure.when == "change"
    for frames in (forward, reversed(forward)) if change else (forward,):
        for t in frames:
            value, remarks = video.evaluate(question, at(t))
            if not math.isnan(value.value):
                series.append((t, value))
                if change:
                    break
    return series, remarks


def _of_series(video: VideoMeasurements, question: Question, series: Series, remarks: tuple[str, ...]) -> Measured:
    if len(series) < 2 or series[0][0] == series[-1][0]:
        where = f" except {video.frames.named(series[0][0])}" if series else ""
        return none(question, f"There are no {question.kind} to measure in any frame{where}.")
    found = _change(video, question, series) if question.measure.when == "change" else _rate(video, question, series)
    return replace(found, notes=(*found.notes, *remarks))


def _of_each(video: VideoMeasurements, question: Question, selection: Selection) -> Measured:
    """Return the statistic of the individual changes or rates of the selected tracks."""
    individual: list[Value] = []
    remarks: tuple[str, ...] = ()
    for at in selection.each:
        series, remarks = _series(video, question, at)
        found = _of_series(video, question, series, ())
        if not found.why:
            individual.append(found.value)
    if not individual:
        return none(question, f"None of the {question.phrase} exists in more than one frame.")
    numbers = np.array([value.value for value in individual])
    what, unit = question.measure.when, individual[0].unit
    low, high = (f"{values.significant(float(v))}" for v in (numbers.min(), numbers.max()))
    extent = f"{low} to {high} {unit_text(unit)}".rstrip()
    text = f"The {question.measure.stat} of the individual {what}s, which range from {extent}"
    total, short = len(selection.each), len(selection.each) - len(individual)
    left = f"; {short} of {total} do not have two frames" if short else ""
    notes = (f"{text}{left}.", *((NO_FRAME_TIME,) if unit.endswith("/frame") else ()), *remarks)
    return number(question, values.statistic(question.measure.stat, numbers), unit, notes=notes)


def _change(video: VideoMeasurements, question: Question, series: Series) -> Measured:
    (first, before), (last, after) = series[0], series[-1]
    value = after.value - before.value
    text = f"{value:.0f}" if question.measure.stat == "count" else ""
    if before.unit == "%":
        text = f"{values.significant(value)} percentage points"
    start, end = (video.frames.named(t) for t in (first, last))
    note = f"From {before.text} in {start} to {after.text} in {end}."
    return number(question, value, before.unit, text, notes=(note,))


def _rate(video: VideoMeasurements, question: Question, series: Series) -> Measured:
    frames = np.array([t for t, _ in series], float)
    slope, error = _slope(video, frames, np.array([value.value for _, value in series]))
    untimed = video.tracks.frame_time_s is None
    unit = f"{series[0][1].unit or '1'}/{'frame' if untimed else 's'}"
    spread = "" if math.isnan(error) else f", with a standard error of {values.significant(error)} {unit_text(unit)}"
    extent = f"{video.frames.named(series[0][0])} to {video.frames.named(series[-1][0])}"
    line = f"The rate is the slope of a straight line through {len(series)} frames, {extent}{spread}."
    text = f"{values.significant(slope)} percentage points per {unit[2:]}" if unit.startswith("%") else ""
    return number(question, slope, unit, text, notes=(line, *((NO_FRAME_TIME,) if untimed else ())))


def _slope(video: VideoMeasurements, frames: np.ndarray, series: np.ndarray) -> tuple[float, float]:
    """Fit a line by least squares; return its slope, per s or per frame, and standard error (NaN for two points)."""
    from scipy.stats import linregress

    interval = video.tracks.frame_time_s
    line = linregress(frames * (1.0 if interval is None else interval), series)
    return float(line.slope), float(line.stderr) if len(series) > 2 else math.nan


def _individual_rates(video: VideoMeasurements, question: Question, unit: str) -> tuple[str, ...]:
    """Return a note with the median rate of individual necks: necks that start or end also change the mean of all."""
    source, tracks = _CHORDS.get(question.measure.prop), video.tracks
    if question.concept != "neck" or tracks.concept == "neck" or source is None:
        return ()
    scale = 1.0
    if PROPERTIES[question.measure.prop].dimension == "length":
        scale = tracks.pixel_size_nm or 1.0
    frames, width = tracks.necks["frame"].to_numpy(float), tracks.necks[source].to_numpy(float) * scale
    rows = [np.flatnonzero(video.lines == k) for k in np.unique(video.lines)]
    slopes = [_slope(video, frames[neck], width[neck])[0] for neck in rows if len(neck) > 2]
    if len(slopes) < 2:
        return ()
    middle = f"{values.significant(float(np.median(slopes)))} {unit_text(unit)}"
    every = f"This is the rate of the {question.measure.stat} over all necks of each frame"
    return (f"{every}; the median of the individual rates of {len(slopes)} necks is {middle}.",)


# ------------------------------------------------------------------------------------------------ growth exponent


def growth_table(video: VideoMeasurements) -> pd.DataFrame:
    """Return the fits of :func:`lisa_micro.measure.pair_growth`; with unknown times, frames replace seconds, since an
    exponent has no unit."""
    tracks = video.tracks
    if tracks.frame_time_s is not None:
        return video.findings.growth
    necks = tracks.necks.assign(time_s=tracks.necks["frame"].astype(float))
    return pair_growth(necks, tracks.pixel_size_nm, shape=tracks.shape)


def measure_exponent(video: VideoMeasurements, question: Question) -> Measured:
    """Measure the median exponent of the fitted necks, or of those that a constraint on necks or particles selects.

    A note gives the number of fits and the quartiles, or the interval of a single fit.
    """
    tracks = video.tracks
    unknown = video.frames.unknown(question.concept)
    if unknown or tracks.concept != "particle":
        return none(question, unknown or NO_PARTICLES)
    if question.concept == "neck":
        rows, notes = video.chosen_lines(question)
        pairs = set(video.pairs(rows))
    else:
        _, ids, notes = video.chosen(question) if question.pipeline else (None, tuple(tracks.identities), ())
        family = descendants(tracks.lineage, ids)
        pairs = {pair for pair in video.pairs(np.ones(len(tracks.necks), bool)) if family & set(pair)}
    table = growth_table(video)
    table = table[np.array([pair in pairs for pair in zip(table["a"], table["b"], strict=True)], bool)]
    if not len(table):
        where = "" if question.pipeline else " in any frame"
        return none(question, f"There are no {question.kind}{where}.")
    fitted = table[table["why"] == ""]
    if not len(fitted):
        why, count = Counter(table["why"]).most_common(1)[0]
        if len(table) == 1:
            return none(question, f"The growth of the neck could not be fitted: {why}.", notes)
        return none(question, f"None of the {len(table)} necks could be fitted ({count}: {why}).", notes)
    n = fitted["n"].to_numpy(float)
    fits = f"{len(fitted)} of {len(table)} necks could be fitted"
    refused = int(table["why"].str.startswith(MISFIT).sum())
    if refused:
        fits += f" (of {refused} the curve misses the frames)"
    if len(fitted) == 1:
        low, high = (float(fitted[name].iloc[0]) for name in ("n_low", "n_high"))
        upper = "has no upper limit" if math.isinf(high) else f"ends at {values.significant(high)}"
        note = f"{fits}; its 95 % interval starts at {values.significant(low)} and {upper}."
    else:
        low, high = np.percentile(n, [25, 75])
        wide = int(np.isinf(fitted["n_high"]).sum())
        note = f"The exponent is the median; {fits}, half of them between {low:.3g} and {high:.3g}"
        note += f", and the intervals of {wide} have no upper limit." if wide else "."
    chosen = tuple((int(a), int(b)) for a, b in zip(fitted["a"], fitted["b"], strict=True))
    return number(question, float(np.median(n)), "", notes=(note, NOT_A_MECHANISM, *notes), pairs=chosen)
