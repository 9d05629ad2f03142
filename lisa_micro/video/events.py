"""Find events in a video: particles appear, touch, form necks, coalesce, split, vanish, or leave the field.

Events are derived from final track IDs and measured necks, frame by frame, with hysteresis against flicker: a contact
or a neck starts at the first of three consecutive frames of which two show it, and a contact ends after :data:`APART`
frames without it. A particle that results from coalescence inherits the contacts of its parents, so that these are not
reported again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from lisa_micro.measure import Neck
from lisa_micro.models.trackers.linking import Birth

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("appear", "contact", "neck", "coalesce", "split", "vanish", "leave")
"""Kinds of events, in the order in which those of one frame are listed."""
NECK_RATIO = 0.1
"""Ratio x/R above which a contact counts as a neck."""
APART = 5
"""Number of frames without contact after which the next contact counts as new."""


class LineageEntry(TypedDict):
    """The life of one track.

    Attributes:
        parents, children: track IDs.
        first_frame, last_frame: frames of the first and the last detection.
        frames: number of frames with a detection.
        end: ``"coalesced"``, ``"split"``, ``"vanished"``, ``"left"`` or ``"video end"``.
    """

    parents: list[int]
    children: list[int]
    first_frame: int
    last_frame: int
    frames: int
    end: str


Lineage = dict[int, LineageEntry]
"""Track ID -> life of the track."""


@dataclass
class Event:
    """One event.

    Attributes:
        kind: one of :data:`KINDS`.
        frame: first frame after the event.
        before, after: track IDs before and after it. ``contact`` and ``neck``: the pair in both; ``coalesce``: the
            parents and the new track; ``split``: the parent and its pieces; ``appear``: none and the new track;
            ``vanish`` and ``leave`` (the field): the track and none.
        x, y: position in px.
        uncertainty: number of frames, counted back from ``frame``, within which the event happened: 1 between two
            neighbouring frames, more if the detections alternated, 0 if the state existed in the first frame, so that
            its start is unknown.
    """

    kind: str
    frame: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    x: float
    y: float
    uncertainty: int = 1


@dataclass
class Onset:
    """Detects the start of a state that may flicker: it must be observed in two of three consecutive frames."""

    recent: list[tuple[int, bool]] = field(default_factory=list)
    first: int | None = None  # first observation since the state was last clearly absent
    since: int | None = None  # start of the state
    quiet: int = 0

    def update(self, frame: int, present: bool) -> bool:
        """Add a frame; return whether it confirms that the state started, at :attr:`since`."""
        self.recent = [*self.recent[-2:], (frame, present)]
        self.quiet = 0 if present else self.quiet + 1
        if present and self.first is None:
            self.first = frame
        if self.since is None and self.quiet >= APART:
            self.first = None
        seen = [t for t, value in self.recent if value]
        if self.since is not None or not present or len(seen) < 2:
            return False
        self.since = seen[0]
        return True

    def uncertainty(self) -> int:
        """Return the uncertainty as in :class:`Event`."""
        if not self.since or self.first is None:
            return 0 if self.since == 0 else 1
        return self.since - self.first + 1


@dataclass
class _Pair:
    contact: Onset = field(default_factory=Onset)
    neck: Onset = field(default_factory=Onset)
    place: tuple[float, float] = (np.nan, np.nan)


@dataclass
class _Life:
    first: int
    last: int
    seen: int
    x: float
    y: float
    border: bool
    ended: str = ""


class EventLog:
    """Collects events and the lineage while the frames of a video arrive in order.

    Args:
        gap: number of frames for which a missing particle may come back, as in the tracker.
        contacts: whether to report contacts and necks; they are defined between particles only.

    Attributes:
        events: events so far, unordered until :meth:`finish`.
    """

    def __init__(self, gap: int = 5, contacts: bool = True):
        self.gap, self.contacts = gap, contacts
        self.events: list[Event] = []
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._lives: dict[int, _Life] = {}
        self._births: dict[int, Birth] = {}
        self._first: int | None = None

    def update(
        self,
        frame: int,
        properties: Mapping[str, np.ndarray],
        necks: Sequence[Neck],
        births: Mapping[int, Birth],
    ) -> None:
        """Add the next frame.

        Args:
            frame: frame number, larger than the previous one.
            properties: properties of its particles, with track IDs as ``label``; see
                :func:`lisa_micro.measure.particle_properties`.
            necks: contacts between track IDs; see :func:`lisa_micro.measure.find_necks`.
            births: starts of tracks; may contain tracks that are not in the frame.
        """
        if self._first is None:
            self._first = frame
        ids = [int(k) for k in properties["label"]]
        place = {k: (float(x), float(y)) for k, x, y in zip(ids, properties["x"], properties["y"], strict=True)}
        border = dict(zip(ids, np.asarray(properties["touches_border"], bool).tolist(), strict=True))
        born = [k for k in ids if k not in self._lives]
        for k in born:
            self._lives[k] = _Life(frame, frame, 0, *place[k], border[k])
            self._births[k] = births.get(k, Birth(frame))
        self._begin(frame, born, place)
        for k in ids:
            life = self._lives[k]
            life.last, life.seen, life.border = frame, life.seen + 1, border[k]
            life.x, life.y = place[k]
        if self.contacts:
            self._touch(frame, set(ids), necks)
        for k, life in self._lives.items():
            if not life.ended and frame - life.last > self.gap:
                self._end(k, life)

    def _begin(self, frame: int, born: Iterable[int], place: Mapping[int, tuple[float, float]]) -> None:
        pieces: dict[int, list[int]] = {}
        for k in born:
            parents = self._births[k].parents
            if len(parents) > 1:
                self._coalesce(frame, k, parents, place[k])
            elif parents:
                pieces.setdefault(parents[0], []).append(k)
            elif frame != self._first:
                self.events.append(Event("appear", frame, (), (k,), *place[k]))
        for parent, names in pieces.items():
            x, y = np.mean([place[k] for k in names], axis=0)
            self.events.append(Event("split", frame, (parent,), tuple(names), float(x), float(y)))
            if parent in self._lives:
                self._lives[parent].ended = "split"
            for name in names:
                self._inherit(name, (parent,), drop=name == names[-1])

    def _coalesce(self, frame: int, new: int, parents: tuple[int, ...], place: tuple[float, float]) -> None:
        for (a, b), pair in self._pairs.items():
            if a in parents and b in parents:  # a contact too short for confirmation has happened all the same
                for kind, onset in (("contact", pair.contact), ("neck", pair.neck)):
                    if onset.since is None and onset.first is not None:
                        onset.since = onset.first
                        self.events.append(Event(kind, onset.first, (a, b), (a, b), *pair.place))
        uncertainty = self._births[new].uncertainty
        self.events.append(Event("coalesce", frame, parents, (new,), *place, uncertainty))
        for parent in parents:
            if parent in self._lives:
                self._lives[parent].ended = "coalesced"
        self._inherit(new, parents, drop=True)

    def _inherit(self, new: int, parents: tuple[int, ...], drop: bool) -> None:
        """Pass the contacts of the parents on to a child."""
        for pair in [pair for pair in self._pairs if set(pair) & set(parents)]:
            state = self._pairs.pop(pair) if drop else self._pairs[pair]
            others = [k for k in pair if k not in parents]
            if not others:
                continue
            key = (min(new, others[0]), max(new, others[0]))
            known = self._pairs.get(key)
            if known is None or (state.contact.since is not None and known.contact.since is None):
                self._pairs[key] = _Pair(
                    Onset([], state.contact.first, state.contact.since),
                    Onset([], state.neck.first, state.neck.since),
                    state.place,
                )

    def _touch(self, frame: int, here: set[int], necks: Sequence[Neck]) -> None:
        now = {(min(n.a, n.b), max(n.a, n.b)): n for n in necks}
        for pair in set(now) - set(self._pairs):
            self._pairs[pair] = _Pair()
        for pair, state in list(self._pairs.items()):
            if any(k in self._lives and self._lives[k].ended for k in pair):
                del self._pairs[pair]
                continue
            if not here.issuperset(pair):
                continue
            neck = now.get(pair)
            if neck is not None:
                state.place = neck.centre
            for kind, onset, present in (
                ("contact", state.contact, neck is not None),
                ("neck", state.neck, neck is not None and neck.x_over_R > NECK_RATIO),
            ):
                if onset.update(frame, present):
                    assert onset.since is not None
                    old = onset.since == self._first
                    uncertainty = 0 if old else onset.uncertainty()
                    self.events.append(Event(kind, onset.since, pair, pair, *state.place, uncertainty))
            if state.contact.quiet >= APART:
                del self._pairs[pair]

    def _end(self, identity: int, life: _Life) -> None:
        kind = "leave" if life.border else "vanish"
        life.ended = "left" if life.border else "vanished"
        self.events.append(Event(kind, life.last + 1, (identity,), (), life.x, life.y))

    def finish(self, last_frame: int) -> None:
        """Finish the video; a particle that is missing in the last two frames or more has vanished or left."""
        for identity, life in self._lives.items():
            if not life.ended:
                if last_frame - life.last >= 2:
                    self._end(identity, life)
                else:
                    life.ended = "video end"
        self.events.sort(key=lambda event: (event.frame, KINDS.index(event.kind), event.before, event.after))

    def lineage(self) -> Lineage:
        """Return the lineage, ordered by track ID."""
        children: dict[int, list[int]] = {}
        for k in self._lives:
            for parent in self._births[k].parents:
                children.setdefault(parent, []).append(k)
        return {
            k: {
                "parents": list(self._births[k].parents),
                "children": children.get(k, []),
                "first_frame": life.first,
                "last_frame": life.last,
                "frames": life.seen,
                "end": life.ended,
            }
            for k, life in sorted(self._lives.items())
        }


def event_table(
    events: Sequence[Event], frame_time_s: float | None = None, pixel_size_nm: float | None = None
) -> pd.DataFrame:
    """Return events as a table.

    Returns:
        one row per event: ``kind``, ``frame``, ``time_s`` (NaN if the frame time is unknown), ``before``, ``after``
        (tuples of track IDs), ``x_px``, ``y_px``, ``uncertainty_frames``, and with a pixel size ``x_nm``, ``y_nm``.
    """
    import pandas as pd

    frames = np.array([event.frame for event in events], np.int64)
    table: dict[str, Any] = {
        "kind": [event.kind for event in events],
        "frame": frames,
        "time_s": frames * (np.nan if frame_time_s is None else frame_time_s),
        "before": [event.before for event in events],
        "after": [event.after for event in events],
        "x_px": np.array([event.x for event in events], float),
        "y_px": np.array([event.y for event in events], float),
        "uncertainty_frames": np.array([event.uncertainty for event in events], np.int64),
    }
    if pixel_size_nm is not None:
        table |= {f"{axis}_nm": table[f"{axis}_px"] * pixel_size_nm for axis in "xy"}
    return pd.DataFrame(table)
