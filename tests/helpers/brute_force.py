"""Programs executed the slow way: straight from the pixels of label images, with sets and loops, to check the executor.

Nothing of ``lisa_micro.execution`` is used. Perimeter and Feret diameters, which need a definition of their own, are
taken from ``lisa_micro.measure``; everything else is counted here.
"""

from __future__ import annotations

import math
import statistics
from functools import cache

import numpy as np

from lisa_micro.language.program import syntax as s
from lisa_micro.measure.structures import concept_properties

NM = {"nm": 1.0, "um": 1000.0, "A": 0.1, "nm2": 1.0, "um2": 1e6}
AREAS = ("area",)
LENGTHS = (
    "diameter", "radius", "length", "width", "perimeter", "neck width", "neck radius", "gap", "thickness", "opening",
)  # fmt: skip


class CannotTell(Exception):
    """The constraint cannot be applied."""


class Scene:
    """Label images of one concept each, as lists of pixel sets."""

    def __init__(self, labels: dict[str, np.ndarray], pixel_size: float | None, pixels: np.ndarray | None):
        self.labels, self.size, self.pixels = labels, pixel_size, pixels
        self.height, self.width = next(iter(labels.values())).shape
        self.spots = {
            concept: {int(k): set(map(tuple, np.argwhere(image == k).tolist())) for k in np.unique(image) if k > 0}
            for concept, image in labels.items()
        }

    def of(self, concept: str) -> dict[int, set]:
        return self.spots.get(concept, {})

    @cache  # noqa: B019
    def gap(self, concept: str, k: int, other: str, m: int) -> float:
        one, two = self.of(concept)[k], self.of(other)[m]
        if one & two:
            return 0.0
        a, b = np.array(sorted(one), float), np.array(sorted(two), float)
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return math.sqrt(squared.min()) - 1

    def centroid(self, concept: str, k: int) -> tuple[float, float]:
        rows, columns = zip(*self.of(concept)[k], strict=True)
        return sum(columns) / len(columns), sum(rows) / len(rows)

    def neighbours(self, concept: str, k: int) -> list[int]:
        return [m for m in self.of(concept) if m != k and self.gap(concept, k, concept, m) <= 2 + 1e-9]

    @cache  # noqa: B019
    def filled(self, concept: str, k: int) -> frozenset:
        """The pixels of an instance and of the holes that it encloses: what a flood from outside does not reach."""
        spot = self.of(concept)[k]
        outside, todo = set(), [(-1, -1)]
        while todo:
            row, column = todo.pop()
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in spot or near in outside:
                    continue
                if -1 <= near[0] <= self.height and -1 <= near[1] <= self.width:
                    outside.add(near)
                    todo.append(near)
        everything = {(row, column) for row in range(self.height) for column in range(self.width)}
        return frozenset(everything - outside)

    def inside(self, concept: str, k: int, other: str, m: int) -> bool:
        spot = self.of(concept)[k]
        return len(spot & self.filled(other, m)) >= 0.9 * len(spot)

    @cache  # noqa: B019
    def measured(self, concept: str) -> dict[str, np.ndarray]:
        labels = self.labels.get(concept)
        labels = np.zeros_like(next(iter(self.labels.values()))) if labels is None else labels
        return concept_properties(labels, concept, self.pixels)

    def value(self, prop: str, concept: str, k: int) -> float:
        spot = self.of(concept)[k]
        if prop == "area":
            return float(len(spot))
        if prop in ("diameter", "radius"):
            return math.sqrt(4 * len(spot) / math.pi) / (2 if prop == "radius" else 1)
        if prop == "contacts":
            return float(len(self.neighbours(concept, k)))
        if prop == "gap":
            return min((self.gap(concept, k, concept, m) for m in self.of(concept) if m != k), default=math.inf)
        if prop == "intensity":
            if self.pixels is None:
                raise CannotTell(prop)
            return float(np.mean([self.pixels[p] for p in spot]))
        if prop in ("neck width", "neck radius") and concept == "neck":
            return math.sqrt(2 * len(spot)) / (2 if prop == "neck radius" else 1)
        unmeasured = prop in ("thickness", "opening") and prop not in self.measured(concept)
        if unmeasured or (concept == "neck" and prop == "neck ratio"):
            raise CannotTell(prop)
        key = {"neck radius": "neck_width"}.get(prop, prop.replace(" ", "_"))
        found = self.measured(concept)
        number = float(found[key][list(found["label"]).index(k)])
        return number / 2 if prop == "neck radius" else number

    def values(self, prop: str, concept: str, kept) -> dict[int, float]:
        if not self.of(concept):
            unmeasured = prop in ("thickness", "opening") and prop not in self.measured(concept)
            if unmeasured or (concept == "neck" and prop == "neck ratio"):
                raise CannotTell(prop)
            return {}
        return {k: self.value(prop, concept, k) for k in kept}


def same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=0.0)


def compare(value: float, op: str, limit: float) -> bool:
    if math.isnan(value) or math.isnan(limit):
        return False
    if op == "~":
        return abs(value - limit) <= 0.1 * abs(limit) * (1 + 1e-9)
    if op == "=":
        return same(value, limit)
    if same(value, limit):
        return op in (">=", "<=")
    return value > limit if op[0] == ">" else value < limit


def summary(name: str, values: list[float]) -> float:
    values = [v for v in values if math.isfinite(v)]
    if not values or (name == "std" and len(values) < 2):
        return math.nan
    if name in ("D10", "D90"):
        return float(np.percentile(values, int(name[1:])))
    functions = {"mean": statistics.fmean, "median": statistics.median, "min": min, "max": max, "std": statistics.stdev}
    return functions[name](values)


class BruteForce:
    def __init__(self, scene: Scene, targets):
        self.scene, self.targets = scene, targets

    def select(self, concept: str, pipeline) -> set[int]:
        kept = set(self.scene.of(concept))
        for step in pipeline:
            union: set[int] = set()
            for part in step.filters:
                union |= self.filter(part, kept, concept) & kept
            kept = kept - union if step.excluded else union
        return kept

    def members(self, of) -> tuple[str, set[int]]:
        if isinstance(of, s.Ordinal):
            target = self.targets[of.number - 1]
            return target.concept, self.select(target.concept, target.pipeline)
        return of.concept, self.select(of.concept, of.pipeline)

    def px(self, amount: float, prop: str, unit: str) -> float:
        """An amount in px (px2)."""
        if (prop not in LENGTHS and prop not in AREAS) or unit in ("px", "px2"):
            return amount
        if self.scene.size is None:
            if unit:
                raise CannotTell("pixel size")
            return amount
        size = self.scene.size ** (2 if prop in AREAS else 1)
        return amount * NM[unit or ("nm2" if prop in AREAS else "nm")] / size

    def filter(self, part, kept: set[int], concept: str) -> set[int]:
        everything = set(self.scene.of(concept))
        match part:
            case s.Rank(by, first, last, percent):
                return self.rank(by, first, last, percent, kept, concept)
            case s.Compare(prop, op, limit):
                values = self.scene.values(prop, concept, everything)
                if isinstance(limit, s.Amount):
                    number = self.px(limit.value, prop, limit.unit)
                elif isinstance(limit, s.Relative):
                    left = [values[k] for k in kept]
                    number = limit.factor * summary(limit.statistic, left)
                    if limit.spread:
                        number += limit.spread * summary("std", left)
                else:
                    other, members = self.members(limit.of)
                    theirs = self.scene.values(prop, other, members) if members else {}
                    number = limit.factor * summary(limit.statistic, list(theirs.values()))
                return {k for k in everything if compare(values[k], op, number)}
            case s.Between(prop, low, high, unit):
                values = self.scene.values(prop, concept, everything)
                low, high = self.px(low, prop, unit), self.px(high, prop, unit)
                return {k for k in everything if compare(values[k], ">=", low) and compare(values[k], "<=", high)}
            case s.Flag(name, negated):
                return {k for k in everything if self.flag(name, concept, k) != negated}
            case s.Region(name):
                return {k for k in everything if self.in_region(name, *self.scene.centroid(concept, k))}
            case s.Box(x0, y0, x1, y1):
                where = {k: self.scene.centroid(concept, k) for k in everything}
                return {k for k, (x, y) in where.items() if x0 <= x <= x1 and y0 <= y <= y1}
            case s.Near(n, to, farthest):
                return self.near(n, to, farthest, kept, concept)
            case s.Pair(separate):
                return self.pair(separate, kept, concept)
            case s.Relation():
                return self.relation(part, concept)
        raise AssertionError(part)

    def rank(self, by, first, last, percent, kept, concept) -> set[int]:
        prop = {
            "largest": "neck width" if concept == "neck" else "area",
            "smallest": "neck width" if concept == "neck" else "area",
            "longest": "length", "roundest": "circularity", "darkest": "intensity", "brightest": "intensity",
        }.get(by) or by.split(" ", 1)[1]  # fmt: skip
        down = by in ("largest", "longest", "roundest", "brightest") or by.startswith("highest")
        values = {k: v for k, v in self.scene.values(prop, concept, set(self.scene.of(concept))).items() if k in kept}
        if percent and kept:
            first, last = 1, max(1, math.floor(len(kept) * last / 100 + 0.5))
        order = sorted(values, key=lambda k: (-values[k] if down else values[k], k))
        return set(order[first - 1 : last])

    def flag(self, name: str, concept: str, k: int) -> bool:
        if name == "touching border":
            rows, columns = zip(*self.scene.of(concept)[k], strict=True)
            return min(rows) == 0 or min(columns) == 0 or max(rows) == self.scene.height - 1 or (
                max(columns) == self.scene.width - 1
            )  # fmt: skip
        near = self.scene.neighbours(concept, k)
        if name == "in agglomerate":
            group, todo = {k}, [k]
            while todo:
                for m in self.scene.neighbours(concept, todo.pop()):
                    if m not in group:
                        group.add(m)
                        todo.append(m)
            return len(group) >= 3
        return bool(near) == (name == "in contact")

    def in_region(self, name: str, x: float, y: float) -> bool:
        across, down = (x + 0.5) / self.scene.width, (y + 0.5) / self.scene.height
        if name == "centre":
            return abs(across - 0.5) <= 0.25 and abs(down - 0.5) <= 0.25
        if name in ("middle column", "middle row"):
            place = across if name.endswith("column") else down
            return 1 / 3 <= place < 2 / 3
        edge = 1 / 3 if name.endswith("third") else 1 / 2
        tests = {
            "left": across < edge, "right": across >= 1 - edge, "top": down < edge, "bottom": down >= 1 - edge,
        }  # fmt: skip
        return all(tests[word] for word in name.split() if word in tests)

    def near(self, n, to, farthest, kept, concept) -> set[int]:
        height, width = self.scene.height, self.scene.width
        distances = {}
        other, members = ("", set()) if isinstance(to, str | tuple) else self.members(to)
        for k in kept:
            x, y = self.scene.centroid(concept, k)
            edges = {"left edge": x, "right edge": width - 1 - x, "top edge": y, "bottom edge": height - 1 - y}
            corners = {
                f"{v} {h} corner": math.hypot(
                    x - (0 if h == "left" else width - 1), y - (0 if v == "top" else height - 1)
                )
                for v in ("top", "bottom") for h in ("left", "right")
            }  # fmt: skip
            places = edges | corners | {"image edge": min(edges.values())}
            places["centre"] = math.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
            if isinstance(to, str):
                distances[k] = (places[to],)
            elif isinstance(to, tuple):
                distances[k] = (math.hypot(x - to[0], y - to[1]),)
            elif members and not (other == concept and k in members):
                gap = min(self.scene.gap(concept, k, other, m) for m in members)
                centres = [self.scene.centroid(other, m) for m in members]
                distances[k] = (gap, min(math.hypot(x - a, y - b) for a, b in centres))
        sign = -1 if farthest else 1
        return set(sorted(distances, key=lambda k: (*(sign * d for d in distances[k]), k))[:n])

    def pair(self, separate, kept, concept) -> set[int]:
        best, found = math.inf, set()
        for k in sorted(kept):
            for m in sorted(kept):
                gap = self.scene.gap(concept, k, concept, m) if k < m else math.inf
                if gap < best and not (separate and gap <= 2):
                    best, found = gap, {k, m}
        return found

    def relation(self, part, concept) -> set[int]:
        other, members = self.members(part.of)
        if part.kind == "among":
            if other != concept:
                raise CannotTell("among")
            return members
        out = set()
        for k in self.scene.of(concept):
            others = [m for m in members if not (other == concept and m == k)]
            related = [m for m in others if self.related(part, concept, k, other, m)]
            if part.kind in ("left of", "right of", "above", "below", "larger than", "smaller than"):
                holds = bool(others) and len(related) == len(others)
            else:
                holds = compare(len(related), part.op or ">=", part.number if part.op else 1)
            if holds:
                out.add(k)
        return out

    def related(self, part, concept, k, other, m) -> bool:
        (x, y), (a, b) = self.scene.centroid(concept, k), self.scene.centroid(other, m)
        if part.kind in ("larger than", "smaller than"):
            mine, theirs = len(self.scene.of(concept)[k]), len(self.scene.of(other)[m])
            return mine > theirs if part.kind == "larger than" else mine < theirs
        places = {"left of": x < a, "right of": x > a, "above": y < b, "below": y > b}
        if part.kind in places:
            return places[part.kind]
        gap = self.scene.gap(concept, k, other, m)
        if part.kind == "touching":
            return gap <= 2 + 1e-9
        if part.kind == "within":
            return gap <= self.px(part.distance.value, "gap", part.distance.unit) * (1 + 1e-9)
        if part.kind == "inside":
            return self.scene.inside(concept, k, other, m)
        contains = self.scene.inside(other, m, concept, k)
        if part.kind == "containing":
            return contains
        return contains or bool(self.scene.of(concept)[k] & self.scene.of(other)[m] and concept != other)
