"""Detections of simulated videos, the same for all trackers: label images without identities, one file a frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FIRST_SEED, CHOOSING_SEED = 7_000_300, 7_000_400
"""First seeds of the videos that are scored, and of those on which the settings of a tracker are chosen."""
MOTIONS: dict[str, dict[str, Any]] = {
    "slow": {"diffusion_px": 0.6},
    "fast": {"diffusion_px": 6.0, "drift_px": (4.0, 3.0)},
}
"""Settings of ``simulate_sintering``: random steps of 0.6 px a frame, or of 6 px on a sample that drifts."""


@dataclass(frozen=True)
class DetectedVideo:
    """The detections of a video on disk: ``FRAME.npy`` in ``detected`` and ``true``, and ``lineage.json``."""

    folder: Path

    def __len__(self) -> int:
        return len(list((self.folder / "true").glob("*.npy")))

    def detected(self) -> Iterator[np.ndarray]:
        """``(H, W)`` int32 of each frame: instances in an order that tells nothing."""
        return (np.load(self.folder / "detected" / f"{t}.npy") for t in range(len(self)))

    def true(self) -> Iterator[np.ndarray]:
        """``(H, W)`` int32 of each frame: true track IDs."""
        return (np.load(self.folder / "true" / f"{t}.npy") for t in range(len(self)))

    def parents(self) -> dict[int, tuple[int, ...]]:
        """True track ID -> the two that coalesced, or none."""
        read = json.loads((self.folder / "lineage.json").read_text(encoding="utf-8"))
        return {int(identity): tuple(names) for identity, names in read.items()}


def detect(folder: str, motion: str, seed: int, frames: int, by: str) -> dict[str, Any]:
    """Simulate a video and write its detections.

    Args:
        folder: where to.
        motion: a key of :data:`MOTIONS`.
        by: ``"truth"``: true labels in random order, disturbed as segmentations are (a tenth of the pairs in contact
            joined, 2 % of the particles missed and 2 % cut in two in each frame, ragged edges); ``"micro"``: what
            LISA-micro segments in each rendered frame.

    Returns:
        ``frames``, ``detections`` (mean number in a frame), ``coalescences`` (true number).
    """
    from lisa_micro.sim import simulate_sintering

    video = simulate_sintering(seed, frames, (512, 512), n_particles=30, **MOTIONS[motion])
    detector = _disturbed(video, seed) if by == "truth" else _micro()
    place, number = Path(folder), 0
    for part in ("detected", "true"):
        (place / part).mkdir(parents=True, exist_ok=True)
    for t in range(len(video)):
        labels = detector(video, t)
        number += len(np.unique(labels[labels > 0]))
        np.save(place / "detected" / f"{t}.npy", labels.astype(np.int32))
        np.save(place / "true" / f"{t}.npy", video.labels(t))
    lineage = {k: list(life["parents"]) for k, life in video.lineage.items() if life["first_frame"] < len(video)}
    (place / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")
    merges = sum(len(parents) == 2 for parents in lineage.values())
    return {"frames": len(video), "detections": number / len(video), "coalescences": merges}


def _disturbed(video: Any, seed: int) -> Any:
    from tracking import TrueLabels  # benchmarks/tracking.py

    labels = TrueLabels(video, seed, disturbed=True)
    return lambda video, t: labels.detect(None, t).labels


def _micro() -> Any:
    import lisa_micro as lm
    from lisa_micro.video.detectors import WordDetector

    detector = WordDetector(lm.load_assistant("micro", device="cpu"), "segment all nanoparticles")
    return lambda video, t: detector.detect(lm.Micrograph(video.frame(t), video.pixel_size_nm), t).labels
