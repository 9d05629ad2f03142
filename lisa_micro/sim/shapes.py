"""Particle outlines in the plane: discs, ellipses, rods and boxes, convex polygons.

A body is defined by an implicit function (a signed distance, or close to one near the edge), so that its
label, its soft edge, its outline and its thickness all come from the same formula. Coordinates are ``x, y``
in pixels, with pixel centres at whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OUTLINE_POINTS = 144


@dataclass(frozen=True)
class Body:
    """One particle.

    Attributes:
        kind: ``"disc"``, ``"ellipse"``, ``"box"`` (rounded rectangle; a rod where ``rounding == b``) or
            ``"polygon"``.
        x, y: centre in px.
        a, b: half axes in px, ``a >= b``; a disc has ``a == b``; of a polygon the circumscribed and inscribed
            radius.
        angle: radians, from +x towards +y.
        rounding: corner radius in px of boxes; softness of the corners in px of polygons.
        normals: polygon only: ``(n, 3)`` rows ``nx, ny, h`` of the half planes ``n . p <= h`` around the
            centre.
        flat: thickness profile: false = round (sphere, cylinder), true = a plate or pyramid with bevelled
            edges.
        depth: height of a flat body in px.
    """

    kind: str
    x: float
    y: float
    a: float
    b: float
    angle: float = 0.0
    rounding: float = 0.0
    normals: np.ndarray | None = None
    flat: bool = False
    depth: float = 0.0

    @property
    def reach(self) -> float:
        """Radius in px of a circle around the centre that holds the whole body."""
        return float(np.hypot(self.a, self.b)) if self.kind == "box" else float(self.a)


def disc(x: float, y: float, r: float) -> Body:
    """A sphere of radius ``r`` px seen from above."""
    return Body("disc", float(x), float(y), float(r), float(r))


def polygon(
    rng: np.random.Generator, x: float, y: float, r: float, sides: int, angle: float, stretch: float = 1.0
) -> Body:
    """A faceted crystal: a convex polygon with ``sides`` slightly irregular facets around a circle of ``r``
    px.

    ``stretch`` moves the facets out along the local x axis. The half planes are kept, not the corners: their
    smooth maximum is the implicit function.
    """
    phi = 2 * np.pi * (np.arange(sides) + rng.uniform(-0.06, 0.06, sides)) / sides
    h = r * np.cos(np.pi / sides) * rng.uniform(0.93, 1.05, sides)
    h = h * np.hypot(np.cos(phi) * stretch, np.sin(phi))
    normals = np.stack([np.cos(phi), np.sin(phi), h], axis=1).astype(np.float32)
    rounding = float(r * rng.uniform(0.02, 0.1))
    draft = Body("polygon", float(x), float(y), 4 * r * stretch, float(h.min()), float(angle), rounding, normals)
    reach = float(np.hypot(*(outline(draft, 96) - (x, y)).T).max()) * 1.02 + 0.5
    depth = float(h.min() * rng.uniform(0.5, 1.0))
    return Body("polygon", draft.x, draft.y, reach, draft.b, draft.angle, rounding, normals, True, depth)


def field(body: Body, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance and thickness of a body at points.

    Args:
        x, y: coordinates in px, any shape, the same for both.

    Returns:
        ``(distance, thickness)``, both of that shape: distance in px, negative inside (exact for discs and
        boxes, first order near the edge for ellipses, a lower bound outside polygons); thickness in px, 0
        outside.
    """
    dx, dy = x - np.float32(body.x), y - np.float32(body.y)
    if body.kind == "disc":
        r2 = dx * dx + dy * dy
        return np.sqrt(r2) - np.float32(body.a), np.sqrt(np.maximum(np.float32(body.a**2) - r2, 0))
    cos, sin = np.float32(np.cos(body.angle)), np.float32(np.sin(body.angle))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    if body.kind == "ellipse":
        ua, vb = u / np.float32(body.a), v / np.float32(body.b)
        k0 = np.sqrt(ua * ua + vb * vb)
        k1 = np.sqrt((ua / np.float32(body.a)) ** 2 + (vb / np.float32(body.b)) ** 2)
        distance = k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))
        return distance, np.float32(body.b) * np.sqrt(np.maximum(1 - k0 * k0, 0))
    if body.kind == "box":
        r = np.float32(body.rounding)
        qu, qv = np.abs(u) - np.float32(body.a) + r, np.abs(v) - np.float32(body.b) + r
        outer = np.sqrt(np.maximum(qu, 0) ** 2 + np.maximum(qv, 0) ** 2)
        distance = outer + np.minimum(np.maximum(qu, qv), 0) - r
    else:
        planes = np.stack([n[0] * u + n[1] * v - n[2] for n in body.normals])
        soft = np.float32(body.rounding)
        top = planes.max(axis=0)
        distance = top + soft * np.log(np.exp((planes - top) / soft).sum(axis=0))
    inside = np.maximum(-distance, 0)
    if body.flat:
        # bevels rise at 60 degrees to the flat top, so that edges are seen in every modality
        return distance, np.minimum(1.7 * inside, np.float32(body.depth))
    return distance, np.sqrt(np.maximum(inside * (2 * np.float32(body.b) - inside), 0))


def outline(body: Body, points: int = OUTLINE_POINTS) -> np.ndarray:
    """``(points, 2)`` float64 x, y on the body's edge, in order of angle around its centre (closed, not
    repeated)."""
    phi = np.linspace(0, 2 * np.pi, points, endpoint=False)
    if body.kind == "disc":
        return np.stack([body.x + body.a * np.cos(phi), body.y + body.a * np.sin(phi)], axis=1)
    # every body is convex around its centre, so that each ray crosses the edge once: bisection along the rays
    low, high = np.zeros(points), np.full(points, body.reach * 1.05 + 1)
    for _ in range(18):
        middle = 0.5 * (low + high)
        inside = field(body, body.x + middle * np.cos(phi), body.y + middle * np.sin(phi))[0] < 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    r = 0.5 * (low + high)
    return np.stack([body.x + r * np.cos(phi), body.y + r * np.sin(phi)], axis=1)


def area(body: Body) -> float:
    """Area of the outline in px^2 (shoelace formula; exact for discs and ellipses)."""
    if body.kind in ("disc", "ellipse"):
        return float(np.pi * body.a * body.b)
    x, y = outline(body, 360).T
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def equivalent_radius(body: Body) -> float:
    """Radius in px of the disc of the same area."""
    return float(np.sqrt(area(body) / np.pi))


def clearance(one: Body, edge: np.ndarray, other: Body, other_edge: np.ndarray) -> float:
    """Gap in px between two bodies whose outlines are given; negative by about the depth of penetration where
    they overlap."""
    if one.kind == other.kind == "disc":
        return float(np.hypot(one.x - other.x, one.y - other.y)) - one.a - other.a
    p, q = edge, other_edge
    return float(min(field(other, p[:, 0], p[:, 1])[0].min(), field(one, q[:, 0], q[:, 1])[0].min()))
