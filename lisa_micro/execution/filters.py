"""Pipelines executed on measured instances: which of them each step keeps.

Conventions, beside those of :mod:`lisa_micro.execution.geometry`:

- An instance is where its centroid is; a point on the line between two regions belongs to the right or the lower one;
  "centre" is the middle half of the width and of the height.
- Ties go to the lower row of the table. An instance whose property could not be measured (NaN) fulfils no comparison
  and takes part in no rank.
- Sets are taken out of all instances of their concept; mean, standard deviation and so on of a comparison out of those
  that the steps before have left.
- Contact relations hold with at least one member of the set, relations of order with every member. No instance is
  related to itself. With an empty set no relation holds (but a count of none), and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lisa_micro.execution.columns import column, holds, statistic
from lisa_micro.execution.geometry import LARGEST, Pairs, TooLargeError
from lisa_micro.execution.outlines import Outlines
from lisa_micro.execution.scene import Instances, Measures
from lisa_micro.language.program import terms
from lisa_micro.language.program.describe import Describer
from lisa_micro.language.program.syntax import (
    Amount,
    Between,
    Box,
    Compare,
    Filter,
    Flag,
    Named,
    Near,
    Ordinal,
    Pair,
    Pipeline,
    Rank,
    Region,
    Relation,
    Relative,
    SetRef,
    SetStatistic,
    Target,
)
from lisa_micro.language.program.writing import render_filter
from lisa_micro.language.vocabulary import FULL_VOCABULARY, Vocabulary
from lisa_micro.language.words import NM_PER_UNIT
from lisa_micro.measure.contacts import MAX_GAP

_CELLS = 1 << 22
"""Distances that are held at a time."""


class Impossible(Exception):
    """A constraint that cannot be applied to these instances; the message is a clause that says why."""


class Executor:
    """Executes the pipelines of one program.

    Args:
        measures: where instances come from.
        targets: the targets of the program, for what ordinals mean.
        vocabulary: for nouns in notes.

    Attributes:
        notes: what a user should know, one sentence each.
    """

    def __init__(self, measures: Measures, targets: Sequence[Target] = (), vocabulary: Vocabulary = FULL_VOCABULARY):
        self.measures, self.targets, self.vocabulary = measures, tuple(targets), vocabulary
        self.describer = Describer(targets, vocabulary)
        self.notes: list[str] = []
        self._sets: dict[SetRef, np.ndarray] = {}
        self._outlines: dict[str, Outlines] = {}
        self._pairs: dict[tuple[str, str], Pairs] = {}

    def instances(self, concept: str) -> Instances:
        """All instances of a concept."""
        return self.measures.instances_of(concept)

    def keep(self, concept: str, pipeline: Pipeline) -> np.ndarray:
        """``(n,)`` bool: which instances of a concept a pipeline keeps.

        Raises:
            Impossible: a step cannot be applied.
        """
        kept = np.ones(len(self.instances(concept)), bool)
        for step in pipeline:
            union = np.zeros_like(kept)
            for part in step.filters:
                union |= self._filter(part, kept, concept)
            kept = kept & ~union if step.excluded else kept & union
        return kept

    def members(self, of: SetRef) -> tuple[str, np.ndarray]:
        """The concept of a set, and ``(m,)`` bool: which instances of that concept it holds."""
        if isinstance(of, Ordinal):
            if not 1 <= of.number <= len(self.targets):
                raise Impossible(f"there is no selection {of.number}")
            target = self.targets[of.number - 1]
            if target.problem:
                raise Impossible(f"selection {of.number} was not understood")
            of = Named(target.concept or "particle", target.pipeline)
        if of not in self._sets:
            self._sets[of] = self.keep(of.concept, of.pipeline)
        return of.concept, self._sets[of]

    def pairs(self, one: str, other: str) -> Pairs:
        """Relations between the instances of two concepts.

        Raises:
            Impossible: one of them has no outlines.
        """
        if (one, other) not in self._pairs:
            for concept in (one, other):
                if concept not in self._outlines:
                    instances = self.instances(concept)
                    if instances.labels is None:
                        raise Impossible(f"the {self.vocabulary.nouns(concept)[1]} have no outlines to compare")
                    self._outlines[concept] = Outlines(instances)
            self._pairs[one, other] = Pairs(self._outlines[one], self._outlines[other], one == other)
        return self._pairs[one, other]

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _column(self, prop: str, concept: str) -> np.ndarray:
        values = column(prop, self.instances(concept), concept)
        if values is None:
            raise Impossible(f"the {prop} of {self.vocabulary.nouns(concept)[1]} was not measured")
        return values

    def _filter(self, part: Filter, kept: np.ndarray, concept: str) -> np.ndarray:
        match part:
            case Rank():
                return self._rank(part, kept, concept)
            case Compare(prop, op, limit):
                values = self._column(prop, concept)
                return holds(*self._limit(values, prop, op, limit, kept, part))
            case Between(prop, low, high, unit):
                values = self._column(prop, concept) * self._factor(prop, unit, part)
                return holds(values, ">=", low) & holds(values, "<=", high)
            case Flag():
                return self._flag(part, concept)
            case Region(name):
                return self._region(name, concept)
            case Box(x0, y0, x1, y1):
                x, y = self._centroids(concept)
                return (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
            case Near():
                return self._near(part, kept, concept)
            case Pair(separate):
                return self._pair(separate, kept, concept)
            case Relation():
                return self._relation(part, concept)
        raise TypeError(f"not a filter: {part!r}")

    # orders

    def _first(self, keys: Sequence[np.ndarray], usable: np.ndarray, first: int, last: int) -> np.ndarray:
        """The ``first``-th to the ``last``-th of the usable ones, smallest keys first, ties in order of rows."""
        rows = np.flatnonzero(usable)
        if len(rows) < last:
            there = f"there {'is' if len(rows) == 1 else 'are'} only {len(rows)}"
            asked = f"{last}" if first == 1 else f"number {first}" if first == last else f"numbers {first} to {last}"
            self._note(f"Asked for {asked}, but {there}.")
        order = np.lexsort(tuple(key[rows] for key in reversed(keys)))
        out = np.zeros_like(usable)
        out[rows[order[first - 1 : last]]] = True
        return out

    def _rank(self, part: Rank, kept: np.ndarray, concept: str) -> np.ndarray:
        if part.by in terms.RANK_WORDS:
            prop, descending = terms.RANK_WORDS[part.by]
            if concept == "neck" and prop == "area":
                prop = "neck width"
        else:
            end, _, prop = part.by.partition(" ")
            descending = end == terms.HIGHEST
        values = self._column(prop, concept)
        usable = kept & ~np.isnan(values)
        last = part.last
        if part.percent:
            there = int(usable.sum())
            last = min(there, max(1, int(np.floor(there * part.last / 100 + 0.5))))
        return self._first([-values if descending else values], usable, part.first, last)

    def _near(self, part: Near, kept: np.ndarray, concept: str) -> np.ndarray:
        x, y = self._centroids(concept)
        sign = -1 if part.farthest else 1
        if isinstance(part.to, str | tuple):
            distance = self._to_place(part.to, x, y)
            return self._first([sign * distance], kept & np.isfinite(distance), 1, part.n)
        other, members = self.members(part.to)
        if not members.any():
            self._empty(part.to)
            return np.zeros_like(kept)
        usable = kept & ~members if other == concept else kept
        gaps = self.pairs(concept, other).nearest(usable, members)
        ox, oy = (values[members] for values in self._centroids(other))
        centres = np.zeros(len(x))
        step = max(1, _CELLS // len(ox))
        for k in range(0, len(x), step):
            rows = slice(k, k + step)
            centres[rows] = np.hypot(x[rows, None] - ox, y[rows, None] - oy).min(axis=1)
        return self._first([sign * gaps, sign * centres], usable & np.isfinite(gaps), 1, part.n)

    def _to_place(self, to: str | tuple[float, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
        height, width = self.measures.shape
        edges = {"left edge": x, "right edge": width - 1 - x, "top edge": y, "bottom edge": height - 1 - y}
        if isinstance(to, str):
            if to in edges:
                return edges[to]
            if to == "image edge":
                return np.min(list(edges.values()), axis=0)
            if to == "centre":
                to = ((width - 1) / 2, (height - 1) / 2)
            else:
                to = (0.0 if "left" in to else width - 1.0, 0.0 if "top" in to else height - 1.0)
        return np.hypot(x - to[0], y - to[1])

    def _pair(self, separate: bool, kept: np.ndarray, concept: str) -> np.ndarray:
        pairs, least = self.pairs(concept, concept), MAX_GAP if separate else -1.0
        gaps = pairs.nearest(kept, kept, least)
        out = np.zeros_like(kept)
        if not np.isfinite(gaps).any():
            self._note(f"There is no pair of {self.vocabulary.nouns(concept)[1]} to compare.")
            return out
        a = int(np.argmin(gaps))
        others = np.flatnonzero(kept)
        others = others[(pairs.bounds(a, others) <= gaps[a]) & (others != a)]
        partners = [b for b in others.tolist() if least < pairs.gap(a, b) <= gaps[a]]
        out[[a, partners[0]]] = True
        return out

    # comparisons

    def _limit(self, values, prop: str, op: str, limit, kept: np.ndarray, part: Compare):
        """Values and limit in one unit, for :func:`holds`."""
        if isinstance(limit, Amount):
            return values * self._factor(prop, limit.unit, part), op, limit.value
        if isinstance(limit, Relative):
            known = values[kept & np.isfinite(values)]
            number = limit.factor * statistic(limit.statistic, known)
            if limit.spread:
                number += limit.spread * statistic("std", known)
            if np.isnan(number):
                self._note(f"Too few instances are left to apply '{render_filter(part, self.vocabulary)}'.")
            return values, op, number
        assert isinstance(limit, SetStatistic)
        concept, members = self.members(limit.of)
        others = self._column(prop, concept)[members] if members.any() else np.zeros(0)
        number = limit.factor * statistic(limit.statistic, others[np.isfinite(others)])
        if np.isnan(number):
            self._empty(limit.of)
        return values, op, number

    def _factor(self, prop: str, unit: str, part: Filter) -> float:
        """What turns px (px2) into a unit.

        Raises:
            Impossible: that needs a pixel size, which is unknown.
        """
        dimension = terms.PROPERTIES[prop].dimension
        if dimension == "none" or unit in ("px", "px2"):
            return 1.0
        size = self.measures.pixel_size_nm
        squared = "2" if dimension == "area" else ""
        if not unit:
            text = render_filter(part, self.vocabulary)
            self._note(f"'{text}' was taken in {'nm' if size else 'px'}{squared}.")
            unit = f"nm{squared}"
            if size is None:
                return 1.0
        if size is None:
            raise Impossible(f"the pixel size is unknown, so {unit} cannot be told; give the pixel size or ask in px")
        return (size**2 if squared else size) / NM_PER_UNIT[unit]

    # places and flags

    def _centroids(self, concept: str) -> tuple[np.ndarray, np.ndarray]:
        table = self.instances(concept).table
        return table["x"].to_numpy(float), table["y"].to_numpy(float)

    def _region(self, name: str, concept: str) -> np.ndarray:
        height, width = self.measures.shape
        # pixel centres lie at integers, so the image runs from -0.5 to width - 0.5
        x, y = (values + 0.5 for values in self._centroids(concept))
        if name == "centre":
            return (np.abs(x - width / 2) <= width / 4) & (np.abs(y - height / 2) <= height / 4)
        parts = 3 if name in terms.THIRDS else 2
        column_, row = np.floor(parts * x / width), np.floor(parts * y / height)
        out = np.ones(len(x), bool)
        for word in name.split():
            if word == "left":
                out &= column_ < 1
            elif word == "right":
                out &= column_ >= parts - 1
            elif word == "top":
                out &= row < 1
            elif word == "bottom":
                out &= row >= parts - 1
        if name == "middle column":
            out = column_ == 1
        elif name == "middle row":
            out = row == 1
        return out

    def _flag(self, part: Flag, concept: str) -> np.ndarray:
        table = self.instances(concept).table
        key = {"touching border": "touches_border", "in agglomerate": "agglomerate"}.get(part.name, "contacts")
        if key not in table:
            raise Impossible(f"it was not measured which {self.vocabulary.nouns(concept)[1]} are {part.name}")
        out = table[key].to_numpy() > 0
        return out == (part.negated == (part.name == "isolated"))

    # relations

    def _empty(self, of: SetRef) -> None:
        self._note(f"There are no {self.describer.group(of).removeprefix('the ')} to compare with.")

    def _relation(self, part: Relation, concept: str) -> np.ndarray:
        other, members = self.members(part.of)
        n = len(self.instances(concept))
        if part.kind == terms.AMONG:
            if other != concept:
                raise Impossible(
                    f"{self.vocabulary.nouns(concept)[1]} cannot be among {self.vocabulary.nouns(other)[1]}"
                )
            return members.copy()
        if not members.any() and not part.op:
            self._empty(part.of)
            return np.zeros(n, bool)
        if part.kind in terms.ORDER_RELATIONS:
            return self._ordered(part.kind, concept, other, members)
        pairs = self._contact(part, concept, other, members)
        related = np.bincount(pairs[:, 0], minlength=n)
        return holds(related.astype(float), part.op, part.number) if part.op else related > 0

    def _contact(self, part: Relation, concept: str, other: str, members: np.ndarray) -> np.ndarray:
        """``(k, 2)`` pairs of an instance and a member of the other ones between which a contact relation holds."""
        pairs = self.pairs(concept, other)
        match part.kind:
            case "touching":
                return pairs.near(MAX_GAP, members)
            case "within":
                distance = part.distance or Amount(0.0)
                return pairs.near(distance.value / self._factor("gap", distance.unit, part), members)
            case "inside":
                return self._inside(concept, other, np.ones(len(self.instances(concept)), bool), members)
        holding = self._inside(other, concept, members, np.ones(len(self.instances(concept)), bool))[:, ::-1]
        if part.kind == "containing":
            return holding
        sharing = pairs.overlaps[members[pairs.overlaps[:, 1]]]
        return np.unique(np.concatenate([sharing, holding]), axis=0)

    def _inside(self, inner: str, outer: str, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """As :meth:`lisa_micro.execution.geometry.Pairs.inside`.

        Raises:
            Impossible: what may hold others is too large to be looked at in a plane that is read part by part.
        """
        try:
            return self.pairs(inner, outer).inside(ones, others)
        except TooLargeError as error:
            nouns = self.vocabulary.nouns(outer)[1]
            raise Impossible(
                f"some of the {nouns} are longer than {LARGEST} px, so what lies inside them cannot be told in an "
                "image that is read part by part; crop or bin it"
            ) from error

    def _ordered(self, kind: str, concept: str, other: str, members: np.ndarray) -> np.ndarray:
        if kind in ("larger than", "smaller than"):
            prop = "neck width" if concept == other == "neck" else "area"
            mine, theirs = self._column(prop, concept), self._column(prop, other)
            sign = 1 if kind == "larger than" else -1
        else:
            axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[kind]
            mine, theirs = self._centroids(concept)[axis], self._centroids(other)[axis]
        numbers = np.flatnonzero(members)
        if not len(numbers):
            return np.zeros(len(mine), bool)
        # beyond every member is beyond the utmost one; the utmost one itself, beyond the second
        values = sign * theirs[numbers]
        values = np.where(np.isnan(values), np.inf, values)  # nothing is beyond a value that was not measured
        order = np.argsort(-values, kind="stable")
        limits, counted = np.full(len(mine), values[order[0]]), np.full(len(mine), len(numbers))
        if concept == other:
            limits[numbers[order[0]]] = values[order[1]] if len(numbers) > 1 else np.inf
            counted[numbers] -= 1
        return (sign * mine > limits) & (counted > 0)
