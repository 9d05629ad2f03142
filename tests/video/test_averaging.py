"""Averaging of frames with their neighbours: less noise, no blur, no ghosts, and the same result after a resume."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lisa_micro.io import read_video
from lisa_micro.protocols import Detections
from lisa_micro.types import InputError, Micrograph
from lisa_micro.video.denoise import averaged
from lisa_micro.video.detectors import IndependentDetector
from lisa_micro.video.track_run import RunOptions, link_detections


def discs(*centres, radius=9.0, shape=(96, 96)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    away = [np.hypot(columns - x, rows - y) for x, y in centres]
    return ndimage.gaussian_filter(1.0 - 0.5 * (np.min(away, axis=0) <= radius), 0.7).astype(np.float32)


def noisy(frames, deviation=0.1, seed=5):
    rng = np.random.default_rng(seed)
    return [Micrograph(f + rng.normal(0, deviation, f.shape).astype(np.float32)) for f in frames]


@pytest.mark.parametrize("reach, left", [(0, 1.0), (1, 3**-0.5), (2, 5**-0.5)])
def test_noise_falls_as_in_a_mean(reach, left):
    clean = discs((30, 30), (62, 58))
    frames = noisy([clean] * 9)
    pairs = list(averaged(iter(frames), reach))
    assert [id(frame) for frame, _ in pairs] == [id(frame) for frame in frames]  # in order and unchanged
    rest = [float((mean.pixels - clean).std()) for _, mean in pairs]
    assert np.allclose(rest[reach : 9 - reach], 0.1 * left, rtol=0.12)
    assert max(rest) < 0.11


def test_a_drifting_sample_stays_sharp():
    clean = [discs((30 + 2.4 * t, 40 - 1.3 * t), (62 + 2.4 * t, 58 - 1.3 * t), radius=11) for t in range(6)]
    pairs = list(averaged(noisy(clean, 0.05), 1))
    for truth, (frame, mean) in list(zip(clean, pairs, strict=True))[1:-1]:
        assert (mean.pixels - truth).std() < 0.75 * (frame.pixels - truth).std()


def test_a_particle_that_jumps_leaves_no_ghost():
    before, after = discs((30, 30), (66, 66)), discs((66, 66), (30, 66))
    frames = noisy([before, before, after, after], 0.03)
    means = [mean.pixels for _, mean in averaged(frames, 1)]
    old, new = np.s_[26:35, 26:35], np.s_[62:71, 26:35]
    for t, (at_old, at_new) in enumerate([(0.5, 1.0), (0.5, 1.0), (1.0, 0.5), (1.0, 0.5)]):
        assert means[t][old].mean() == pytest.approx(at_old, abs=0.05)
        assert means[t][new].mean() == pytest.approx(at_new, abs=0.05)


def test_frames_with_holes_and_other_brightness():
    clean = discs((48, 48))
    frames = noisy([clean, clean, clean + 0.3], 0.02)
    frames[0].pixels[:5] = np.nan
    means = [mean.pixels for _, mean in averaged(frames, 1)]
    assert np.isnan(means[0][:5]).all() and np.isfinite(means[0][5:]).all()
    assert np.isfinite(means[1]).all() and np.isfinite(means[2]).all()
    assert list(averaged(iter(()), 1)) == []
    assert len(list(averaged(frames[:1], 3))) == 1


class Dark(IndependentDetector):
    """Detects dark regions; may be interrupted at a frame."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop, self.seen = stop, {}

    def detect(self, frame, number):
        if number == self.stop:
            raise KeyboardInterrupt
        self.seen[number] = frame.pixels.copy()
        return Detections(ndimage.label(ndimage.gaussian_filter(frame.pixels, 1) < 0.75)[0].astype(np.int32))


def tracked(frames, detector, **options):
    return link_detections(read_video(np.stack(frames), 1.0, 1.0), detector, RunOptions(**options))


def test_detections_use_the_mean_and_intensities_the_frame(tmp_path):
    clean = discs((30, 30), (66, 66))
    frames = [frame.pixels for frame in noisy([clean] * 6, 0.08)]
    detector = Dark()
    tracks = tracked(frames, detector, average=1, out=tmp_path / "whole")
    assert (detector.seen[2] - clean).std() < 0.7 * (frames[2] - clean).std()
    inside = tracks.labels[2] == 1
    row = tracks.tracks[(tracks.tracks["frame"] == 2) & (tracks.tracks["identity"] == 1)].iloc[0]
    assert row["mean_intensity"] == pytest.approx(frames[2][inside].mean(), abs=1e-5)
    with pytest.raises(KeyboardInterrupt):
        tracked(frames, Dark(stop=3), average=1, out=tmp_path / "cut")
    with pytest.raises(InputError, match="another request"):
        tracked(frames, Dark(), average=2, out=tmp_path / "cut", resume=True)
    again = tracked(frames, Dark(), average=1, out=tmp_path / "cut", resume=True)
    assert again.record["frames_resumed"] == 3 and again.record["average"] == 1
    for one, other in zip(again.labels, tracks.labels, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("average", [-1, 11])
def test_an_invalid_number_of_averaged_frames_is_refused(average):
    with pytest.raises(InputError, match="averaged with 0 to 10 frames on each side, not"):
        tracked(np.zeros((2, 32, 32), np.float32), Dark(), average=average)
