"""How something changes with time in a followed video: changes, rates, and the exponent of the growth of necks.

Without a constraint a property over time is that of all instances of each frame. With one:

- a count, an area fraction, a number density, and what has no identities (pores, agglomerates, substrate): the
  constraint is applied anew in each frame;
- any other property of what was followed: those that fulfil it in the first frame that shows any, followed by identity,
  with what they become by coalescence or splitting;
- of necks: each as it is in the frame in which it is widest, followed while its particles coalesce with others
  (:func:`lisa_micro.video.questions.lineage.neck_lines`).

The mean or median change of several that were chosen is that of their own changes, each over the frames in which it is
there, so that one that ends earlier does not change it; their rates likewise. Other statistics are of each frame.
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
from lisa_micro.types import Value
from lisa_micro.video.questions.frames import Properties, needs_masks
from lisa_micro.video.questions.lineage import Pair, descendants
from lisa_micro.video.questions.values import NO_FRAME_TIME, Asked, Found, Measuring, listed, none, number, unit_text

if TYPE_CHECKING:
    import pandas as pd

NOT_A_MECHANISM = "No mechanism of sintering follows from the exponent alone."
_OWN = ("mean", "median")  # statistics over what each of the chosen does by itself
_CHORDS = {"neck width": "width_px", "neck radius": "x_px", "neck ratio": "x_over_R"}

At = Callable[[int], Properties]
Series = list[tuple[int, Value]]


@dataclass(frozen=True)
class Group:
    """Who is followed: ``at`` gives them in a frame, in px, ``each`` the same one by one; the rest as in
    :class:`Found`."""

    at: At
    each: tuple[At, ...] = ()
    notes: tuple[str, ...] = ()
    frame: int | None = None
    identities: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()


def measure_over_time(measuring: Measuring, asked: Asked) -> Found:
    """A ``change``, the last value less the first, or a ``rate``, the slope of a straight line of least squares.

    Args:
        measuring: of the video.
        asked: with ``change`` or ``rate``.

    Returns:
        a number in the measure's unit (``"%"`` of an area fraction means percentage points), of a rate per ``s``, or
        per ``frame`` where the frame time is unknown; frames, values and the standard error are in notes.
    """
    frames = measuring.frames
    unknown = frames.unknown(asked.concept)
    if unknown:
        return none(asked, unknown)
    if not frames.last:
        return none(asked, "The video has one frame only, so nothing can change in it.")
    group = _group(measuring, asked)
    if len(group.each) > 1 and asked.measure.stat in _OWN:
        found = _of_each(measuring, asked, group)
    else:
        found = _of_series(measuring, asked, *_series(measuring, asked, group.at))
        if not group.each and asked.measure.when == "rate" and not found.why:
            found = replace(found, notes=(*found.notes, *_own_rates(measuring, asked, found.value.unit)))
    if found.why:
        return replace(found, notes=group.notes)
    notes = (*found.notes, *group.notes)
    return replace(found, notes=notes, frame=group.frame, identities=group.identities, pairs=group.pairs)


# ------------------------------------------------------------------------------------------------ who is followed


def _group(measuring: Measuring, asked: Asked) -> Group:
    if asked.clauses and asked.measure.stat not in WHOLE_MEASURES:
        if asked.concept == measuring.tracks.concept:
            return _identities(measuring, asked)
        if asked.concept == "neck":
            return _lines(measuring, asked)
    anew = ("The constraint was applied anew in each frame.",) if asked.clauses else ()
    return Group(lambda t: measuring.kept(asked, t)[0], notes=anew)


def _identities(measuring: Measuring, asked: Asked) -> Group:
    t, who, notes = measuring.chosen(asked)
    lineage = measuring.tracks.lineage

    def of(names: Sequence[int]) -> At:
        family = list(descendants(lineage, names))

        def at(frame: int) -> Properties:
            found = measuring.frames.properties(asked.concept, frame)
            return values.subset(found, np.isin(found["label"], family))

        return at

    if t is not None:
        notes = (*notes, f"In {measuring.frames.named(t)} the {asked.phrase}: {listed(who)}.")
    later = sorted(descendants(lineage, who) - set(who))
    if later:
        notes = (*notes, f"What became of them counts too: {listed(later)}.")
    return Group(of(who), tuple(of([k]) for k in who), notes, t, who)


def _lines(measuring: Measuring, asked: Asked) -> Group:
    chosen, notes = measuring.chosen_lines(asked)
    masks = needs_masks(asked.measure, asked.clauses)

    def of(rows: np.ndarray) -> At:
        def at(frame: int) -> Properties:
            found = measuring.frames.properties("neck", frame, masks)
            return values.subset(found, rows[found["label"]])

        return at

    lines = np.unique(measuring.lines[chosen])
    pairs = measuring.pairs(chosen)
    if pairs:
        who = "; ".join(f"{a} and {b}" for a, b in pairs[:6]) + (" ..." if len(pairs) > 6 else "")
        notes = (*notes, f"The {asked.phrase}, each when it is widest: between {who}.")
    return Group(of(chosen), tuple(of(measuring.lines == k) for k in lines), notes, None, (), pairs)


# ------------------------------------------------------------------------------------------------ changes and rates


def _series(measuring: Measuring, asked: Asked, at: At) -> tuple[Series, tuple[str, ...]]:
    """Frames that tell a value, in order, and notes; of a change only the first and the last of them."""
    series: Series = []
    remarks: tuple[str, ...] = ()
    forward, change = range(measuring.frames.last + 1), asked.measure.when == "change"
    for frames in (forward, reversed(forward)) if change else (forward,):
        for t in frames:
            value, remarks = measuring.evaluate(asked, at(t))
            if not math.isnan(value.value):
                series.append((t, value))
                if change:
                    break
    return series, remarks


def _of_series(measuring: Measuring, asked: Asked, series: Series, remarks: tuple[str, ...]) -> Found:
    if len(series) < 2 or series[0][0] == series[-1][0]:
        where = f" but {measuring.frames.named(series[0][0])}" if series else ""
        return none(asked, f"There are no {asked.kind} to measure in any frame{where}.")
    found = _change(measuring, asked, series) if asked.measure.when == "change" else _rate(measuring, asked, series)
    return replace(found, notes=(*found.notes, *remarks))


def _of_each(measuring: Measuring, asked: Asked, group: Group) -> Found:
    """The statistic of what each of the chosen does by itself."""
    own: list[Value] = []
    remarks: tuple[str, ...] = ()
    for at in group.each:
        series, remarks = _series(measuring, asked, at)
        found = _of_series(measuring, asked, series, ())
        if not found.why:
            own.append(found.value)
    if not own:
        return none(asked, f"None of the {asked.phrase} is there in more than one frame.")
    numbers = np.array([value.value for value in own])
    what, unit = asked.measure.when, own[0].unit
    low, high = (f"{values.significant(float(v))}" for v in (numbers.min(), numbers.max()))
    told = (
        f"The {asked.measure.stat} of their own {what}s, which lie between {low} and {high} {unit_text(unit)}".rstrip()
    )
    left = f"; {len(group.each) - len(own)} of {len(group.each)} were there too shortly" * (len(own) < len(group.each))
    notes = (f"{told}{left}.", *((NO_FRAME_TIME,) if unit.endswith("/frame") else ()), *remarks)
    return number(asked, values.statistic(asked.measure.stat, numbers), unit, notes=notes)


def _change(measuring: Measuring, asked: Asked, series: Series) -> Found:
    (first, before), (last, after) = series[0], series[-1]
    value = after.value - before.value
    text = f"{value:.0f}" if asked.measure.stat == "count" else ""
    if before.unit == "%":
        text = f"{values.significant(value)} percentage points"
    start, end = (measuring.frames.named(t) for t in (first, last))
    note = f"From {before.text} in {start} to {after.text} in {end}, last less first."
    return number(asked, value, before.unit, text, notes=(note,))


def _rate(measuring: Measuring, asked: Asked, series: Series) -> Found:
    frames = np.array([t for t, _ in series], float)
    slope, error = _slope(measuring, frames, np.array([value.value for _, value in series]))
    untimed = measuring.tracks.frame_time_s is None
    unit = f"{series[0][1].unit or '1'}/{'frame' if untimed else 's'}"
    spread = "" if math.isnan(error) else f", with a standard error of {values.significant(error)} {unit_text(unit)}"
    extent = f"{measuring.frames.named(series[0][0])} to {measuring.frames.named(series[-1][0])}"
    line = f"The rate is the slope of a straight line through {len(series)} frames, {extent}{spread}."
    text = f"{values.significant(slope)} percentage points per {unit[2:]}" if unit.startswith("%") else ""
    return number(asked, slope, unit, text, notes=(line, *((NO_FRAME_TIME,) if untimed else ())))


def _slope(measuring: Measuring, frames: np.ndarray, series: np.ndarray) -> tuple[float, float]:
    """Slope by least squares, per s or per frame, and its standard error; NaN of two points."""
    from scipy.stats import linregress

    interval = measuring.tracks.frame_time_s
    line = linregress(frames * (1.0 if interval is None else interval), series)
    return float(line.slope), float(line.stderr) if len(series) > 2 else math.nan


def _own_rates(measuring: Measuring, asked: Asked, unit: str) -> tuple[str, ...]:
    """How fast each neck grows by itself: those that begin and end change the mean of all too."""
    source, tracks = _CHORDS.get(asked.measure.prop), measuring.tracks
    if asked.concept != "neck" or tracks.concept == "neck" or source is None:
        return ()
    scale = 1.0
    if PROPERTIES[asked.measure.prop].dimension == "length":
        scale = tracks.pixel_size_nm or 1.0
    frames, width = tracks.necks["frame"].to_numpy(float), tracks.necks[source].to_numpy(float) * scale
    rows = [np.flatnonzero(measuring.lines == k) for k in np.unique(measuring.lines)]
    slopes = [_slope(measuring, frames[own], width[own])[0] for own in rows if len(own) > 2]
    if len(slopes) < 2:
        return ()
    middle = f"{values.significant(float(np.median(slopes)))} {unit_text(unit)}"
    every = f"That is the rate of the {asked.measure.stat} of all that are there in each frame"
    return (f"{every}; the median of {len(slopes)} necks' own rates is {middle}.",)


# ------------------------------------------------------------------------------------------------ the law of growth


def growth_table(measuring: Measuring) -> pd.DataFrame:
    """See :func:`lisa_micro.measure.pair_growth`. An exponent has no unit, so that frames do for unknown times."""
    tracks = measuring.tracks
    if tracks.frame_time_s is not None:
        return tracks.findings.growth
    necks = tracks.necks.assign(time_s=tracks.necks["frame"].astype(float))
    return pair_growth(necks, tracks.pixel_size_nm, shape=tracks.shape)


def measure_exponent(measuring: Measuring, asked: Asked) -> Found:
    """The median exponent of the necks that could be fitted (with a constraint: of those of the necks, or particles,
    that are meant). Quartiles, of a single one its interval, and how many were fitted are in a note."""
    tracks = measuring.tracks
    unknown = measuring.frames.unknown(asked.concept)
    if unknown or tracks.concept != "particle":
        return none(asked, unknown or "Necks grow between particles, and the particles were not followed.")
    if asked.concept == "neck":
        rows, notes = measuring.chosen_lines(asked)
        pairs = set(measuring.pairs(rows))
    else:
        _, who, notes = measuring.chosen(asked) if asked.clauses else (None, tuple(tracks.identities), ())
        family = descendants(tracks.lineage, who)
        pairs = {pair for pair in measuring.pairs(np.ones(len(tracks.necks), bool)) if family & set(pair)}
    table = growth_table(measuring)
    table = table[np.array([pair in pairs for pair in zip(table["a"], table["b"], strict=True)], bool)]
    if not len(table):
        return none(asked, "There are no necks in any frame." if not asked.clauses else f"There are no {asked.kind}.")
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
    return number(asked, float(np.median(n)), "", notes=(note, NOT_A_MECHANISM, *notes), pairs=chosen)
