"""Tracking by overlap: links the instances of each frame to the tracks of the previous frame by geometry alone.

The linear assignment uses SciPy's solver. laptrack solves the same problem for whole videos, but closes gaps and
detects splits and merges only once all frames are known, so that it cannot work frame by frame.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lisa_micro.measure.contacts import compact
from lisa_micro.measure.waists import divide, pair_waist, waist_ratio
from lisa_micro.models.trackers.base import check_labels
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
from lisa_micro.protocols import Frame
from lisa_micro.types import InputError

MERGED_WAIST = 0.92
"""Waist ratio (:func:`lisa_micro.measure.waists.waist_ratio`) at and above which two particles have coalesced."""
_INSIDE = 0.3  # share of a particle that an instance must cover to contain it
_PIECE = 0.5  # share of an instance that a particle must cover for the instance to be a piece of it
_ROOM = 0.1  # share of a particle's area that an instance must have left beside its other particle
_GRIP = 0.6  # waist ratio from which a particle that disappears has merged into its neighbour
_FRAGMENT = 0.02  # share of the largest part's area below which a part is a fragment, not a particle


class OverlapTracker:
    """Links instances to tracks by overlap and distance; see :class:`lisa_micro.models.trackers.base.Tracker`.

    - A particle that is missing for up to ``gap`` frames gets its track ID back.
    - An instance that covers several particles is divided among them as long as a waist separates them, even if the
      segmentation reports a single instance. Once there is no waist in ``confirm`` of the last ``confirm + 1`` frames,
      the particles have coalesced: a **new** track starts, with those particles as parents.
    - A particle detected in several pieces keeps its track ID if no waist separates them. Otherwise each piece starts a
      new track with one parent, unless the pieces are one instance again within ``confirm`` frames.
    - A track detected in less than half of its first ``confirm`` frames is discarded.

    With ``confirm`` above 1, a decision may change up to :attr:`lookback` frames. After each step, :attr:`revisions`
    lists the changes to labels that were returned earlier. Frames count from 0, the frame of :meth:`reset`.

    Args:
        confirm: number of frames for which a change must last, at least 1.
        gap: number of frames after which a missing particle is lost.
        waist: see :data:`MERGED_WAIST`.

    Attributes:
        births: track ID -> :class:`Birth`, for current and past tracks.
        revisions: revisions of the last step.

    Raises:
        InputError: if an argument is out of range.
    """

    name = "overlap"
    weights_sha256 = ""

    def __init__(self, confirm: int = 1, gap: int = 5, waist: float = MERGED_WAIST):
        if confirm < 1 or gap < 0 or not 0 < waist <= 1:
            raise InputError(
                f"confirm must be at least 1, gap at least 0 and waist in (0, 1], not {confirm}, {gap} and {waist}."
            )
        self.confirm, self.gap, self.waist = confirm, gap, waist
        self.births: dict[int, Birth] = {}
        self.revisions: list[Revision] = []
        self._labels = np.zeros((0, 0), np.int32)
        self._started = False

    @property
    def lookback(self) -> int:
        """Largest number of frames that a revision may change, the current frame included."""
        return self.confirm + 1 if self.confirm > 1 else 1

    def reset(self, first_frame: Frame, first_labels: np.ndarray) -> None:
        """Start a new video; see :meth:`lisa_micro.models.trackers.base.Tracker.reset`."""
        self._labels, self._started = check_labels(first_labels, frame_shape(first_frame)), True
        present = identities(self._labels)
        self.births, self.revisions = {k: Birth(0) for k in present}, []
        self._frame, self._next = 0, max(present, default=0) + 1
        self._pace = np.zeros(2)
        self._lost = Lost()
        self._fused: dict[tuple[int, int], dict[int, bool]] = {}  # pair -> frame -> whether the waist is missing
        self._cuts: set[tuple[int, int]] = set()  # joined pairs that had no waist before either
        self._splits: dict[int, tuple[int, list[int]]] = {}  # track ID -> (frame, pieces), undecided
        self._fresh: dict[int, int] = (
            dict.fromkeys(present, 1) if self.confirm > 1 else {}
        )  # track ID -> number of detections

    def step(
        self,
        frame: Frame,
        labels: np.ndarray | None = None,
        expected: np.ndarray | None = None,
        shift: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Link the next frame.

        Args:
            frame: next frame, of the same size as the first; its intensities are ignored.
            labels: ``(H, W)`` integers, the instances detected in this frame, numbered in any order. If ``None``, all
                particles are assumed to move on with their common velocity.
            expected: ``(H, W)`` integers, track IDs that another tracker predicts for this frame. If ``None``, the
                previous positions, shifted by the common velocity.
            shift: displacement of the whole image since the previous frame, x, y in px, if known.

        Returns:
            ``(H, W)`` int32 track IDs.

        Raises:
            InputError: if :meth:`reset` was not called, or if the frame or the labels are invalid or of another size.
        """
        if not self._started:
            raise InputError("The tracker has not been started; call reset with the first frame and its labels.")
        if frame_shape(frame) != self._labels.shape:
            raise InputError(
                f"The frame has the shape {frame_shape(frame)} (H, W), but the first frame has {self._labels.shape}."
            )
        given = None if labels is None else check_labels(labels, self._labels.shape)
        predicted = None if expected is None else check_labels(expected, self._labels.shape)
        self._frame += 1
        self.revisions = []
        if given is None:
            step = np.rint(self._pace if shift is None else shift).astype(int)
            self._labels = moved(self._labels, (int(step[0]), int(step[1]))) if predicted is None else predicted
            return self._labels.copy()
        found = compact(given)[0]
        prior, step = self._expected(predicted, shift)
        links = link(prior, found)
        more = np.rint(links.shift).astype(int)
        if predicted is None and shift is None and np.abs(more).max() > 1:
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
        """Finish the video and return the last revisions.

        Particles without a waist in the last frame count as coalesced, although this was not confirmed for ``confirm``
        frames. Splits that were not confirmed are undone.
        """
        self.revisions = []
        if self._started:
            self._frame += 1  # all frames were returned, so every change is a revision
            for parent in list(self._splits):
                self._labels[np.isin(self._labels, self._splits[parent][1])] = parent
                self._undo_split(parent)
            for history in self._fused.values():
                history[self._frame] = history.get(self._frame - 1, False)
            self._labels = self._coalesce(self._labels, 2)
        return self.revisions

    # prediction

    def _expected(
        self, predicted: np.ndarray | None, shift: tuple[float, float] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict the labels of this frame, lost particles included; also return the common displacement."""
        step = np.zeros(2, int)
        if predicted is None:
            step = np.rint(self._pace if shift is None else shift).astype(int)
            prior = moved(self._labels, (int(step[0]), int(step[1]))).copy()
            self._lost.move(step)
        else:
            # the other tracker may still propagate tracks that have ended here
            known = [0, *identities(self._labels), *self._lost]
            prior = np.where(np.isin(predicted, known), predicted, 0)
        self._lost.paint(prior)
        return prior, step

    def _keep_lost(self, prior: np.ndarray, out: np.ndarray) -> None:
        """Add missing particles, and remove those that are back or have been missing for too long."""
        here = set(identities(out))
        ended = {p for birth in self.births.values() for p in birth.parents}
        for identity in set(identities(self._labels)) - here - ended:
            if identity in self.births:
                self._lost[identity] = (np.stack(np.nonzero(prior == identity)), self._frame - 1)
        for identity, (_, seen) in list(self._lost.items()):
            if identity in here or identity in ended or self._frame - seen > self.gap:
                del self._lost[identity]

    # assignment

    def _assign(self, prior: np.ndarray, found: np.ndarray, links: Links) -> np.ndarray:
        ids = links.expected.ids
        holds: dict[int, list[int]] = {j: [int(ids[i])] for i, j in links.pairs.tolist()}  # instance - 1 -> track IDs
        merged = self._join_unmatched(links, holds)
        pieces = links.pieces(_PIECE)
        table = np.zeros(len(links.found.ids) + 1, np.int64)
        windows = ndimage.find_objects(found)
        several: list[int] = []
        area = dict(zip(ids.tolist(), links.expected.area.tolist(), strict=True))
        for j, members in holds.items():
            members = self._rejoin(members, prior, area)
            members = self._without_fragments(members, area)
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
            merged |= self._share(out[window], prior[window], found[window] == j + 1, holds[j])
        self._remember(merged, out)
        return self._coalesce(out, self.confirm)

    def _join_unmatched(self, links: Links, holds: dict[int, list[int]]) -> dict[tuple[int, int], bool]:
        """Add unlinked particles to the instance that contains them.

        Returns:
            pairs whose particle disappeared into its neighbour without being contained in an instance.
        """
        merged: dict[tuple[int, int], bool] = {}
        matched = set(links.pairs[:, 0].tolist())
        owned = np.zeros(len(links.found.ids))
        owned[links.pairs[:, 1]] = links.expected.area[links.pairs[:, 0]]
        for i in range(len(links.expected.ids)):
            if i in matched or not len(links.found.ids):
                continue
            share = links.common[i] / links.expected.area[i]
            # an instance that contains this particle too exceeds its own particle by about this particle's area
            room = np.clip((links.found.area - owned) / links.expected.area[i], 0, 1)
            j = int((share * (0.1 + room)).argmax())
            if j not in holds or share[j] == 0 or room[j] < _ROOM:
                continue
            identity, host = int(links.expected.ids[i]), holds[j][0]
            if share[j] >= (_PIECE if identity in self._lost else _INSIDE):
                holds[j].append(identity)
            elif pair_waist(self._labels, identity, host) >= _GRIP:
                merged[min(identity, host), max(identity, host)] = True
        return merged

    def _without_fragments(self, members: list[int], area: dict[int, float]) -> list[int]:
        """Merge fragments into the largest member: parts that are too small, or tracks that are not confirmed yet."""
        if len(members) < 2:
            return members
        host = max(members, key=lambda k: (k not in self._fresh, area[k]))
        fragments = [k for k in members if k != host and (k in self._fresh or area[k] < _FRAGMENT * area[host])]
        if self._frame < self.confirm:  # no track is confirmed at the start of the video
            fragments = [k for k in fragments if area[k] < _FRAGMENT * area[host]]
        for k in fragments:
            self._rename({k: host}, max(self.births[k].frame, self._frame - self.lookback + 1))
        return [k for k in members if k not in fragments]

    def _share(
        self, out: np.ndarray, prior: np.ndarray, region: np.ndarray, members: list[int]
    ) -> dict[tuple[int, int], bool]:
        """Divide one instance, given as the crop ``region``, among its particles.

        Returns:
            for each pair of particles whether the waist between them is missing.
        """
        merged: dict[tuple[int, int], bool] = {}
        parts = divide(region, np.where(np.isin(prior, members), prior, 0))
        if parts.any():
            out[region] = parts[region]
        present = [k for k in members if (parts == k).any()]
        for n, a in enumerate(present):
            for b in present[n + 1 :]:
                pair = (min(a, b), max(a, b))
                merged[pair] = waist_ratio(parts == a, parts == b) >= self.waist
                if merged[pair] and pair not in self._fused and pair_waist(self._labels, a, b) >= self.waist:
                    self._cuts.add(pair)
        for k in set(members) - set(present):
            host = present[0] if present else members[0]
            if k != host:
                merged[min(k, host), max(k, host)] = True
        return merged

    def _remember(self, merged: dict[tuple[int, int], bool], out: np.ndarray) -> None:
        here = set(identities(out))
        for pair in set(self._fused) - set(merged):
            if here.issuperset(pair):
                merged[pair] = False
            elif here & set(pair):
                merged[pair] = True  # one of the two is still missing
            else:
                del self._fused[pair]
        for pair, fused in merged.items():
            history = self._fused.setdefault(pair, {})
            history[self._frame] = fused
            for old in [t for t in history if t < self._frame - 10]:
                del history[old]
            if not any(history.values()):
                del self._fused[pair]

    def _coalesce(self, out: np.ndarray, needed: int) -> np.ndarray:
        """Start a new track for each group of particles that had no waist for ``needed`` frames."""
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
                # no waist before either: one particle that was first detected in two parts
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
        """Keep a particle whose pieces have no waist between them; otherwise start a track for each piece."""
        identity = int(table[first + 1])
        apart = []
        for j in parts:
            box = around([windows[first], windows[j]], found.shape)
            area = links.found.area[[first, j]]
            whole = area[1] < _FRAGMENT * area[0] or (
                waist_ratio(found[box] == first + 1, found[box] == j + 1) >= self.waist
            )
            if whole:
                table[j + 1] = identity
            else:
                apart.append(j)
        if not apart:
            return
        if self._frame - self.births[identity].frame < self.confirm and not self.births[identity].parents:
            return  # the track has just started, as one instance; the pieces are the true particles
        names = [self._new(Birth(self._frame, (identity,))) for _ in (first, *apart)]
        for j, name in zip((first, *apart), names, strict=True):
            table[j + 1] = name
        self._fresh.pop(identity, None)
        self._fused = {pair: history for pair, history in self._fused.items() if identity not in pair}
        if self.confirm > 1:
            self._splits[identity] = (self._frame, names)

    def _rejoin(self, members: list[int], prior: np.ndarray, area: dict[int, float]) -> list[int]:
        """Undo the split of pieces that are one instance again."""
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
        """Confirm or undo the splits and new tracks of ``confirm`` frames ago."""
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
        """Rename tracks from frame ``start`` on, in the state and as a revision."""
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
