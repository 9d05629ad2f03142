"""Analysis and report of tracks: the files of lisa-micro track beside its tables."""

from __future__ import annotations

import av
import numpy as np
import pandas as pd
import pytest

from lisa_micro.io import read_video
from lisa_micro.protocols import Detections
from lisa_micro.sim import simulate_sintering
from lisa_micro.sim.growth import MECHANISMS
from lisa_micro.video.analysis import REPORT_FILES, TABLE_FILES, analyse, napari_layers, write_report
from lisa_micro.video.detectors import FunctionDetector
from lisa_micro.video.track_run import link_detections

FRAMES = 30


@pytest.fixture(scope="module")
def sintering():
    return simulate_sintering(
        seed=7_000_105, frames=FRAMES, shape=(192, 192), n_particles=9, radius_nm=2.6, mechanism="viscous flow"
    )


@pytest.fixture(scope="module")
def tracks(sintering):
    return link_detections(
        read_video(sintering), FunctionDetector(lambda image, t: Detections(sintering.labels(t), None, 0.9, 0.9))
    )


def test_the_report_has_all_files(tracks, sintering, tmp_path):
    written, notes = write_report(tracks.findings, tmp_path, sintering)
    assert not notes
    assert {path.name for path in written} == set(REPORT_FILES)
    growth = pd.read_csv(tmp_path / "growth.csv")
    pairs = tracks.necks[["particle_a", "particle_b"]].drop_duplicates()
    assert set(zip(growth["a"], growth["b"], strict=True)) == set(map(tuple, pairs.to_numpy()))
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert sizes["count"].tolist() == tracks.counts().tolist()
    with av.open(str(tmp_path / "overlay.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == FRAMES


def test_exponents_of_the_simulated_law(tracks, sintering):
    growth = tracks.findings.growth
    fitted = growth[growth["why"] == ""]
    assert len(fitted)
    true = MECHANISMS[sintering.mechanism].n
    assert np.mean([row.n_low <= true <= row.n_high for row in fitted.itertuples()]) >= 0.8


def test_observed_onsets_bound_t0(tracks):
    findings = analyse(tracks)
    late = tracks.events[(tracks.events["kind"] == "contact") & (tracks.events["uncertainty_frames"] > 0)]
    spans = findings._onsets()
    assert len(spans) == len({tuple(sorted(pair)) for pair in late["after"]})
    assert all(0 <= low < high <= (FRAMES - 1) * tracks.frame_time_s for low, high in spans.values())


def test_parts_of_the_report_are_optional_and_a_missing_video_stops_nothing(tracks, tmp_path):
    write_report(tracks.findings, tmp_path, simulate_sintering(seed=1, frames=2, shape=(64, 64), n_particles=2))
    assert not (tmp_path / "overlay.mp4").exists()
    written, notes = write_report(tracks.findings, tmp_path, tmp_path / "gone.tif", plots=False)
    assert {path.name for path in written} == set(TABLE_FILES)
    assert not (tmp_path / "plots.html").exists()  # earlier plots are removed
    assert len(notes) == 1 and "movie" in notes[0]


def test_napari_layers(tracks):
    layers = napari_layers(tracks)
    rows = layers["tracks"]
    assert rows.shape == (len(tracks.tracks), 4)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    assert (order == np.arange(len(rows))).all()
    merged = [k for k, life in tracks.lineage.items() if life["parents"]]
    assert set(layers["graph"]) == set(merged)


def test_a_video_without_contacts_or_particles(tmp_path):
    empty = np.zeros((4, 40, 50), np.uint8)
    nothing = link_detections(
        read_video(empty), FunctionDetector(lambda image, t: Detections(np.zeros((40, 50), np.int32), None, 0.1, 0.1))
    )
    written, notes = write_report(analyse(nothing), tmp_path, empty)
    assert {path.name for path in written} == set(REPORT_FILES) and not notes
    assert pd.read_csv(tmp_path / "growth.csv").empty
