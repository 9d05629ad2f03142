"""Clips of simulated sintering for training a tracker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lisa_micro.io.contrast import to_unit_range
from lisa_micro.sim import MECHANISMS, MODALITIES, Video, simulate_sintering

IGNORED = 255
"""Label of pixels that do not count: particles that came from a coalescence within the clip. Neither parent is right
for them."""


@dataclass(frozen=True)
class ClipConfig:
    """How clips are made.

    size: side in px, 16 k + 1. frames: T of a clip. gap: frames of the video between two of the clip, at most.
    particles, radius: least and most of a video, the radius in px; both are drawn log-uniformly. least: px that a
    particle has in the first frame to be followed. duration: frames of a video.
    """

    size: int = 257
    frames: int = 5
    gap: int = 3
    particles: tuple[int, int] = (5, 40)
    radius: tuple[float, float] = (6.0, 22.0)
    least: int = 24
    duration: int = 24


class Clips(NamedTuple):
    """B clips: images ``(B, T, 1, S, S)`` float32 0..1; labels ``(B, T, S, S)`` int64, channel of the bank of
    identities or :data:`IGNORED`; used ``(B, 1 + objects)`` bool, channels that somebody has; told ``(B, T)`` bool,
    whether the truth of a frame is remembered, and not what was predicted; progress 0..1 of the training."""

    images: Tensor
    labels: Tensor
    used: Tensor
    told: Tensor
    progress: float


class ClipMaker:
    """step -> :class:`Clips`; a function of the seed and the step alone.

    Args:
        config: of the clips. batch_size: B. steps: of the training. objects: identities of a bank. seed: of it all.
    """

    def __init__(self, config: ClipConfig, batch_size: int, steps: int, objects: int, seed: int):
        self.config, self.batch_size, self.steps = config, batch_size, steps
        self.objects, self.seed = objects, seed

    def __call__(self, step: int) -> Clips:
        rng = np.random.default_rng([self.seed, step])
        progress = min(1.0, step / max(1, self.steps))
        images, labels, used = (
            np.stack(a) for a in zip(*(self._clip(rng) for _ in range(self.batch_size)), strict=True)
        )
        # first the truth is remembered, later mostly what was predicted, as when a video is followed
        told = rng.random((self.batch_size, self.config.frames)) > 0.85 * min(1.0, 2 * progress)
        return Clips(
            torch.from_numpy(images)[:, :, None],
            torch.from_numpy(labels),
            torch.from_numpy(used),
            torch.from_numpy(told),
            progress,
        )

    def _clip(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images ``(T, S, S)``, labels ``(T, S, S)``, used ``(1 + objects,)``."""
        c = self.config
        video = draw_video(rng, c)
        gap = int(rng.integers(1, c.gap + 1))
        start = int(rng.integers(0, max(1, len(video) - gap * (c.frames - 1))))
        times = [min(start + k * gap, len(video) - 1) for k in range(c.frames)]
        names = np.stack([video.labels(t) for t in times])
        labels, used = self._channels(names, video.lineage, rng)
        frames = np.stack([to_unit_range(video.frame(t)) for t in times])
        turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
        frames, labels = (np.rot90(a, turns, (1, 2)) for a in (recolour(frames, rng), labels))
        if flip:
            frames, labels = frames[:, :, ::-1], labels[:, :, ::-1]
        return np.ascontiguousarray(frames), np.ascontiguousarray(labels), used

    def _channels(self, names: np.ndarray, lineage: dict, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Identities of a clip -> channels of the bank, drawn at random. Particles that find no room in it are
        background, as those of another bank are."""
        present, counts = np.unique(names[0], return_counts=True)
        present = present[(present > 0) & (counts >= self.config.least)]
        chosen = rng.permutation(present)[: self.objects]
        channels = rng.permutation(np.arange(1, self.objects + 1))[: len(chosen)]
        channel = dict(zip(chosen.tolist(), channels.tolist(), strict=True))
        for name in np.unique(names[1:]).tolist():
            if name not in channel and set(channel) & ancestors(name, lineage):
                channel[name] = IGNORED
        labels = np.zeros(names.shape, np.int64)
        for name, value in channel.items():
            labels[names == name] = value
        used = np.zeros(self.objects + 1, bool)
        used[[0, *channels]] = True
        return labels, used


def ancestors(identity: int, lineage: dict) -> set[int]:
    """All from whom an identity came; ``lineage`` as in :class:`lisa_micro.sim.Video`."""
    parents = lineage[identity]["parents"] if identity in lineage else ()
    return set(parents).union(*(ancestors(parent, lineage) for parent in parents))


def draw_video(rng: np.random.Generator, config: ClipConfig) -> Video:
    """A video with everything that can vary drawn at random."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    pixel_nm = 0.2
    return simulate_sintering(
        seed=int(rng.integers(1 << 31)),
        frames=config.duration,
        shape=(config.size, config.size),
        modality=MODALITIES[int(rng.integers(len(MODALITIES)))],
        n_particles=round(log_uniform(*config.particles)),
        mechanism=list(MECHANISMS)[int(rng.integers(len(MECHANISMS)))],
        pixel_size_nm=pixel_nm,
        noise=float(rng.uniform(0.3, 1.8)),
        radius_nm=log_uniform(*config.radius) * pixel_nm,
        size_spread=float(rng.uniform(0.05, 0.35)),
        contact_share=float(rng.uniform(0.0, 0.9)),
        diffusion_px=log_uniform(0.3, 3.0),
        drift_px=tuple(rng.normal(0, 1.5, 2)),
        growth_nm_per_s=float(rng.choice([0.0, 0.0, 0.03])),
    )


def recolour(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One contrast, brightness and gamma for all frames ``(T, H, W)``, and rarely inversion."""
    if rng.random() < 0.1:
        frames = 1 - frames
    frames = frames ** np.float32(np.exp(rng.normal(0, 0.2)))
    low, high = rng.uniform(0, 0.3), rng.uniform(0.7, 1)
    return (low + (high - low) * frames).astype(np.float32)
