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
"""Label of pixels without a loss: particles that formed by coalescence within the clip, for which neither parent is
right."""


@dataclass(frozen=True)
class ClipConfig:
    """How clips are made.

    Attributes:
        size: side in px, 16 k + 1.
        frames: number of frames T of a clip.
        gap: largest distance between two frames of the clip, in frames of the video.
        particles: smallest and largest number of particles of a video, drawn log-uniformly.
        radius: smallest and largest mean radius in px, drawn log-uniformly.
        least: area in px that a particle needs in the first frame to be tracked.
        duration: number of frames of a video.
    """

    size: int = 257
    frames: int = 5
    gap: int = 3
    particles: tuple[int, int] = (5, 40)
    radius: tuple[float, float] = (6.0, 22.0)
    least: int = 24
    duration: int = 24


class Clips(NamedTuple):
    """B clips.

    Attributes:
        images: ``(B, T, 1, S, S)`` float32 in 0..1.
        labels: ``(B, T, S, S)`` int64, channel of each pixel's track, 0 = background, or :data:`IGNORED`.
        used: ``(B, 1 + objects)`` bool, channels in use.
        given: ``(B, T)`` bool, whether the memory of a frame gets the true labels instead of the predicted ones.
        progress: 0..1, share of the training that is done.
    """

    images: Tensor
    labels: Tensor
    used: Tensor
    given: Tensor
    progress: float


class ClipMaker:
    """Make the :class:`Clips` of a step, which depend on the seed and the step alone.

    Args:
        config: how clips are made.
        batch_size: B.
        steps: steps of the training.
        objects: number of tracks that the network follows at once.
        seed: seed of the draws.
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
        # scheduled sampling: at first true labels enter the memory, later mostly predicted ones, as in use
        given = rng.random((self.batch_size, self.config.frames)) > 0.85 * min(1.0, 2 * progress)
        return Clips(
            torch.from_numpy(images)[:, :, None],
            torch.from_numpy(labels),
            torch.from_numpy(used),
            torch.from_numpy(given),
            progress,
        )

    def _clip(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make one clip: images ``(T, S, S)``, labels ``(T, S, S)``, used channels ``(1 + objects,)``."""
        c = self.config
        video = draw_video(rng, c)
        gap = int(rng.integers(1, c.gap + 1))
        start = int(rng.integers(0, max(1, len(video) - gap * (c.frames - 1))))
        times = [min(start + k * gap, len(video) - 1) for k in range(c.frames)]
        tracks = np.stack([video.labels(t) for t in times])
        labels, used = self._channels(tracks, video.lineage, rng)
        frames = np.stack([to_unit_range(video.frame(t)) for t in times])
        turns, flip = int(rng.integers(4)), bool(rng.random() < 0.5)
        frames, labels = (np.rot90(a, turns, (1, 2)) for a in (recolour(frames, rng), labels))
        if flip:
            frames, labels = frames[:, :, ::-1], labels[:, :, ::-1]
        return np.ascontiguousarray(frames), np.ascontiguousarray(labels), used

    def _channels(self, tracks: np.ndarray, lineage: dict, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Assign the tracks of a clip to random channels. Tracks beyond the number of channels become background."""
        present, counts = np.unique(tracks[0], return_counts=True)
        present = present[(present > 0) & (counts >= self.config.least)]
        chosen = rng.permutation(present)[: self.objects]
        channels = rng.permutation(np.arange(1, self.objects + 1))[: len(chosen)]
        channel = dict(zip(chosen.tolist(), channels.tolist(), strict=True))
        for track in np.unique(tracks[1:]).tolist():
            if track not in channel and set(channel) & ancestors(track, lineage):
                channel[track] = IGNORED
        labels = np.zeros(tracks.shape, np.int64)
        for track, value in channel.items():
            labels[tracks == track] = value
        used = np.zeros(self.objects + 1, bool)
        used[[0, *channels]] = True
        return labels, used


def ancestors(track: int, lineage: dict) -> set[int]:
    """IDs of all tracks that merged into a track; ``lineage`` as in :class:`lisa_micro.sim.Video`."""
    parents = lineage[track]["parents"] if track in lineage else ()
    return set(parents).union(*(ancestors(parent, lineage) for parent in parents))


def draw_video(rng: np.random.Generator, config: ClipConfig) -> Video:
    """Simulate a video with random parameters."""

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
    """Change contrast, brightness and gamma of all frames ``(T, H, W)`` alike, and rarely invert them."""
    if rng.random() < 0.1:
        frames = 1 - frames
    frames = frames ** np.float32(np.exp(rng.normal(0, 0.2)))
    low, high = rng.uniform(0, 0.3), rng.uniform(0.7, 1)
    return (low + (high - low) * frames).astype(np.float32)
