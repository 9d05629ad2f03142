"""Tracking by overlap: instances of each frame linked to the particles of the frame before, by geometry alone.

The assignment is this project's own, on SciPy's solver. laptrack, which solves the same problem for whole videos, links
gaps, splits and merges only when all frames are known, and so cannot be asked for one frame at a time.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import compact
from lisa_micro.measure.waists import divide, pair_waist, waist_ratio
from lisa_micro.models.trackers.base import Frame, check_labels
from lisa_micro.models.trackers.linking import (
    Birth,
    Links,
    Lost,
    Revision,
    around,
    frame_shape,
    identities,
    link,
    moved,
)
from lisa_micro.types import InputError

MERGED_WAIST = 0.92
"""Waist ratio (:func:`lisa_micro.measure.waists.waist_ratio`) from which two particles are one."""
_INSIDE = 0.3  # share of a particle that an instance must cover to hold it
_PIECE = 0.5  # share of an instance that a particle must cover for it to be a piece of that particle
_ROOM = 0.1  # share of its area by which an instance must be larger than what else is in it
_GRIP = 0.6  # waist ratio from which a particle that disappears has gone into its neighbour
_SCRAP = 0.02  # share of the larger one's area below which a part is no particle of its own


class OverlapTracker:
    """Links instances to identities by overlap and distance; see :class:`lisa_micro.models.trackers.base.Tracker`.

    - A particle that is missing for up to ``gap`` frames gets its identity back.
    - An instance that covers several particles is divided among them as long as there is a waist between them, however
      long the segmentation sees one. Without a waist, in ``confirm`` of the last ``confirm + 1`` frames, they have
      become one: a **new** identity with those particles as parents.
    - A particle found in several pieces keeps its identity where there is no waist between them; else each piece is a
      new identity with one parent, unless they are one again within ``confirm`` frames.
    - What is seen for less than half of its first ``confirm`` frames was nothing.

    With ``confirm`` above 1 a decision reaches back by up to :attr:`lookback` frames; :attr:`revisions` tells, after
    each step, what to change in labels that were given out. Frames are counted from 0, the one of :meth:`reset`.

    Args:
        confirm: frames for which a change must last, at least 1.
        gap: frames for which a missing particle is waited for.
        waist: see :data:`MERGED_WAIST`.

    Attributes:
        births: identity -> :class:`Birth`, of all that are or were.
        revisions: of the last step.
    """

    name = "overlap"
    weights_sha256 = ""

    def __init__(self, confirm: int = 1, gap: int = 5, waist: float = MERGED_WAIST):
        if confirm < 1 or gap < 0 or not 0 < waist <= 1:
            raise InputError("a tracker needs confirm of at least 1, gap of at least 0, and waist in 0..1")
        self.confirm, self.gap, self.waist = confirm, gap, waist
        self.births: dict[int, Birth] = {}
        self.revisions: list[Revision] = []
        self._labels: np.ndarray | None = None

    @property
    def lookback(self) -> int:
        """How many frames, the present one included, a revision can reach back."""
        return self.confirm + 1 if self.confirm > 1 else 1

    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """Begin a video; see :meth:`lisa_micro.models.trackers.base.Tracker.reset`."""
        self._labels = check_labels(first_labels, frame_shape(first_frame))
        present = identities(self._labels)
        self.births, self.revisions = {k: Birth(0) for k in present}, []
        self._frame, self._next = 0, max(present, default=0) + 1
        self._pace = np.zeros(2)
        self._lost = Lost()
        self._fused: dict[tuple[int, int], dict[int, bool]] = {}  # pair -> frame -> whether there is no waist
        self._cuts: set[tuple[int, int]] = set()  # pairs that were joined but had no waist before either
        self._splits: dict[int, tuple[int, list[int]]] = {}  # identity -> (frame, pieces), not settled yet
        self._fresh: dict[int, int] = dict.fromkeys(present, 1) if self.confirm > 1 else {}  # identity -> times seen

    def step(
        self,
        frame: Frame,
        labels: np.ndarray | None = None,
        expected: np.ndarray | None = None,
        shift: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Follow to the next frame.

        Args:
            frame: of the size of the first one; its pixels do not matter.
            labels: ``(H, W)`` integers, the instances of this frame in any numbering: which is which particle, is
                found here. Left out, everything is taken to have moved on as before.
            expected: ``(H, W)`` integers, where another tracker has the identities in this frame. Left out: where they
                were in the frame before, moved as all moved then.
            shift: x, y px by which the whole image has moved since the frame before, where that is known.

        Returns:
            ``(H, W)`` int32 identities.

        Raises:
            InputError: before :meth:`reset`; a frame or labels of another size, or that cannot be used.
        """
        if self._labels is None:
            raise InputError("the tracker has no video yet; call reset with the first frame and its labels")
        if frame_shape(frame) != self._labels.shape:
            raise InputError(f"the frame is {frame_shape(frame)} px (H, W) but the first one was {self._labels.shape}")
        given = None if labels is None else check_labels(labels, self._labels.shape)
        carried = None if expected is None else check_labels(expected, self._labels.shape)
        self._frame += 1
        self.revisions = []
        if given is None:
            step = np.rint(self._pace if shift is None else shift).astype(int)
            self._labels = moved(self._labels, (int(step[0]), int(step[1]))) if carried is None else carried
            return self._labels.copy()
        found = compact(given)[0]
        prior, step = self._expected(carried, shift)
        links = link(prior, found)
        more = np.rint(links.shift).astype(int)
        if carried is None and shift is None and np.abs(more).max() > 1:
            prior = moved(prior, (int(more[0]), int(more[1])))
            links, step = link(prior, found), step + more
            self._lost.move(more)
        self._pace = 0.5 * (self._pace + step + links.shift)
        out = self._assign(prior, found, links)
        out = self._settle(out)
        self._keep_lost(prior, out)
        self._labels = out
        return out.copy()

    def finish(self) -> list[Revision]:
        """End the video: particles that have no waist between them in its last frame are taken to be one, although
        that could not be seen for ``confirm`` frames; pieces are not taken to be apart. Returns the revisions made."""
        self.revisions = []
        if self._labels is not None:
            self._frame += 1  # the revisions are of frames that were all given out
            for parent in list(self._splits):
                self._labels[np.isin(self._labels, self._splits[parent][1])] = parent
                self._undo_split(parent)
            for history in self._fused.values():
                history[self._frame] = history.get(self._frame - 1, False)
            self._labels = self._coalesce(self._labels, 2)
        return self.revisions

    # where particles should be

    def _expected(self, carried: np.ndarray | None, shift: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
        """Identities where they should be now, those that were lost included, and by how much all were moved."""
        assert self._labels is not None
        step = np.zeros(2, int)
        if carried is None:
            step = np.rint(self._pace if shift is None else shift).astype(int)
            prior = moved(self._labels, (int(step[0]), int(step[1]))).copy()
            self._lost.move(step)
        else:
            # another tracker goes on with identities that have become something else here
            known = [0, *identities(self._labels), *self._lost]
            prior = np.where(np.isin(carried, known), carried, 0)
        self._lost.paint(prior)
        return prior, step

    def _keep_lost(self, prior: np.ndarray, out: np.ndarray) -> None:
        """Remember those that are missing, forget those that are back or have been missing for too long."""
        here = set(identities(out))
        ended = {p for birth in self.births.values() for p in birth.parents}
        for identity in set(identities(self._labels)) - here - ended:
            if identity in self.births:
                self._lost[identity] = (np.stack(np.nonzero(prior == identity)), self._frame - 1)
        for identity, (_, seen) in list(self._lost.items()):
            if identity in here or identity in ended or self._frame - seen > self.gap:
                del self._lost[identity]

    # who is who

    def _assign(self, prior: np.ndarray, found: np.ndarray, links: Links) -> np.ndarray:
        ids = links.expected.ids
        holds: dict[int, list[int]] = {j: [int(ids[i])] for i, j in links.pairs.tolist()}  # instance - 1 -> identities
        judged = self._join_unmatched(links, holds)
        pieces = links.pieces(_PIECE)
        table = np.zeros(len(links.found.ids) + 1, np.int64)
        windows = ndimage.find_objects(found)
        several: list[int] = []
        area = dict(zip(ids.tolist(), links.expected.area.tolist(), strict=True))
        for j, members in holds.items():
            members = self._rejoin(members, prior, area)
            members = self._without_scraps(members, area)
            holds[j] = members
            table[j + 1] = members[0]
            if len(members) > 1:
                several.append(j)
        for i, parts in pieces.items():
            j0 = dict(links.pairs.tolist())[i]
            if j0 not in several:
                self._split(found, windows, table, j0, parts, links)
        for j in np.flatnonzero(table[1:] == 0).tolist():
            table[j + 1] = self._new(Birth(self._frame), fresh=self.confirm > 1)
        out = table[found].astype(np.int32)
        for j in several:
            window = around([windows[j]], found.shape)
            judged |= self._share(out[window], prior[window], found[window] == j + 1, holds[j])
        self._remember(judged, out)
        return self._coalesce(out, self.confirm)

    def _join_unmatched(self, links: Links, holds: dict[int, list[int]]) -> dict[tuple[int, int], bool]:
        """Particles that no instance was assigned to, but that lie in one; and, in what is returned, those that have
        gone into a neighbour without being seen in it."""
        judged: dict[tuple[int, int], bool] = {}
        matched = set(links.pairs[:, 0].tolist())
        owned = np.zeros(len(links.found.ids))
        owned[links.pairs[:, 1]] = links.expected.area[links.pairs[:, 0]]
        for i in range(len(links.expected.ids)):
            if i in matched or not len(links.found.ids):
                continue
            share = links.common[i] / links.expected.area[i]
            # an instance that holds it too is larger by it than the particle which that instance was assigned to
            room = np.clip((links.found.area - owned) / links.expected.area[i], 0, 1)
            j = int((share * (0.1 + room)).argmax())
            if j not in holds or share[j] == 0 or room[j] < _ROOM:
                continue
            identity, host = int(links.expected.ids[i]), holds[j][0]
            if share[j] >= (_PIECE if identity in self._lost else _INSIDE):
                holds[j].append(identity)
            elif pair_waist(self._labels, identity, host) >= _GRIP:
                judged[min(identity, host), max(identity, host)] = True
        return judged

    def _without_scraps(self, members: list[int], area: dict[int, float]) -> list[int]:
        """Without parts that are no particles: too small beside the largest, or not proven yet. They were part of it
        all along."""
        if len(members) < 2:
            return members
        host = max(members, key=lambda k: (k not in self._fresh, area[k]))
        gone = [k for k in members if k != host and (k in self._fresh or area[k] < _SCRAP * area[host])]
        if self._frame < self.confirm:  # at the beginning nothing is proven
            gone = [k for k in gone if area[k] < _SCRAP * area[host]]
        for k in gone:
            self._rename({k: host}, max(self.births[k].frame, self._frame - self.lookback + 1))
        return [k for k in members if k not in gone]

    def _share(
        self, out: np.ndarray, prior: np.ndarray, region: np.ndarray, members: list[int]
    ) -> dict[tuple[int, int], bool]:
        """Divide one instance (a crop of it, where ``region`` is) among the particles in it, and judge each pair."""
        judged: dict[tuple[int, int], bool] = {}
        parts = divide(region, np.where(np.isin(prior, members), prior, 0))
        if parts.any():
            out[region] = parts[region]
        present = [k for k in members if (parts == k).any()]
        for n, a in enumerate(present):
            for b in present[n + 1 :]:
                pair = (min(a, b), max(a, b))
                judged[pair] = waist_ratio(parts == a, parts == b) >= self.waist
                if judged[pair] and pair not in self._fused and pair_waist(self._labels, a, b) >= self.waist:
                    self._cuts.add(pair)
        for k in set(members) - set(present):
            host = present[0] if present else members[0]
            if k != host:
                judged[min(k, host), max(k, host)] = True
        return judged

    def _remember(self, judged: dict[tuple[int, int], bool], out: np.ndarray) -> None:
        here = set(identities(out))
        for pair in set(self._fused) - set(judged):
            if here.issuperset(pair):
                judged[pair] = False
            elif here & set(pair):
                judged[pair] = True  # one of them has not come back
            else:
                del self._fused[pair]
        for pair, fused in judged.items():
            history = self._fused.setdefault(pair, {})
            history[self._frame] = fused
            for old in [t for t in history if t < self._frame - 10]:
                del history[old]
            if not any(history.values()):
                del self._fused[pair]

    def _coalesce(self, out: np.ndarray, needed: int) -> np.ndarray:
        """Groups of particles without a waist for long enough become one new identity each."""
        groups: list[set[int]] = []
        since: dict[int, list[int]] = {}
        for pair, history in self._fused.items():
            recent = [t for t, fused in history.items() if fused and t >= self._frame - needed]
            if len(recent) < needed or not history.get(self._frame):
                continue
            joined = [g for g in groups if g & set(pair)]
            groups = [g for g in groups if g not in joined] + [set(pair).union(*joined)]
            for k in pair:
                since.setdefault(k, []).extend((min(recent), min(t for t, fused in history.items() if fused)))
        for group in groups:
            start = min(since[k][0] for k in group)
            age = {k: start - self.births[k].frame for k in group}
            if tuple(sorted(group)) in self._cuts and min(age.values()) < self.confirm:
                # there was no waist before either: one particle that was found in two parts when it was first seen
                host, part = sorted(group, key=lambda k: (-age[k], k))
                out = np.where(out == part, host, out).astype(np.int32)
                self._rename({part: host}, max(self.births[part].frame, self._frame - self.lookback + 1))
                continue
            begun = min(min(since[k]) for k in group)
            new = self._new(Birth(start, tuple(sorted(group)), start - begun + 1))
            out = np.where(np.isin(out, list(group)), new, out).astype(np.int32)
            self._rename(dict.fromkeys(group, new), start, keep_births=True)
        return out

    def _split(
        self, found: np.ndarray, windows: list, table: np.ndarray, first: int, parts: list[int], links: Links
    ) -> None:
        """A particle that is found in pieces: one, where no waist is between them; else each piece a new one."""
        identity = int(table[first + 1])
        apart = []
        for j in parts:
            box = around([windows[first], windows[j]], found.shape)
            area = links.found.area[[first, j]]
            whole = area[1] < _SCRAP * area[0] or (
                waist_ratio(found[box] == first + 1, found[box] == j + 1) >= self.waist
            )
            if whole:
                table[j + 1] = identity
            else:
                apart.append(j)
        if not apart:
            return
        if self._frame - self.births[identity].frame < self.confirm and not self.births[identity].parents:
            return  # it was just seen for the first time, as one: the pieces are what there was
        names = [self._new(Birth(self._frame, (identity,))) for _ in (first, *apart)]
        for j, name in zip((first, *apart), names, strict=True):
            table[j + 1] = name
        self._fresh.pop(identity, None)
        self._fused = {pair: history for pair, history in self._fused.items() if identity not in pair}
        if self.confirm > 1:
            self._splits[identity] = (self._frame, names)

    def _rejoin(self, members: list[int], prior: np.ndarray, area: dict[int, float]) -> list[int]:
        """Pieces that are found in one instance again: they never were apart."""
        for parent, (_, names) in list(self._splits.items()):
            if len(set(names) & set(members)) > 1:
                self._undo_split(parent)
                prior[np.isin(prior, names)] = parent
                area[parent] = sum(area.get(k, 0.0) for k in names)
                members = [parent, *(k for k in members if k not in names)]
        return members

    def _undo_split(self, parent: int) -> None:
        start, names = self._splits.pop(parent)
        self._rename(dict.fromkeys(names, parent), start)

    def _settle(self, out: np.ndarray) -> np.ndarray:
        """Decide what has been waiting for ``confirm`` frames: splits, and what is new."""
        here = set(identities(out))
        for parent, (start, names) in list(self._splits.items()):
            if self._frame - start < self.confirm - 1:
                continue
            if here.issuperset(names):
                del self._splits[parent]
            else:
                self._undo_split(parent)
                out = np.where(np.isin(out, names), parent, out).astype(np.int32)
        for identity in list(self._fresh):
            birth = self.births[identity]
            self._fresh[identity] += identity in here and birth.frame < self._frame
            if self._frame - birth.frame >= self.confirm - 1:
                seen = self._fresh.pop(identity)
                if 2 * seen < self.confirm:
                    self._rename({identity: 0}, birth.frame)
                    out = np.where(out == identity, 0, out).astype(np.int32)
        return out

    def _new(self, birth: Birth, fresh: bool = False) -> int:
        identity, self._next = self._next, self._next + 1
        self.births[identity] = birth
        if fresh:
            self._fresh[identity] = 1
        return identity

    def _rename(self, names: dict[int, int], start: int, keep_births: bool = False) -> None:
        """From ``start`` on the old names stand for the new ones, in all that is remembered."""
        if start < self._frame:
            self.revisions.append(Revision(start, dict(names)))
        fused: dict[tuple[int, int], dict[int, bool]] = {}
        for (a, b), history in self._fused.items():
            pair = (names.get(a, a), names.get(b, b))
            if pair[0] != pair[1] and 0 not in pair:
                fused.setdefault((min(pair), max(pair)), {}).update(history)
        self._fused = fused
        for old in names:
            self._fresh.pop(old, None)
            self._lost.pop(old, None)
            if not keep_births:
                self.births.pop(old, None)
