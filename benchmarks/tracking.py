"""Track simulated sintering videos: identity switches, coalescence, onset of contact, neck radius.

    python benchmarks/tracking.py                   # true labels without identities, as they are and disturbed
    python benchmarks/tracking.py --micro 40        # and 40 frames of each noise level, segmented by the preset
    python benchmarks/tracking.py --videos 0 --micro 40 --tracker deaot-t=runs/deaot-t/weights/deaot.safetensors
                                                    # the same detections linked by overlap and by another tracker
    ... --diffusion 6 --drift 4 3                   # particles that jump ten times as far, on a sample that drifts

Seeds from 7,000,000 on are those of validation videos; nothing is trained on them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

import lisa_micro as lm
from lisa_micro.io import read_video
from lisa_micro.metrics.lineage import track_scores
from lisa_micro.metrics.tracks import track_overlaps
from lisa_micro.protocols import Detections, FrameDetector
from lisa_micro.sim import Video, simulate_sintering
from lisa_micro.sim.growth import MECHANISMS
from lisa_micro.video.detectors import IndependentDetector, WordDetector
from lisa_micro.video.track import AVERAGE
from lisa_micro.video.track_run import RunOptions, link_detections
from lisa_micro.video.tracks import Tracks

FIRST_SEED = 7_000_000
NOISE = (0.5, 1.0, 2.0)
TOLERANCE = 3


@dataclass
class Beginning:
    """The first frames of a simulated video."""

    whole: Video
    frames: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return self.frames

    def __iter__(self):
        return (self.whole.frame(t) for t in range(self.frames))


class TrueLabels(IndependentDetector):
    """True labels in a random order, disturbed as segmentations are: pairs in contact joined, particles missed or cut
    in two."""

    def __init__(self, video: Video, seed: int, disturbed: bool):
        super().__init__()
        self.video, self.rng, self.disturbed = video, np.random.default_rng(seed), disturbed

    def detect(self, frame: lm.Micrograph, number: int) -> Detections:
        labels = self.video.labels(number)
        if self.disturbed:
            labels = self._disturb(labels, number)
        order = np.concatenate([[0], 1 + self.rng.permutation(labels.max())]).astype(np.int32)
        return Detections(order[labels])

    def _disturb(self, labels: np.ndarray, t: int) -> np.ndarray:
        labels = labels.copy()
        for neck in self.video.neck_labels(t)[1]:
            if self.rng.random() < 0.10:
                labels[labels == neck["b"]] = neck["a"]
        for k in np.unique(labels[labels > 0]):
            chance = self.rng.random()
            if chance < 0.02:
                labels[labels == k] = 0
            elif chance < 0.04:
                rows, columns = np.nonzero(labels == k)
                half = columns > np.median(columns)
                labels[rows[half], columns[half]] = labels.max() + 1
        edge = ndimage.gaussian_filter(self.rng.normal(size=labels.shape), 2.0)
        ragged = (edge > 0.12) & (ndimage.grey_erosion(labels, 3) != labels)
        return np.where(ragged, 0, labels).astype(np.int32)


class CachedDetector(IndependentDetector):
    """Keeps the detections of another detector, so that several trackers link the same ones."""

    def __init__(self, detector: FrameDetector):
        super().__init__(detector.state)
        self.detector = detector
        self.found: dict[int, Detections] = {}

    def detect(self, frame: lm.Micrograph, number: int) -> Detections:
        if number not in self.found:
            self.found[number] = self.detector.detect(frame, number)
        found = self.found[number]
        return replace(found, labels=found.labels.copy())


def matches(video: Video, tracks: Tracks) -> list[dict[int, int]]:
    """For each frame: true identity -> the identity found that shares more than half of their union."""
    found = []
    for t in range(len(tracks)):
        true, labels = video.labels(t), tracks.labels[t]
        common = np.zeros((true.max() + 1, labels.max() + 1))
        np.add.at(common, (true.ravel(), labels.ravel()), 1)
        union = common.sum(1)[:, None] + common.sum(0)[None] - common
        iou = (common / np.maximum(union, 1))[1:, 1:]
        pairs = zip(*linear_sum_assignment(-iou), strict=True)
        found.append({int(a) + 1: int(b) + 1 for a, b in pairs if iou[a, b] > 0.5})
    return found


def score(video: Video, tracks: Tracks) -> dict[str, float]:
    """The figures of one video."""
    frames = matches(video, tracks)
    last: dict[int, int] = {}
    votes: dict[int, Counter] = {}
    switches = missed = total = 0
    for t, match in enumerate(frames):
        present = np.unique(video.labels(t))
        total, missed = total + len(present) - 1, missed + len(present) - 1 - len(match)
        for a, b in match.items():
            switches += last.get(a, b) != b
            last[a] = b
            votes.setdefault(a, Counter())[b] += 1
    name = {a: counter.most_common(1)[0][0] for a, counter in votes.items()}
    births = [e for e in video.events if e["kind"] == "coalesce" and e["frame"] < len(tracks)]
    events = tracks.events[tracks.events["kind"] == "coalesce"]
    hits, late, kept = 0, [], 0
    for event in births:
        child = name.get(event["identity"])
        kept += child is not None and child in {name.get(p) for p in event["particles"]}
        rows = [f for f, after in zip(events["frame"], events["after"], strict=True) if after == (child,)]
        if rows:
            late.append(rows[0] - event["frame"])
            hits += abs(late[-1]) <= TOLERANCE
    onset, unseen = [], 0
    touches = tracks.events[tracks.events["kind"] == "contact"]
    pairs = {tuple(sorted(p)): f for f, p in zip(touches["frame"], touches["before"], strict=True)}
    true_contacts = [e for e in video.events if e["kind"] == "contact" and 0 < e["frame"] < len(tracks)]
    for event in true_contacts:
        pair = tuple(sorted(name.get(p, 0) for p in event["particles"]))
        if pair in pairs:
            onset.append(pairs[pair] - event["frame"])
        else:
            unseen += 1
    overlaps = track_overlaps((video.labels(t) for t in range(len(tracks))), tracks.labels)
    scores = track_scores(overlaps, _begun(video, tracks), tracks.lineage)
    return {
        "HOTA": scores["hota"],
        "IDF1": scores["idf1"],
        "TRA": scores["tra"],
        "merge F1": scores["merge_f1"],
        **exponents(video, tracks, name),
        "missed": missed / max(total, 1),
        "switches": switches,
        "kept at coalescence": kept,
        "true": len(births),
        "F1": 2 * hits / max(len(births) + len(events), 1),
        "late": float(np.mean(late)) if late else np.nan,
        "onset": float(np.mean(np.abs(onset))) if onset else np.nan,
        "unseen": unseen,
        "contacts": len(true_contacts),
        "x error": neck_error(video, tracks, name),
        "false events": int((tracks.events["kind"].isin(["appear", "vanish", "split"])).sum()),
    }


def _begun(video: Video, tracks: Tracks) -> dict[int, dict[str, Any]]:
    """The lineage of what is there before the tracks end."""
    return {k: life for k, life in video.lineage.items() if life["first_frame"] < len(tracks)}


def exponents(video: Video, tracks: Tracks, name: dict[int, int]) -> dict[str, float]:
    """How many necks could be fitted, in how many the true exponent lies in the 95 % interval, and their width."""
    true_n = MECHANISMS[video.mechanism].n
    real = {tuple(sorted(name.get(row[k], 0) for k in ("a", "b"))) for row in video.necks}
    fitted = tracks.findings.growth
    fitted = fitted[
        np.isfinite(fitted["n"]) & np.array([pair in real for pair in zip(fitted["a"], fitted["b"], strict=True)], bool)
    ]
    inside = (fitted["n_low"] <= true_n) & (true_n <= fitted["n_high"])
    return {
        "n fitted": len(fitted),
        "n inside": float(inside.mean()) if len(fitted) else np.nan,
        "n median": float(fitted["n"].median()) if len(fitted) else np.nan,
        "true n": true_n,
    }


def neck_error(video: Video, tracks: Tracks, name: dict[int, int]) -> float:
    """Mean relative error of the neck radius x over all pairs and frames."""
    table = {
        (int(f), int(a), int(b)): x
        for f, a, b, x in tracks.necks[["frame", "particle_a", "particle_b", "x_px"]].itertuples(index=False)
    }
    errors = []
    for row in video.necks:
        pair = sorted(name.get(row[k], 0) for k in ("a", "b"))
        x = table.get((row["frame"], *pair))
        if x is not None:
            errors.append(abs(x - row["x_px"]) / row["x_px"])
    return float(np.mean(errors)) if errors else np.nan


def show(title: str, figures: dict[str, float], seconds: float) -> None:
    """One line of the table."""
    numbers = "  ".join(f"{key} {value:.3g}" for key, value in figures.items())
    print(f"{title:34} {numbers}  s/frame {seconds:.2f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=3, help="of true labels")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--micro", type=int, default=0, metavar="FRAMES", help="segmented by the preset 'micro'")
    parser.add_argument("--noise", type=float, nargs="+", default=NOISE, choices=NOISE, help="only these levels")
    parser.add_argument("--seed", type=int, default=FIRST_SEED + 10, help="of the first video that is segmented")
    parser.add_argument("--preset", default="micro")
    parser.add_argument(
        "--tracker", action="append", default=[], metavar="NAME=WEIGHTS", help="beside overlap; may be repeated"
    )
    parser.add_argument("--diffusion", type=float, default=0.6, help="of a particle, px a frame")
    parser.add_argument("--drift", type=float, nargs=2, default=(0.0, 0.0), metavar=("X", "Y"), help="px a frame")
    options = parser.parse_args()
    settings = {
        "frames": options.frames,
        "shape": (512, 512),
        "n_particles": 30,
        "diffusion_px": options.diffusion,
        "drift_px": tuple(options.drift),
    }
    for k in range(options.videos):
        video = simulate_sintering(FIRST_SEED + k, noise=NOISE[k % len(NOISE)], **settings)
        for disturbed in (False, True):
            start = time.perf_counter()
            tracks = link_detections(
                read_video(_blank(video), video.pixel_size_nm, video.frame_time_s), TrueLabels(video, k, disturbed)
            )
            seconds = (time.perf_counter() - start) / len(tracks)
            show(f"{FIRST_SEED + k} {'disturbed' if disturbed else 'true'} labels", score(video, tracks), seconds)
    if options.micro:
        assistant = lm.load_assistant(options.preset)
        for k, noise in enumerate(NOISE):
            if noise not in options.noise:
                continue
            video = simulate_sintering(options.seed + k, noise=noise, **settings)
            detector = CachedDetector(WordDetector(assistant, "segment all nanoparticles"))
            for spec in ("overlap", *options.tracker):
                name, _, weights = spec.partition("=")
                tracker = None if name == "overlap" else lm.build_tracker(name, checkpoint=weights or None)
                start = time.perf_counter()
                stream = read_video(Beginning(video, min(options.micro, options.frames)))
                tracks = link_detections(stream, detector, RunOptions(average=AVERAGE), tracker=tracker)
                seconds = (time.perf_counter() - start) / len(tracks)
                show(f"{options.seed + k} {options.preset}, noise {noise}, {name}", score(video, tracks), seconds)


def _blank(video: Video) -> np.ndarray:
    """Frames without content, which need no time to render: true labels do not look at them."""
    return np.broadcast_to(np.zeros(1, np.float32), (len(video), *video.shape))


if __name__ == "__main__":
    main()
