"""Particles that move, touch, grow necks and coalesce, frame by frame. Lengths in px, times in s."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lisa_micro.sim import growth
from lisa_micro.sim.contacts import CONTACT_GAP_PX, Bond, centre_distance, solve_neck
from lisa_micro.sim.layouts import GAP_PX
from lisa_micro.sim.shapes import Body, disc

NECK_RATIO = 0.1
"""x / R from which a contact is called a neck."""
COALESCED = 0.8
"""Half-chord over the smaller radius from which two particles are one."""


@dataclass(frozen=True)
class State:
    """Geometry of one frame: identities ``(n,)`` of the bodies, in coordinates of the sample."""

    identities: np.ndarray
    bodies: list[Body]
    bonds: list[Bond]


@dataclass
class _Particle:
    x: float
    y: float
    r: float
    long0: float = 0.0  # long half axis when it was born of two; 0 = a sphere
    born_s: float = 0.0
    angle: float = 0.0


@dataclass
class World:
    """The sample. ``step`` advances it by one frame; ``state`` is what a frame shows.

    Attributes:
        mechanism, B, pixel_size_nm: of the growth law; B in nm^m / s.
        diffusion: deviation of a particle's random step in px per frame, for one of mean size.
        tau_s: relaxation time of a coalesced pair.
        growth: growth of radii in px per s by deposition.
        events, lineage, necks: the record, see :class:`lisa_micro.sim.video.Video`.
    """

    rng: np.random.Generator
    mechanism: str
    B: float
    pixel_size_nm: float
    diffusion: float
    tau_s: float
    growth: float = 0.0
    time_s: float = 0.0
    frame: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    lineage: dict[int, dict[str, Any]] = field(default_factory=dict)
    necks: list[dict[str, Any]] = field(default_factory=list)
    particles: dict[int, _Particle] = field(default_factory=dict)
    contact_s: dict[tuple[int, int], float] = field(default_factory=dict)
    named: set[tuple[int, int]] = field(default_factory=set)

    def add(self, x: float, y: float, r: float, parents: tuple[int, ...] = ()) -> int:
        """A new particle; returns its identity (1, 2, ... in order of birth)."""
        identity = len(self.lineage) + 1
        self.particles[identity] = _Particle(float(x), float(y), float(r))
        self.lineage[identity] = {
            "parents": [int(p) for p in parents],
            "first_frame": self.frame,
            "last_frame": self.frame,
            "radius_px": float(r),
        }
        return identity

    def join(self, a: int, b: int, age_s: float = 0.0) -> None:
        """Put two particles in contact since ``age_s`` seconds."""
        pair = (min(a, b), max(a, b))
        if pair in self.contact_s:
            return
        self.contact_s[pair] = self.time_s - age_s
        self._log("contact", pair)

    def _log(self, kind: str, pair: tuple[int, int], identity: int | None = None) -> None:
        p, q = self.particles[pair[0]], self.particles[pair[1]]
        event = {
            "kind": kind,
            "frame": self.frame,
            "time_s": self.time_s,
            "particles": [int(pair[0]), int(pair[1])],
            "x": 0.5 * (p.x + q.x),
            "y": 0.5 * (p.y + q.y),
        }
        if identity is not None:
            event["identity"] = int(identity)
        self.events.append(event)

    def half_chord(self, pair: tuple[int, int]) -> float:
        """x in px by the law, not below what a contact shows (2 px, or less for the smallest particles)."""
        p, q = self.particles[pair[0]], self.particles[pair[1]]
        mean, smaller = 0.5 * (p.r + q.r), min(p.r, q.r)
        age = self.time_s - self.contact_s[pair]
        ratio = growth.neck_ratio(age, mean * self.pixel_size_nm, self.B, self.mechanism, limit=1.0)
        return min(max(float(ratio) * mean, min(2.0, 0.7 * smaller)), growth.MAX_RATIO * smaller)

    def settle(self) -> None:
        """Coalescence, contacts and constraints at the present time, and the record of the frame."""
        self._coalesce()
        self._constrain(30)
        self._touch()
        self._constrain(10)
        for pair in sorted(self.contact_s):
            p, q = self.particles[pair[0]], self.particles[pair[1]]
            x, _, _ = solve_neck(p.r, q.r, float(np.hypot(p.x - q.x, p.y - q.y)), self.half_chord(pair))
            mean = 0.5 * (p.r + q.r)
            self.necks.append(
                {
                    "frame": self.frame,
                    "time_s": self.time_s,
                    "a": int(pair[0]),
                    "b": int(pair[1]),
                    "contact_s": self.contact_s[pair],
                    "x_px": x,
                    "R_px": mean,
                    "x_over_R": x / mean,
                }
            )
            if x / mean > NECK_RATIO and pair not in self.named:
                self.named.add(pair)
                self._log("neck", pair)
        for identity in self.particles:
            self.lineage[identity]["last_frame"] = self.frame

    def step(self, dt: float) -> None:
        """Advance by one frame of ``dt`` seconds."""
        self.frame += 1
        self.time_s += dt
        mean = float(np.mean([p.r for p in self.particles.values()])) if self.particles else 1.0
        pull = self._attraction()
        for identity, p in self.particles.items():
            mobility = np.sqrt(mean / p.r)  # smaller ones move farther
            step = self.rng.normal(0, self.diffusion * mobility, 2) + pull.get(identity, 0.0)
            p.x, p.y = p.x + float(step[0]), p.y + float(step[1])
            p.angle += float(self.rng.normal(0, 0.02 * mobility))
            p.r += self.growth * dt
        self.settle()

    def _attraction(self) -> dict[int, np.ndarray]:
        """Steps by which near neighbours that are free come closer, px."""
        free = [k for k in self.particles if not any(k in pair for pair in self.contact_s)]
        pull: dict[int, np.ndarray] = {}
        for k in free:
            p = self.particles[k]
            best, toward = 1.2 * p.r, None
            for other, q in self.particles.items():
                away = np.hypot(q.x - p.x, q.y - p.y)
                if other != k and away - p.r - q.r < best:
                    best, toward = away - p.r - q.r, np.array([q.x - p.x, q.y - p.y]) / max(away, 1e-6)
            if toward is not None:
                pull[k] = 0.8 * self.diffusion * toward
        return pull

    def _long(self, p: _Particle) -> tuple[float, float]:
        """Half axes now."""
        if not p.long0:
            return p.r, p.r
        a, b = growth.relaxing_axes(p.long0, p.r, self.time_s - p.born_s, self.tau_s)
        return (a, b) if a > 1.02 * p.r else (p.r, p.r)

    def _touch(self) -> None:
        names = list(self.particles)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                p, q = self.particles[a], self.particles[b]
                if self._long(p)[0] > p.r or self._long(q)[0] > q.r:
                    continue  # a pair on its way to a sphere is kept clear of the others
                if np.hypot(p.x - q.x, p.y - q.y) - p.r - q.r < CONTACT_GAP_PX:
                    self.join(a, b)

    def _constrain(self, rounds: int) -> None:
        """Move bonded centres to their distance and keep relaxing pairs clear, heavier particles moving
        less."""
        shrink = 1.0 if growth.MECHANISMS[self.mechanism].densifies else 0.0
        relaxing = [k for k, p in self.particles.items() if self._long(p)[0] > p.r]
        wanted = []
        for a, b in self.contact_s:
            p, q = self.particles[a], self.particles[b]
            wanted.append((p, q, centre_distance(p.r, q.r, self.half_chord((a, b)), shrink), False))
        for k in relaxing:
            reach = self._long(self.particles[k])[0]
            for other, q in self.particles.items():
                if other != k:
                    wanted.append((self.particles[k], q, reach + self._long(q)[0] + GAP_PX, True))
        for _ in range(rounds if wanted else 0):
            for p, q, target, at_least in wanted:
                dx, dy = q.x - p.x, q.y - p.y
                d = max(float(np.hypot(dx, dy)), 1e-6)
                if at_least and d >= target:
                    continue
                share = q.r**3 / (p.r**3 + q.r**3)
                miss = (d - target) / d
                p.x, p.y = p.x + share * miss * dx, p.y + share * miss * dy
                q.x, q.y = q.x - (1 - share) * miss * dx, q.y - (1 - share) * miss * dy

    def _coalesce(self) -> None:
        """Two particles whose neck is wide become one with a new identity; each at most once per frame."""
        fresh: set[int] = set()
        for pair in sorted(self.contact_s):
            if pair not in self.contact_s or fresh & set(pair):
                continue
            p, q = self.particles[pair[0]], self.particles[pair[1]]
            if self.half_chord(pair) < COALESCED * min(p.r, q.r):
                continue
            share = q.r**3 / (p.r**3 + q.r**3)
            r = growth.merged_radius(p.r, q.r)
            new = self.add(p.x + share * (q.x - p.x), p.y + share * (q.y - p.y), r, pair)
            fresh.add(new)
            self._log("coalesce", pair, new)
            heirs: dict[int, float] = {}
            for other in [c for c in self.contact_s if set(c) & set(pair)]:
                third = other[0] if other[1] in pair else other[1]
                if third not in pair:
                    heirs[third] = max(heirs.get(third, 0.0), self.half_chord(other))
                del self.contact_s[other]
            child = self.particles[new]
            if not heirs:  # alone, it relaxes to a sphere; in a cluster its neighbours hold it
                child.long0 = 0.5 * (float(np.hypot(p.x - q.x, p.y - q.y)) + p.r + q.r)
                child.born_s, child.angle = self.time_s, float(np.arctan2(q.y - p.y, q.x - p.x))
            for third, x in heirs.items():
                mean = 0.5 * (r + self.particles[third].r)
                link = (third, new)
                self.contact_s[link] = self.time_s - growth.time_to_ratio(
                    x / mean, mean * self.pixel_size_nm, self.B, self.mechanism
                )
                # what the parents' necks have been through is not told again of their child's
                if any((min(k, third), max(k, third)) in self.named for k in pair):
                    self.named.add(link)
            for parent in pair:
                del self.particles[parent]

    def state(self) -> State:
        """What the present frame shows."""
        names = sorted(self.particles)
        place = {name: k for k, name in enumerate(names)}
        bodies = []
        for name in names:
            p = self.particles[name]
            a, b = self._long(p)
            bodies.append(disc(p.x, p.y, p.r) if a == p.r else Body("ellipse", p.x, p.y, a, b, p.angle))
        bonds = []
        for pair in sorted(self.contact_s):
            p, q = self.particles[pair[0]], self.particles[pair[1]]
            d = float(np.hypot(p.x - q.x, p.y - q.y))
            x, u, rho = solve_neck(p.r, q.r, d, self.half_chord(pair))
            bonds.append(Bond(place[pair[0]], place[pair[1]], x, u, rho))
        return State(np.array(names, dtype=np.int64), bodies, bonds)
