"""Events of a followed video as answers: when one happens first or last, and how often.

With a constraint it is about the identities that fulfil it in the first frame that shows any, and all that becomes of
them; of what appears, about what fulfils it in the frame in which it appears; of necks, about the pairs of particles
that :func:`lisa_micro.video.questions.lineage.neck_lines` follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lisa_micro.language.words import EVENTS
from lisa_micro.video.events import NECK_RATIO
from lisa_micro.video.questions.frames import nouns
from lisa_micro.video.questions.lineage import descendants
from lisa_micro.video.questions.values import NO_FRAME_TIME, Asked, Found, Measuring, listed, none, number

if TYPE_CHECKING:
    import pandas as pd

_MOST = 6  # identities whose end is told


def measure_event(measuring: Measuring, asked: Asked) -> Found:
    """The time of the first or last event of a kind, or their number.

    What was there in the first frame already did not begin in the video: it does not count, and a note says so.

    Args:
        measuring: of the video.
        asked: with an event.

    Returns:
        a time in s, a frame (unit ``"frame"``) where the frame time is unknown, or a number; the uncertainty is in a
        note.
    """
    tracks, frames = measuring.tracks, measuring.frames
    event, kind = asked.measure.event, EVENTS[asked.measure.event]
    unknown = frames.unknown(asked.concept)
    if unknown:
        return none(asked, unknown)
    between = kind in ("contact", "neck")
    if between and tracks.concept != "particle":
        return none(asked, "Contacts and necks are measured between particles, and the particles were not followed.")
    if asked.concept not in (tracks.concept, "neck"):
        others = nouns(asked.concept)[1]
        return none(asked, f"What happens to {others} is not followed in this video; ask for their number at a moment.")
    belongs, who, notes = _whose(measuring, asked, kind)
    rows = tracks.events[tracks.events["kind"] == kind]
    mine = [belongs(*row) for row in zip(rows["frame"], rows["before"], rows["after"], strict=True)]
    rows = rows[np.array(mine, bool)]  # an empty list would choose no columns
    old = rows["uncertainty_frames"] == 0
    rows = rows[~old]
    if kind == "neck":
        notes = (*notes, f"A contact counts as a neck from x/R = {NECK_RATIO:g} on.")
    if old.any():
        several = f"{old.sum()} pairs were" if old.sum() > 1 else "One pair was"
        what = "in contact" if kind == "contact" else "joined by a neck"
        notes = (*notes, f"{several} {what} in the first frame already, which does not count.")
    if asked.measure.stat == "count":
        return number(asked, float(len(rows)), "", str(len(rows)), notes=notes, identities=who)
    if not len(rows):
        of = f" of the {asked.phrase}" if asked.clauses else ""
        begins = "begins" if old.any() else "happens"
        became = _became(measuring, who) if asked.clauses else ()
        return none(asked, f"No {event}{of} {begins} in this video.", (*notes, *became))
    row = rows.iloc[0 if asked.measure.stat == "first" else -1]
    t = int(row["frame"])
    same = int((rows["frame"] == t).sum()) - 1
    more = f", and {same} more in the same frame" if same else ""
    span = int(row["uncertainty_frames"])
    note = (
        f"The {asked.measure.stat} {event}: {frames.named(t)}, known to within {span} frame{'s' * (span > 1)}; "
        f"{_told(kind, row)}{more}."
    )
    taking_part = tuple(dict.fromkeys((*row["before"], *row["after"])))
    facts = {"frame": t, "identities": taking_part}
    if tracks.frame_time_s is None:
        return number(asked, float(t), "frame", f"frame {t}", notes=(note, *notes, NO_FRAME_TIME), **facts)
    time_s = t * tracks.frame_time_s
    return number(asked, time_s, "s", f"{time_s:.6g} s", notes=(note, *notes), **facts)


Belongs = Callable[[int, tuple[int, ...], tuple[int, ...]], bool]


def _whose(measuring: Measuring, asked: Asked, kind: str) -> tuple[Belongs, tuple[int, ...], tuple[str, ...]]:
    """Whether an event (frame, before, after) belongs to what is asked about; the identities meant, and notes."""
    if not asked.clauses:
        return (lambda t, before, after: True), (), ()
    if asked.concept == "neck" and measuring.tracks.concept != "neck":
        rows, notes = measuring.chosen_lines(asked)
        necks = measuring.tracks.necks.loc[rows, ["particle_a", "particle_b"]]
        pairs = {(int(a), int(b)) for a, b in necks.itertuples(index=False)}

        def of_pair(t: int, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
            taking_part = set(before)
            if len(taking_part) > 1:
                return any(taking_part.issuperset(pair) for pair in pairs)
            return any(taking_part & set(pair) for pair in pairs)

        return of_pair, tuple(sorted({k for pair in pairs for k in pair})), notes
    if kind == "appear":

        def as_it_appears(t: int, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
            return bool(np.isin(after, measuring.kept(asked, t)[0]["label"]).any())

        return as_it_appears, (), ()
    t, who, notes = measuring.chosen(asked)
    family = descendants(measuring.tracks.lineage, who)
    if t is not None:
        notes = (*notes, f"In {measuring.frames.named(t)} the {asked.phrase}: {listed(who)}.")
    return (lambda t, before, after: bool(family & {*before, *after})), who, notes


def _became(measuring: Measuring, who: tuple[int, ...]) -> tuple[str, ...]:
    """What happened to identities instead."""
    lineage = measuring.tracks.lineage
    ends = [(k, lineage[k]) for k in who[:_MOST] if k in lineage]
    told = [
        f"{k} is there until the end"
        if entry["end"] == "video end"
        else f"{k} {entry['end']} after {measuring.frames.named(entry['last_frame'])}"
        for k, entry in ends
    ]
    return (f"What became of them: {'; '.join(told)}.",) if told else ()


def _told(kind: str, row: pd.Series) -> str:
    before, after = (" and ".join(map(str, row[name])) for name in ("before", "after"))
    if kind in ("coalesce", "split"):
        return f"{before} become{'s' * (kind == 'split')} {after}"
    return f"between {before}" if kind in ("contact", "neck") else f"identity {before or after}"
