"""Where the particles are: isolated, paired, chained, agglomerated, packed, overlapping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lisa_micro.sim.contacts import CONTACT_GAP_PX, Bond, centre_distance, find_bonds
from lisa_micro.sim.shapes import Body, clearance, disc, outline, polygon
from lisa_micro.types import InputError

GAP_PX = CONTACT_GAP_PX + 1.0
"""Particles that are not in contact keep at least this distance."""
MIN_RADIUS, MAX_RADIUS = 4.0, 125.0


@dataclass(frozen=True)
class Layout:
    """Bodies in painting order and the necks between them, ideal coordinates in px."""

    bodies: list[Body]
    bonds: list[Bond]


def _radius(rng: np.random.Generator, shape: tuple[int, int], low: float, high: float) -> float:
    """Typical radius in px, log-uniform between fractions ``low`` and ``high`` of the short side."""
    side = min(shape)
    low, high = max(MIN_RADIUS, low * side), min(MAX_RADIUS, max(high * side, 1.2 * MIN_RADIUS))
    return float(np.exp(rng.uniform(np.log(min(low, high)), np.log(high))))


def _sizes(rng: np.random.Generator, n: int, radius: float, spread: float) -> np.ndarray:
    """``(n,)`` log-normal radii around ``radius``, clipped to what the simulator allows."""
    return np.clip(radius * np.exp(rng.normal(0, spread, n)), MIN_RADIUS, MAX_RADIUS)


def make_body(rng: np.random.Generator, x: float, y: float, r: float, family: str) -> Body:
    """One body of about ``r`` px of a family: disc, ellipse, faceted, cube, rod or bar."""
    angle = rng.uniform(0, np.pi)
    if family == "ellipse":
        ratio = rng.uniform(0.55, 0.95)
        return Body("ellipse", x, y, r, r * ratio, angle)
    if family == "faceted":
        sides = int(rng.choice([3, 4, 5, 6, 6, 6, 8], p=[0.1, 0.12, 0.13, 0.2, 0.15, 0.15, 0.15]))
        return polygon(rng, x, y, r, sides, angle, rng.uniform(1, 1.35) if sides > 4 else 1.0)
    if family == "cube":
        a = r * 0.85
        corner, top = a * rng.uniform(0.05, 0.35), a * rng.uniform(0.15, 0.5)
        return Body("box", x, y, a, a * rng.uniform(0.88, 1), angle, corner, None, True, top)
    if family in ("rod", "bar"):
        b = max(MIN_RADIUS * 0.8, r * rng.uniform(0.15, 0.4))
        rounding = b if family == "rod" else b * rng.uniform(0.05, 0.4)
        return Body("box", x, y, max(r, b), b, angle, rounding, None, family == "bar", b)
    return disc(x, y, r)


def scatter(
    rng: np.random.Generator,
    shape: tuple[int, int],
    radii: np.ndarray,
    family: Callable[[], str],
    overlap: bool = False,
) -> list[Body]:
    """Bodies at random places; those that find none are left out.

    Args:
        radii: sizes in px, placed largest first.
        family: called for each body.
        overlap: whether bodies may lie on one another (then by 2 px at least, so that contact is clear).
    """
    bodies: list[Body] = []
    edges: list[np.ndarray] = []
    sizes = np.zeros((len(radii), 4))  # x, y, reach, inscribed radius of those placed
    for r in np.sort(radii)[::-1]:
        # an outline costs more than a try: it is found once, and moved
        model = make_body(rng, 0.0, 0.0, float(r), family())
        edge = outline(model, 72) if model.kind != "disc" else np.zeros((0, 2))
        there = sizes[: len(bodies)]
        for _ in range(8 if overlap else 14):
            x, y = rng.uniform(-0.3 * r, shape[1] + 0.3 * r), rng.uniform(-0.3 * r, shape[0] + 0.3 * r)
            apart = np.hypot(there[:, 0] - x, there[:, 1] - y)
            if not overlap and (apart - there[:, 3] - model.b < GAP_PX).any():
                continue
            body = replace(model, x=x, y=y)
            close = np.flatnonzero(apart - there[:, 2] - model.reach < GAP_PX)
            if all(_fits(body, edge + (x, y), bodies[k], edges[k], overlap) for k in close):
                sizes[len(bodies)] = x, y, model.reach, model.b
                bodies.append(body)
                edges.append(edge + (x, y))
                break
    return bodies


def _fits(body: Body, edge: np.ndarray, other: Body, other_edge: np.ndarray, overlap: bool) -> bool:
    """Whether two bodies are clear of each other or, where that is allowed, clearly on one another."""
    if len(edge) != len(other_edge):  # a disc needs its outline only beside something else
        edge, other_edge = (e if len(e) else outline(b, 72) for b, e in ((body, edge), (other, other_edge)))
    gap = clearance(body, edge, other, other_edge)
    return gap >= GAP_PX or (overlap and -0.6 * min(body.b, other.b) < gap < -2.0)


def grow_cluster(
    rng: np.random.Generator, radii: np.ndarray, ratio: float, shrink: float, style: str
) -> list[tuple[float, float, float]]:
    """Discs x, y, r of one sintered cluster around the origin.

    Args:
        radii: of the discs, in the order in which they are added.
        ratio: x/R of its necks.
        shrink: 0..1, see :func:`lisa_micro.sim.contacts.centre_distance`.
        style: ``"chain"`` adds to the last disc, ``"branched"`` to any, ``"compact"`` nearest to the centre,
            ``"ring"`` closes a ring (which encloses a pore) and goes on as branched.
    """
    discs = _ring(rng, radii, ratio, shrink) if style == "ring" else [(0.0, 0.0, float(radii[0]))]
    heading = rng.uniform(0, 2 * np.pi)
    for r in radii[len(discs) :]:
        tries = []
        for _ in range(24):
            parent = len(discs) - 1 if style == "chain" else int(rng.integers(len(discs)))
            turn = heading + rng.normal(0, 0.6) if style == "chain" else rng.uniform(0, 2 * np.pi)
            px, py, pr = discs[parent]
            d = centre_distance(pr, r, ratio * min(pr, r), shrink)
            x, y = px + d * np.cos(turn), py + d * np.sin(turn)
            gaps = [np.hypot(x - qx, y - qy) - r - qr for k, (qx, qy, qr) in enumerate(discs) if k != parent]
            # further contacts are welcome where they are contacts: neither a near miss nor a deep overlap
            if all(g > GAP_PX or -0.12 * r < g < 0.5 for g in gaps):
                tries.append((x, y, turn))
                if style != "compact" or len(tries) >= 5:
                    break
        if tries:
            x, y, heading = min(tries, key=lambda t: np.hypot(t[0], t[1])) if style == "compact" else tries[0]
            discs.append((float(x), float(y), float(r)))
    return discs


def _ring(rng: np.random.Generator, radii: np.ndarray, ratio: float, shrink: float) -> list[tuple[float, float, float]]:
    """A closed ring of equal discs."""
    n, r = min(len(radii), int(rng.integers(4, 9))), float(np.median(radii))
    if n < 4:
        return [(0.0, 0.0, r)]
    d = centre_distance(r, r, ratio * r, shrink)
    big = d / (2 * np.sin(np.pi / n))
    phi = 2 * np.pi * np.arange(n) / n + rng.uniform(0, 2 * np.pi)
    return [(float(big * np.cos(p)), float(big * np.sin(p)), r) for p in phi]


def place_clusters(
    rng: np.random.Generator, shape: tuple[int, int], clusters: list[list[tuple[float, float, float]]]
) -> list[Body]:
    """Clusters of discs at random places, clear of one another; those that find no room are left out."""
    placed: list[Body] = []
    for cluster in clusters:
        c = np.array(cluster)
        c[:, :2] -= c[:, :2].mean(axis=0)
        for _ in range(20):
            x, y = rng.uniform(0.04, 0.96) * shape[1], rng.uniform(0.04, 0.96) * shape[0]
            if not placed:  # the first and largest one is well inside
                x, y = rng.uniform(0.3, 0.7) * shape[1], rng.uniform(0.3, 0.7) * shape[0]
            there = np.array([(b.x, b.y, b.a) for b in placed]).reshape(-1, 3)
            gap = np.hypot(c[:, None, 0] + x - there[None, :, 0], c[:, None, 1] + y - there[None, :, 1])
            if not len(there) or (gap - c[:, None, 2] - there[None, :, 2]).min() > GAP_PX:
                placed += [disc(x + p[0], y + p[1], p[2]) for p in c]
                break
    return placed


def layer(
    rng: np.random.Generator, shape: tuple[int, int], r: float, fused: bool, ratio: float, square: bool
) -> list[Body]:
    """A packed monolayer with vacancies, fused at its contacts or with gaps, on a rotated lattice."""
    spacing = centre_distance(r, r, ratio * r, 1.0) if fused else 2 * r * (1.06 if square else 1.0) + GAP_PX + 2
    n = int(np.hypot(*shape) / spacing) + 4
    i, j = np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1))
    x = spacing * (i + (0 if square else 0.5 * (j % 2)))
    y = spacing * j * (1 if square else np.sqrt(0.75))
    angle = rng.uniform(0, np.pi)
    cx = shape[1] / 2 + np.cos(angle) * x - np.sin(angle) * y
    cy = shape[0] / 2 + np.sin(angle) * x + np.cos(angle) * y
    seen = (cx > -r) & (cy > -r) & (cx < shape[1] + r) & (cy < shape[0] + r)
    seen &= rng.random(seen.shape) > rng.choice([0.03, 0.12, 0.35])
    if rng.random() < 0.4:  # an island instead of a closed layer
        away = np.hypot(cx - rng.uniform(0.2, 0.8) * shape[1], cy - rng.uniform(0.2, 0.8) * shape[0])
        seen &= away < rng.uniform(0.3, 0.6) * max(shape)
    depth, bodies = rng.uniform(0.15, 0.6), []
    for px, py in np.stack([cx[seen], cy[seen]], axis=1):
        jitter = rng.normal(0, 0.012 * r, 2) if fused else rng.uniform(-1, 1, 2)
        size = r * (1 + rng.normal(0, 0.01)) if fused else r * rng.uniform(0.94, 1.0)
        if square and not fused:
            turn = angle + rng.normal(0, 0.04)
            corner = size * rng.uniform(0.1, 0.4)
            bodies.append(Body("box", px, py, size, size * 0.97, turn, corner, None, True, size * depth))
        else:
            bodies.append(disc(px + jitter[0], py + jitter[1], size))
    return bodies


def _isolated(rng, shape, low, high, families, count, spread=None) -> Layout:
    r = _radius(rng, shape, low, high)
    spread = rng.uniform(0.02, 0.35) if spread is None else spread
    chosen = [str(f) for f in rng.choice(families, 2)]
    radii = _sizes(rng, int(rng.integers(*count)), r, spread)
    return Layout(scatter(rng, shape, radii, lambda: chosen[0] if rng.random() < 0.75 else chosen[1]), [])


def _sintered(rng, shape, low, high, clusters, members, styles, singles=(0, 1), spread=None) -> Layout:
    r = _radius(rng, shape, low, high)
    spread = rng.uniform(0.02, 0.25) if spread is None else spread
    ratio, shrink = rng.uniform(0.15, 0.8), rng.uniform(0, 1)
    found = []
    for _ in range(int(rng.integers(*clusters))):
        n = int(rng.integers(*members))
        radii = _sizes(rng, n, r, spread)
        found.append(grow_cluster(rng, radii, ratio, shrink, str(rng.choice(styles))))
    for size in _sizes(rng, int(rng.integers(*singles)), r, spread):
        found.append([(0.0, 0.0, float(size))])
    bodies = place_clusters(rng, shape, found)
    return Layout(bodies, find_bonds(bodies, ratio, rng, 0.2))


def _layer(rng, shape, fused, square) -> Layout:
    r, ratio = _radius(rng, shape, 0.03, 0.14), rng.uniform(0.12, 0.5)
    bodies = layer(rng, shape, r, fused, ratio, square)
    return Layout(bodies, find_bonds(bodies, ratio, rng, 0.15) if fused else [])


def _overlapping(rng, shape) -> Layout:
    r = _radius(rng, shape, 0.04, 0.16)
    family = str(rng.choice(["disc", "disc", "ellipse", "faceted", "cube", "rod", "bar"]))
    count = int(np.clip(rng.uniform(0.3, 1.0) * shape[0] * shape[1] / (4 * r * r), 3, 90))
    radii = _sizes(rng, count, r, rng.uniform(0.02, 0.3))
    bodies = scatter(rng, shape, radii, lambda: family, overlap=True)
    return Layout([bodies[k] for k in rng.permutation(len(bodies))], [])


FACETED = ("faceted", "faceted", "cube", "bar")
KINDS: dict[str, tuple[float, Callable[[np.random.Generator, tuple[int, int]], Layout]]] = {
    "isolated": (0.09, lambda g, s: _isolated(g, s, 0.025, 0.12, ("disc",), (3, 60))),
    "few_big": (0.05, lambda g, s: _isolated(g, s, 0.12, 0.3, ("disc", "ellipse", "faceted", "rod"), (1, 6))),
    "many_small": (0.07, lambda g, s: _isolated(g, s, 0.008, 0.025, ("disc", "disc", "ellipse"), (50, 200))),
    "ellipses": (0.05, lambda g, s: _isolated(g, s, 0.03, 0.15, ("ellipse",), (3, 40))),
    "faceted": (0.07, lambda g, s: _isolated(g, s, 0.03, 0.16, FACETED, (3, 50))),
    "rods": (0.05, lambda g, s: _isolated(g, s, 0.05, 0.2, ("rod", "bar"), (3, 50))),
    "polydisperse": (0.06, lambda g, s: _isolated(g, s, 0.015, 0.06, ("disc", "ellipse"), (20, 150), 0.6)),
    "pairs": (0.11, lambda g, s: _sintered(g, s, 0.03, 0.16, (1, 8), (2, 3), ("chain",), (0, 8))),
    "chains": (0.09, lambda g, s: _sintered(g, s, 0.02, 0.1, (1, 5), (3, 9), ("chain",), (0, 6))),
    "agglomerate": (
        0.14,
        lambda g, s: _sintered(g, s, 0.02, 0.09, (1, 4), (5, 28), ("ring", "ring", "branched", "compact"), (0, 6)),
    ),
    "dense_fine": (
        0.03,
        lambda g, s: _sintered(g, s, 0.01, 0.03, (6, 16), (4, 14), ("ring", "branched", "compact", "chain"), (5, 40)),
    ),
    "layer": (0.08, lambda g, s: _layer(g, s, True, bool(g.random() < 0.15))),
    "array": (0.04, lambda g, s: _layer(g, s, False, bool(g.random() < 0.5))),
    "overlapping": (0.05, _overlapping),
    "empty": (0.02, lambda g, s: Layout([], [])),
}
"""Kind of scene -> share of scenes, builder."""


def make_layout(rng: np.random.Generator, shape: tuple[int, int], kind: str | None = None) -> tuple[str, Layout]:
    """A layout of a kind (a key of :data:`KINDS`; drawn by their shares where ``None``).

    Raises:
        InputError: for a kind that does not exist.
    """
    names = list(KINDS)
    shares = np.array([KINDS[name][0] for name in names])
    drawn = names[int(rng.choice(len(names), p=shares / shares.sum()))]
    if kind is not None and kind not in KINDS:
        raise InputError(f"no scene of kind {kind!r}; choose one of {', '.join(names)}")
    kind = kind or drawn
    return kind, KINDS[kind][1](rng, shape)
