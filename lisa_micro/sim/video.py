"""Simulated heating experiments: one micrograph, or a video with identities, necks, events and lineage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lisa_micro.sim import growth
from lisa_micro.sim.dynamics import State, World
from lisa_micro.sim.layouts import GAP_PX, MAX_RADIUS, MIN_RADIUS
from lisa_micro.sim.raster import Maps, no_warp, rasterise
from lisa_micro.sim.render import MODALITIES, render
from lisa_micro.sim.scene import Scene
from lisa_micro.sim.truth import Truth, derive_truth
from lisa_micro.types import InputError

MAX_DRIFT_PX = 512


@dataclass(frozen=True)
class Video:
    """A simulated video. Frames are rendered when they are asked for, so that a long one needs no memory.

    Attributes:
        shape: ``(H, W)`` px of a frame.
        modality, pixel_size_nm, frame_time_s, seed: as asked for.
        mechanism, B: of the growth law, B in nm^m / s.
        events: dicts in order of time: ``kind`` (``"contact"``; ``"neck"``, from x / R > 0.1;
            ``"coalesce"``), ``frame``, ``time_s``, ``particles`` (two identities), ``x, y`` (px in the first
            frame's coordinates) and, of ``coalesce``, ``identity``: the new one that the two became. Contacts
            at frame 0 are older than the video. A pair that has its contact, or neck, from a parent's gets no
            event of its own for it.
        lineage: identity -> ``parents`` (two, or none), ``first_frame``, ``last_frame`` (of its existence,
            seen or not), ``radius_px`` at birth. Identities are never used again.
        necks: one dict for each pair in contact and frame: ``frame, time_s, a, b`` (identities),
            ``contact_s`` (time at which x was 0 by the law; negative before the video), ``x_px, R_px,
            x_over_R``.
        states: geometry of each frame.
        offsets: ``(T, 2)`` int64 x, y of a frame's corner in the sample: the drift.
        params: the other settings.
    """

    shape: tuple[int, int]
    modality: str
    pixel_size_nm: float
    frame_time_s: float
    seed: int
    mechanism: str
    B: float
    events: list[dict[str, Any]]
    lineage: dict[int, dict[str, Any]]
    necks: list[dict[str, Any]]
    states: list[State]
    offsets: np.ndarray
    canvas: tuple[int, int]
    params: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames in order, ``(H, W)`` float32."""
        return (self.frame(t) for t in range(len(self)))

    def frame(self, t: int) -> np.ndarray:
        """Frame ``t``, ``(H, W)`` float32 0..1."""
        maps, _, _ = self._geometry(t)
        return self._render(t, maps)[0]

    def frames(self) -> np.ndarray:
        """All frames, ``(T, H, W)`` float32."""
        return np.stack(list(self))

    def labels(self, t: int) -> np.ndarray:
        """``(H, W)`` int32: particles of frame ``t``, labelled by identity. Not rendered, so faster than a
        frame."""
        return self._identities(t)[0]

    def neck_labels(self, t: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """``(H, W)`` int32 necks of frame ``t`` and their rows as in :class:`lisa_micro.sim.scene.Scene`, but
        with identities as ``a`` and ``b``."""
        _, truth, names = self._identities(t)
        rows = [dict(row, a=int(names[row["a"]]), b=int(names[row["b"]])) for row in truth.neck_table]
        return truth.necks, rows

    def scene(self, t: int) -> Scene:
        """Frame ``t`` with all its truth; particles numbered 1..n, ``params["identities"]`` says who they
        are."""
        maps, truth, names = self._geometry(t)
        pixels, settings = self._render(t, maps)
        law = {"mechanism": self.mechanism, "B": self.B, "frame": t, "identities": names[1:].tolist()}
        return Scene(
            pixels=pixels,
            particles=truth.particles,
            necks=truth.necks,
            pores=truth.pores,
            agglomerates=truth.agglomerates,
            substrate=truth.particles == 0,
            overlay=np.zeros(self.shape, bool),
            neck_table=truth.neck_table,
            centres=truth.centres,
            radii=truth.radii,
            contacts=truth.contacts,
            pixel_size_nm=self.pixel_size_nm,
            modality=self.modality,
            seed=self.seed,
            params={"kind": "sintering", **law, **self.params, **settings, "warped": False},
        )

    def _geometry(self, t: int) -> tuple[Maps, Truth, np.ndarray]:
        """Maps of the whole canvas, truth of the frame, and identity of each of its labels (0 first)."""
        state = self.states[t]
        maps = rasterise(state.bodies, state.bonds, self.canvas, no_warp())
        x, y = (int(v) for v in self.offsets[t])
        cut = np.s_[y : y + self.shape[0], x : x + self.shape[1]]
        seen = Maps(*(getattr(maps, name)[cut] for name in ("labels", "edge", "height", "projected")))
        moved = [replace(body, x=body.x - x, y=body.y - y) for body in state.bodies]
        truth = derive_truth(moved, state.bonds, seen, no_warp())
        return maps, truth, np.concatenate([[0], state.identities[truth.source]])

    def _identities(self, t: int) -> tuple[np.ndarray, Truth, np.ndarray]:
        _, truth, names = self._geometry(t)
        return names.astype(np.int32)[truth.particles], truth, names

    def _render(self, t: int, maps: Maps) -> tuple[np.ndarray, dict[str, Any]]:
        # the look is drawn anew from the same seed, so that film and particles keep their contrast from frame
        # to frame (by identity) and drift together; the detector's noise is fresh
        names = np.concatenate([[0], self.states[t].identities]).astype(np.int32)
        look, fresh = (np.random.default_rng([self.seed, k]) for k in (17, 1000 + t))
        pixels, settings = render(
            replace(maps, labels=names[maps.labels]),
            self.params["radius_px"],
            self.modality,
            look,
            self.params["noise"],
            fresh,
        )
        x, y = (int(v) for v in self.offsets[t])
        return pixels[y : y + self.shape[0], x : x + self.shape[1]], settings


def simulate_sintering(
    seed: int = 0,
    frames: int = 1,
    shape: tuple[int, int] = (512, 512),
    modality: str = "BF-TEM",
    n_particles: int = 14,
    mechanism: str = "surface diffusion",
    B: float | None = None,
    frame_time_s: float = 1.0,
    pixel_size_nm: float = 0.2,
    noise: float = 1.0,
    *,
    radius_nm: float | None = None,
    size_spread: float = 0.15,
    contact_share: float = 0.6,
    age_s: float | None = None,
    diffusion_px: float = 0.6,
    drift_px: tuple[float, float] = (0.0, 0.0),
    growth_nm_per_s: float = 0.0,
    tau_s: float | None = None,
) -> Scene | Video:
    """Particles that sinter on a support, as one micrograph or as a video.

    Args:
        seed: the same arguments give the same result.
        frames: 1 gives a :class:`~lisa_micro.sim.scene.Scene`, more give a :class:`Video`.
        shape: ``(H, W)`` px.
        modality: ``"BF-TEM"``, ``"HAADF-STEM"`` or ``"SEM"``.
        n_particles: as many as find room in the first frame.
        mechanism: a key of :data:`lisa_micro.sim.growth.MECHANISMS`.
        B: of (x/R)^n = B t / R^m, in nm^m / s. ``None``: x/R of particles of mean size is 0.5 after ``age_s``
            for one micrograph, and they coalesce about half way through a video.
        frame_time_s: seconds from frame to frame.
        pixel_size_nm: edge of a pixel in nm.
        noise: factor on the detector's noise; 0 is a noiseless image.
        radius_nm: mean radius; ``None`` = a twentieth of the short side, 4 px at least.
        size_spread: log-normal deviation of the radii.
        contact_share: share of the particles that begin in contact with another, 0..1; with 0 and one frame
            there is no neck.
        age_s: how long the first contacts have lasted when the first frame is taken, at most (each a random
            share of it from 0.3 to 1). ``None`` = 100 s for one micrograph, one frame for a video.
        diffusion_px: deviation of a particle's random step per frame.
        drift_px: x, y drift of the sample per frame.
        growth_nm_per_s: growth of the radii by deposition.
        tau_s: relaxation time of a coalesced pair to a sphere; ``None`` = a tenth of the video, 3 frames at
            least.

    Raises:
        InputError: for an argument that cannot be.
    """
    shape = (int(shape[0]), int(shape[1]))
    if frames < 1 or min(shape) < 16 or n_particles < 0:
        raise InputError("give at least 1 frame, 16 x 16 px and 0 particles")
    if modality not in MODALITIES:
        raise InputError(f"no modality {modality!r}; choose one of {', '.join(MODALITIES)}")
    if not (pixel_size_nm > 0 and frame_time_s > 0):
        raise InputError("pixel size and frame time must be positive")
    if any(value is not None and not value > 0 for value in (B, age_s, tau_s)):
        raise InputError("B, age_s and tau_s must be positive")
    if not 0 <= contact_share <= 1 or noise < 0 or size_spread < 0:
        raise InputError("contact_share must be 0..1, noise and size_spread not negative")
    radius = max(min(shape) / 20, MIN_RADIUS) if radius_nm is None else radius_nm / pixel_size_nm
    if not MIN_RADIUS <= radius <= MAX_RADIUS:
        raise InputError(
            f"particles of {radius:.3g} px radius cannot be drawn: choose radius and pixel size so that it "
            f"is {MIN_RADIUS:g} to {MAX_RADIUS:g} px"
        )
    place, walk = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    steps = np.array(drift_px) * place.uniform(0.5, 1.5, (frames, 1))
    path = np.cumsum(np.concatenate([np.zeros((1, 2)), steps[1:]]), axis=0)
    # the frame looks at a moving part of the sample
    offsets = np.rint(-path + path.max(axis=0)).astype(np.int64)
    if offsets.max() > MAX_DRIFT_PX:
        raise InputError(f"a drift of {offsets.max()} px in all is too much: at most {MAX_DRIFT_PX} px")
    canvas = (shape[0] + int(offsets[:, 1].max()), shape[1] + int(offsets[:, 0].max()))
    duration = frames * frame_time_s
    if age_s is None:
        age_s = 100.0 if frames == 1 else frame_time_s
    if B is None:
        goal = (0.5, age_s) if frames == 1 else (0.8, 0.5 * duration)
        B = growth.growth_constant(*goal, radius * pixel_size_nm, mechanism)
    world = World(
        walk,
        growth.mechanism_named(mechanism).name,
        float(B),
        pixel_size_nm,
        diffusion_px,
        max(3 * frame_time_s, 0.1 * duration) if tau_s is None else tau_s,
        growth_nm_per_s / pixel_size_nm,
    )
    _populate(world, place, canvas, offsets[0], shape, n_particles, radius, size_spread, contact_share, age_s)
    world.settle()
    states = [world.state()]
    for _ in range(frames - 1):
        world.step(frame_time_s)
        states.append(world.state())
    video = Video(
        shape,
        modality,
        float(pixel_size_nm),
        float(frame_time_s),
        int(seed),
        mechanism,
        float(B),
        [dict(e, x=e["x"] - int(offsets[0, 0]), y=e["y"] - int(offsets[0, 1])) for e in world.events],
        world.lineage,
        world.necks,
        states,
        offsets,
        canvas,
        {
            "radius_px": float(radius),
            "noise": float(noise),
            "age_s": float(age_s),
            "contact_share": contact_share,
        },
    )
    return video.scene(0) if frames == 1 else video


def _populate(world, rng, canvas, corner, shape, n_particles, radius, spread, contact_share, age_s) -> None:
    """Chains in contact first, then single particles, clear of one another. What finds no room is left
    out."""
    radii = np.clip(radius * np.exp(rng.normal(0, spread, n_particles)), MIN_RADIUS, MAX_RADIUS)
    joined = int(round(contact_share * n_particles))
    lengths = []
    while joined >= 2:
        length = min(int(rng.choice([2, 2, 2, 3, 4])), joined)
        lengths.append(length + 1 if joined - length == 1 else length)
        joined -= lengths[-1]
    lengths += [1] * (n_particles - sum(lengths))
    if not lengths:
        return
    for group in np.split(radii, np.cumsum(lengths)[:-1]):
        for _ in range(60):
            x = corner[0] + rng.uniform(0.03, 0.97) * shape[1]
            y = corner[1] + rng.uniform(0.03, 0.97) * shape[0]
            spots = _chain(rng, x, y, group)
            if _has_room(world, spots, canvas):
                names = [world.add(*spot) for spot in spots]
                for a, b in zip(names[:-1], names[1:], strict=True):
                    world.join(a, b, rng.uniform(0.3, 1.0) * age_s)
                break


def _chain(rng: np.random.Generator, x: float, y: float, radii: np.ndarray) -> list[tuple[float, float, float]]:
    """A chain of touching discs x, y, r."""
    spots, heading = [(x, y, float(radii[0]))], rng.uniform(0, 2 * np.pi)
    for r in radii[1:]:
        px, py, pr = spots[-1]
        spots.append((px + (pr + r) * np.cos(heading), py + (pr + r) * np.sin(heading), float(r)))
        heading += rng.normal(0, 0.5)
    return spots


def _has_room(world: World, spots: list[tuple[float, float, float]], canvas: tuple[int, int]) -> bool:
    """Whether discs lie in the canvas, clear of what is there, and of one another but for neighbours in the
    chain."""
    for i, (x, y, r) in enumerate(spots):
        if not (0 < x < canvas[1] and 0 < y < canvas[0]):
            return False
        others = [(p.x, p.y, p.r) for p in world.particles.values()] + spots[i + 2 :]
        if any(np.hypot(px - x, py - y) - pr - r < GAP_PX + 2 for px, py, pr in others):
            return False
    return True
