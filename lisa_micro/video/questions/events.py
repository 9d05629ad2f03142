"""Answer questions about events of a tracked video: the first, the last, and their number.

A constraint selects tracks in the first frame with any instance, together with all that they become. For appearances it
is applied in the frame of the appearance, for necks to the pairs of particles of
:func:`lisa_micro.video.questions.lineage.neck_lines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.language.words import EVENTS
from lisa_micro.video.events import NECK_RATIO
from lisa_micro.video.questions.frames import nouns
from lisa_micro.video.questions.lineage import descendants
from lisa_micro.video.questions.values import (
    NO_FRAME_TIME,
    NO_PARTICLES,
    Measured,
    Question,
    VideoMeasurements,
    listed,
    none,
    number,
)

if TYPE_CHECKING:
    import pandas as pd

_MOST = 6  # tracks whose end is stated


def measure_event(video: VideoMeasurements, question: Question) -> Measured:
    """Measure the time of the first or last event of a kind, or their number.

    States that exist in the first frame did not start in the video; they do not count, and a note says so.

    Args:
        video: measurements of the video.
        question: a measure of an event.

    Returns:
        a time in s, a frame (unit ``"frame"``) if the frame time is unknown, or a number. The uncertainty is in a note.
    """
    tracks, frames = video.tracks, video.frames
    event, kind = question.measure.event, EVENTS[question.measure.event]
    unknown = frames.unknown(question.concept)
    if unknown:
        return none(question, unknown)
    between = kind in ("contact", "neck")
    if between and tracks.concept != "particle":
        return none(question, NO_PARTICLES)
    if question.concept not in (tracks.concept, "neck"):
        others = nouns(question.concept)[1]
        return none(question, f"Events are not determined for {others}; ask for their number at a moment.")
    belongs, ids, notes = _selected(video, question, kind)
    rows = tracks.events[tracks.events["kind"] == kind]
    matching = [belongs(*row) for row in zip(rows["frame"], rows["before"], rows["after"], strict=True)]
    rows = rows[np.array(matching, bool)]  # an empty list would select columns
    old = rows["uncertainty_frames"] == 0
    rows = rows[~old]
    if kind == "neck":
        notes = (*notes, f"A contact counts as a neck above x/R = {NECK_RATIO:g}.")
    if old.any():
        several = f"{old.sum()} pairs were" if old.sum() > 1 else "One pair was"
        what = "in contact" if kind == "contact" else "joined by a neck"
        count = "do not count" if old.sum() > 1 else "does not count"
        notes = (*notes, f"{several} {what} in the first frame already and {count}.")
    if question.measure.stat == "count":
        return number(question, float(len(rows)), "", str(len(rows)), notes=notes, identities=ids)
    if not len(rows):
        of = f" of the {question.phrase}" if question.pipeline else ""
        begins = "begins" if old.any() else "happens"
        ends = _ends(video, ids) if question.pipeline else ()
        return none(question, f"No {event}{of} {begins} in this video.", (*notes, *ends))
    row = rows.iloc[0 if question.measure.stat == "first" else -1]
    t = int(row["frame"])
    same = int((rows["frame"] == t).sum()) - 1
    more = f", and {same} more in the same frame" if same else ""
    span = int(row["uncertainty_frames"])
    note = (
        f"The {question.measure.stat} {event}: {frames.named(t)}, known to within {span} frame{'s' * (span > 1)}; "
        f"{_participants(kind, row)}{more}."
    )
    taking_part = tuple(dict.fromkeys((*row["before"], *row["after"])))
    value, unit, text, notes = float(t), "frame", f"frame {t}", (note, *notes, NO_FRAME_TIME)
    if tracks.frame_time_s is not None:
        value, unit, notes = t * tracks.frame_time_s, "s", notes[:-1]
        text = f"{value:.6g} s"
    return number(question, value, unit, text, notes=notes, frame=t, identities=taking_part)


Belongs = Callable[[int, tuple[int, ...], tuple[int, ...]], bool]


def _selected(
    video: VideoMeasurements, question: Question, kind: str
) -> tuple[Belongs, tuple[int, ...], tuple[str, ...]]:
    """Return a test whether an event (frame, before, after) is asked about, the selected track IDs, and notes."""
    if not question.pipeline:
        return (lambda t, before, after: True), (), ()
    if question.concept == "neck" and video.tracks.concept != "neck":
        rows, notes = video.chosen_lines(question)
        necks = video.tracks.necks.loc[rows, ["particle_a", "particle_b"]]
        pairs = {(int(a), int(b)) for a, b in necks.itertuples(index=False)}

        def of_pair(t: int, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
            taking_part = set(before)
            if len(taking_part) > 1:
                return any(taking_part.issuperset(pair) for pair in pairs)
            return any(taking_part & set(pair) for pair in pairs)

        return of_pair, tuple(sorted({k for pair in pairs for k in pair})), notes
    if kind == "appear":

        def as_it_appears(t: int, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
            return bool(np.isin(after, video.kept(question, t)[0]["label"]).any())

        return as_it_appears, (), ()
    t, ids, notes = video.chosen(question)
    family = descendants(video.tracks.lineage, ids)
    if t is not None:
        notes = (*notes, f"In {video.frames.named(t)} the {question.phrase}: {listed(ids)}.")
    return (lambda t, before, after: bool(family & {*before, *after})), ids, notes


def _ends(video: VideoMeasurements, ids: tuple[int, ...]) -> tuple[str, ...]:
    """Return a note on how tracks ended."""
    lineage = video.tracks.lineage
    known = [(k, lineage[k]) for k in ids[:_MOST] if k in lineage]
    texts = [
        f"{k} exists until the end"
        if entry["end"] == "video end"
        else f"{k} {entry['end']} after {video.frames.named(entry['last_frame'])}"
        for k, entry in known
    ]
    return (f"Ends of these tracks: {'; '.join(texts)}.",) if texts else ()


def _participants(kind: str, row: pd.Series) -> str:
    before, after = (" and ".join(map(str, row[name])) for name in ("before", "after"))
    if kind in ("coalesce", "split"):
        return f"{before} become{'s' * (kind == 'split')} {after}"
    return f"between {before}" if kind in ("contact", "neck") else f"track {before or after}"
