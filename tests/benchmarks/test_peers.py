"""``benchmarks/peers.py``: tables of other programs, scores, and the tracks of other trackers are read correctly."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from lisa_micro.types import InputError

sys.path.append(str(ROOT / "benchmarks"))

from competitors import imagej, report, scikit, trackers
from competitors.pictures import Picture, particles_are_bright, write
from competitors.processes import alone
from competitors.scores import score, summary


def discs(shape: tuple[int, int], places: list[tuple[int, int, int]]) -> np.ndarray:
    """``(H, W)`` labels of discs given as row, column, radius."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for k, (y, x, r) in enumerate(places, start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= r**2] = k
    return labels


APART = discs((120, 160), [(30, 30, 12), (80, 60, 18), (50, 120, 25)])
TOUCHING = discs((120, 160), [(60, 50, 20), (60, 88, 20)])


def picture(folder: Path, labels: np.ndarray, bright: bool) -> Picture:
    grey = np.where((labels > 0) == bright, 180.0, 60.0) + np.random.default_rng(0).normal(0, 3, labels.shape)
    return write(folder, "bright" if bright else "dark", grey, labels)


# ------------------------------------------------------------------------------------------------- segmentation


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("level", ["otsu", "li"])
def test_scikit_finds_bright_and_dark_particles(tmp_path, bright, level):
    one = picture(tmp_path, APART, bright)
    assert one.bright is bright
    (found,) = scikit.segment([(one, scikit.ScikitSetting(level, 1.0, 20, True))], tmp_path)
    scored = score(one.name, found.labels, APART, found.diameters, found.seconds)
    assert (scored.tp, scored.fp, scored.fn) == (3, 0, 0)
    assert scored.iou > 0.9 and abs(scored.diameter_error) < 0.05


def test_only_the_watershed_separates_particles_that_touch(tmp_path):
    one = picture(tmp_path, TOUCHING, True)
    for distance, number in ((0, 1), (10, 2)):
        (found,) = scikit.segment([(one, scikit.ScikitSetting("otsu", 1.0, 20, True, distance))], tmp_path)
        assert found.labels.max() == len(found.diameters) == number


def test_small_regions_are_removed_and_the_others_numbered():
    labels = np.array([[1, 1, 0, 2, 0, 3, 3, 3]])
    assert scikit.without_small(labels, 2).tolist() == [[1, 1, 0, 0, 0, 2, 2, 2]]


def test_a_picture_without_background_has_a_polarity():
    assert particles_are_bright(np.zeros((4, 4)), np.ones((4, 4), int))


# ------------------------------------------------------------------------------------------------------- ImageJ


def test_areas_are_read_from_a_results_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(" ,Area\n1,35\n2,1204.500\n")
    assert imagej.read_areas(path) == [35.0, 1204.5]
    path.write_text(" ,Label,Area,Mean\n1,film.tif,12,3\n")
    assert imagej.read_areas(path) == [12.0]
    assert imagej.read_areas(tmp_path / "nothing.csv") == []


@pytest.mark.parametrize("text", [" ,Mean\n1,35\n", " ,Area\n1,-\n", " ,Mean,Area\n1,2\n"])
def test_another_table_is_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match="a.csv"):
        imagej.read_areas(tmp_path / "a.csv")


def test_imagej_is_told_of_the_background():
    setting = imagej.ImageJSetting("Otsu", 2.0, 100, True, False)
    for bright, level in ((True, "Otsu dark"), (False, "Otsu")):
        one = Picture("a", "a.tif", "a.npy", bright)
        assert imagej.row(one, Path("b"), setting).split("\t") == ["a.tif", "b", level, "2", "100", "1", "0"]


def test_a_missing_imagej_is_named_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setattr(imagej, "JAR", tmp_path / "ij.jar")
    with pytest.raises(InputError, match="apt-get install imagej"):
        imagej.check_installed()


@pytest.mark.skipif(
    not imagej.JAR.is_file() or not (imagej.has_display() or shutil.which("Xvfb")), reason="ImageJ is not installed"
)
def test_imagej_finds_bright_and_dark_particles(tmp_path):
    setting = imagej.ImageJSetting("Otsu", 1.0, 20, True, True)
    both = [(picture(tmp_path, APART, bright), setting) for bright in (True, False)]
    for found in imagej.segment(both, tmp_path / "work"):
        scored = score(found.name, found.labels, APART, found.diameters, found.seconds)
        assert (scored.tp, scored.fp, scored.fn) == (3, 0, 0)
        areas = np.bincount(found.labels.ravel())[1:]
        assert np.allclose(found.diameters, np.sqrt(4 * areas / np.pi))
        assert found.seconds > 0 and found.peak_gb > 0


# ------------------------------------------------------------------------------------------------------- scores


def test_errors_of_number_and_size():
    joined = np.where(TOUCHING > 0, 1, 0)
    area = np.count_nonzero(joined)
    scored = score("a", joined, TOUCHING, [float(np.sqrt(4 * area / np.pi))], 0.1)
    assert scored.iou == 1 and scored.count_error == -0.5
    assert scored.diameter_error == pytest.approx(np.sqrt(2) - 1, abs=0.02)  # two areas in one
    nothing = score("b", 0 * TOUCHING, TOUCHING, [], 0.3)
    assert nothing.count_error == nothing.diameter_error == -1
    found = summary([scored, nothing])
    assert found["seconds"] == pytest.approx(0.2) and found["count_error"] == 0.75 and found["particles"] == 4
    assert found["ap_low"] <= found["ap"] <= found["ap_high"]


def test_a_table_that_does_not_belong_to_the_labels_is_noticed():
    with pytest.raises(ValueError, match="3 particles in the labels but 1"):
        score("a", APART, APART, [10.0], 0.1)


# ----------------------------------------------------------------------------------------------------- trackers


def film() -> list[np.ndarray]:
    """Two particles that approach each other and become one in frame 4; numbered in another order in each frame."""
    frames = [discs((60, 120), [(30, 30 + 5 * t, 9), (30, 90 - 5 * t, 9)]) for t in range(5)]
    frames = [np.where(labels > 0, 3 - labels, 0) if t % 2 else labels for t, labels in enumerate(frames)]
    return [*frames, *(discs((60, 120), [(30, 60, 12)]) for _ in range(3))]


def test_labels_become_track_ids():
    frames = [np.array([[1, 2, 0]]), np.array([[0, 1, 1]])]
    named = trackers.renamed(frames, [0, 0, 1], [1, 2, 1], [7, 0, 0])
    assert [one.tolist() for one in named] == [[[8, 1, 0]], [[0, 1, 1]]]
    assert trackers.renamed(frames, [0], [1], [7])[1].tolist() == [[0, 0, 0]]  # without a track


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("micro", {}),
        ("trackpy", {"reach": 12.0, "memory": 0}),
        ("laptrack", {"reach": 20.0, "gap": 0, "merging": 1}),
        ("laptrack-overlap", {"cutoff": 0.95, "gap": 0, "merging": 0.9}),
    ],
)
def test_each_tracker_follows_two_particles(name, setting):
    tracker = trackers.TRACKERS[name]
    if tracker.package:
        pytest.importorskip(tracker.package)
    linked = tracker.link(film(), **setting)
    assert len(linked.labels) == 8
    ids = [(int(labels[30, 30 + 5 * t]), int(labels[30, 90 - 5 * t])) for t, labels in enumerate(linked.labels[:4])]
    assert len(set(ids)) == 1 and 0 not in ids[0] and ids[0][0] != ids[0][1]
    if name.startswith("laptrack"):
        child = int(linked.labels[-1].max())
        assert linked.parents[child] == tuple(sorted(ids[0]))


# ---------------------------------------------------------------------------------------------- steps and tables


def test_a_step_runs_in_a_process_of_its_own():
    found = alone("choose_tracker", {"name": "micro", "folders": []}, 1)
    assert set(found) == {"peak_gb"} and (found["peak_gb"] > 0 or sys.platform != "linux")
    failed = alone("choose_tracker", {"name": "none", "folders": []}, 1)
    assert "KeyError" in failed["skipped"]


def test_what_cannot_run_is_told_in_one_sentence(tmp_path):
    settings = {"folder": str(tmp_path / "a"), "source": "emps", "choosing": False, "count": 1, "data": str(tmp_path)}
    assert "the data set emps is not found" in alone("prepare", settings, 1)["skipped"]


def test_the_page_has_the_tables_of_the_results():
    results = json.loads((ROOT / "benchmarks" / "peers.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    assert {name for _, name, *_ in report.MARKED.findall(page)} == set(report.TABLES)
    assert report.fill(page, results) == page
    assert report.markdown(results) == (ROOT / "benchmarks" / "peers.md").read_text(encoding="utf-8")


def test_tables_go_between_their_marks():
    page = "a\n<!-- table: networks -->\n<!-- end -->\nb\n<!-- table: networks machine -->\n<!-- end -->\nc\n"
    empty = report.fill(page, {})
    assert "--part networks" in empty and report.fill(empty, {}) == empty
    times = {"encode": [[2.0, 1.0], [4.0, 1.5]]}
    rows = {
        "sam-vit-b": {"times": times, "peak_gb": 3.0},
        "micro-boxes": {"times": {"one box": [[0.5, 0.25]]}, "peak_gb": 1.0},
    }
    about = {
        "hardware": "a CPU",
        "load": [0, 1],
        "remark": "",
        "commit": "",
        "release": "",
        "versions": {},
        "seeds": "1",
    }
    results = {"networks": {"rows": rows, "machine": about, "skipped": {"cellpose": "It is not installed."}}}
    full = report.fill(empty, results)
    assert report.fill(full, results) == full and "not measured" not in full.lower()
    assert "| the image | 3.000 (2.000 to 4.000) | 1.250 (1.000 to 1.500) | 2 | 1.0 | 1.0 | 3.00 |" in full
    assert "Skipped: cellpose. It is not installed." in full
    assert [line for line in full.splitlines() if len(line) == 1] == ["a", "b", "c"]
