"""What commands print: summaries, JSON, facts about files; and the folder that they choose."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from cli_calls import StandIn, call, failed
from PIL import Image

import lisa_micro
from lisa_micro.cli.summary import cells, number
from lisa_micro.io import write_labels
from lisa_micro.measure import measure_particles
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.summary import summarise_segments

ROOT = Path(__file__).resolve().parents[2]
NM = 0.5


def squares(*sides: int) -> np.ndarray:
    """Labels with a square of each side, in a row."""
    labels = np.zeros((40, 160), np.int32)
    for k, side in enumerate(sides):
        labels[5 : 5 + side, 5 + 30 * k : 5 + 30 * k + side] = k + 1
    return labels


class Measured(StandIn):
    """Answers with four measured squares and a substrate."""

    def ask(self, image, prompt):
        labels = squares(4, 8, 10, 20)
        table = measure_particles(labels, image.pixel_size_nm)
        particles = Segmentation(labels, 0.9, 0.8, "particle", "the particles", "", image.pixel_size_nm, table)
        substrate = Segmentation((labels == 0).astype(np.int32), 0.9, 0.9, "substrate", "", "", image.pixel_size_nm)
        return Answer("There are 4 particles.", (particles, substrate), prompt)

    def encode(self, image):
        return 0.0

    def segment_points(self, image, points, point_labels=None):
        return Segmentation(squares(4))

    def segment_everything(self, image):
        return Segmentation(squares(4, 8))


@pytest.fixture
def film(tmp_path, monkeypatch) -> Path:
    """A micrograph of 160 x 40 px in the current folder, 0.5 nm a pixel, and an assistant that finds four squares."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")  # a row of a table in a line
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: Measured(), raising=False)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 160), dtype=np.uint8)
    tifffile.imwrite("film.tif", pixels, imagej=True, resolution=(1 / NM, 1 / NM), metadata={"unit": "nm"})
    return Path("film.tif")


def test_the_summary_has_the_numbers_of_the_table(film, capsys):
    assert call("segment", film, "all particles") == 0
    shown = capsys.readouterr().out
    assert "\x1b[" not in shown  # no colours but on a terminal
    table = pd.read_csv("film-lisa/instances.csv")
    diameters = table[table["concept"] == "particle"]["diameter_nm"]
    line = next(line for line in shown.splitlines() if "the particles" in line)
    assert "diameter (nm)" in line and re.search(r"\b4\b", line)
    expected = [diameters.mean(), diameters.std(), diameters.median(), *np.percentile(diameters, [10, 90])]
    found = [float(text) for text in re.findall(r"\d+\.\d+", line)]
    np.testing.assert_allclose(found[:5], expected, rtol=5e-3)
    assert found[5] == pytest.approx(100 * (16 + 64 + 100 + 400) / 6400, rel=5e-3)
    substrate = next(line for line in shown.splitlines() if "substrate" in line)
    assert "diameter" not in substrate and "90.9 %" in substrate


def test_the_summary_of_necks_is_their_width_and_of_nothing_has_no_size():
    labels = squares(4, 6)
    table = pd.DataFrame({"label": [1, 2], "diameter_px": [9.0, 9.0], "neck_width_px": [3.0, 5.0]})
    neck, nothing, boxes = summarise_segments(
        [
            Segmentation(labels, concept="neck", properties=table),
            Segmentation(np.zeros_like(labels), concept="particle"),
            Segmentation(np.where(labels == 1, 3, labels)),  # of three boxes the first gave nothing
        ]
    )
    assert (neck.property, neck.unit, neck.mean, neck.median) == ("width", "px", 4.0, 4.0)
    assert neck.std == pytest.approx(np.sqrt(2))
    assert nothing.count == 0 and nothing.area_fraction == 0 and np.isnan(nothing.mean)
    assert cells(nothing) == ("particle", "0", "diameter (px)", "", "", "", "", "0 %")
    assert boxes.count == 2 and boxes.property == "diameter"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00"), (1234.5, "1234"), (12.345, "12.3"), (0.012345, "0.0123"), (1e-6, "1.00e-06")]
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_colours_on_a_terminal(film, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert call("segment", film, "all particles") == 0
    assert "\x1b[" in capsys.readouterr().out


def test_results_go_beside_the_working_folder_by_default(film, tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    film.rename(tmp_path / "deep" / "film.tif")
    assert call("segment", "deep/film.tif", "all particles") == 0
    assert (tmp_path / "film-lisa" / "answer.json").is_file() and not list((tmp_path / "deep").glob("*lisa*"))
    capsys.readouterr()
    assert "--force" in failed(capsys, "segment", "deep/film.tif", "all particles")
    write_labels("grains.tif", squares(4, 8), NM)
    assert call("measure", "grains.tif") == 0
    assert (tmp_path / "grains-lisa" / "summary.json").is_file()


def test_segment_as_json(film, capsys):
    assert call("segment", film, "all particles", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["reply"] == "There are 4 particles." and record["image"]["pixel_size_nm"] == NM
    particles, substrate = record["summary"]
    table = pd.read_csv("film-lisa/instances.csv")
    assert particles["mean"] == pytest.approx(table["diameter_nm"].dropna()[:4].mean())
    assert (particles["count"], particles["unit"]) == (4, "nm") and substrate["mean"] is None
    assert {Path(path).name for path in record["files"]} >= {"overlay.png", "mask_2.png", "answer.json"}
    assert all(Path(path).is_file() for path in record["files"])


def test_measure_as_json(film, capsys):
    write_labels("grains.tif", squares(4, 8), NM)
    assert call("measure", "grains.tif", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["count"] == 2 and record["mean_area_nm2"] == pytest.approx((16 + 64) / 2 * NM**2)
    assert record == {**json.loads(Path("grains-lisa/summary.json").read_text()), "files": record["files"]}


def test_compare_as_json(film, capsys):
    write_labels("truth.tif", squares(4, 8, 10, 20), NM)
    assert call("compare", film, "all particles", "--truth", "truth.tif", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["sentence"] and {row["way"] for row in record["scores"]} >= {"words", "boxes"}
    assert any(path.endswith("report.html") for path in record["files"])


def test_info(film, tmp_path, capsys):
    Image.new("RGB", (30, 20)).save("photo.png", dpi=(72, 72))
    floats = np.full((3, 8, 9), 2.5, np.float32)
    floats[:, 0, 0] = np.nan
    tifffile.imwrite("stack.tif", floats, photometric="minisblack")
    assert call("info", film, "photo.png", "stack.tif", "--json") == 0
    first, photo, stack = json.loads(capsys.readouterr().out)
    assert (first["width_px"], first["height_px"], first["type"], first["format"]) == (160, 40, "uint8", "TIFF")
    assert (first["pixel_size_nm"], first["pixel_size_origin"]) == (NM, "imagej")
    assert first["field_of_view_nm"] == [80.0, 20.0] and first["bytes"] == film.stat().st_size
    assert photo["pixel_size_nm"] is None and photo["type"] == "RGB" and photo["notes"]
    assert stack["pages"] == 3 and stack["type"] == "float32" and stack["not_finite"] == 1
    assert stack["intensity"] == [2.5, 2.5]
    assert call("info", film, "--pixel-size", "2") == 0
    shown = capsys.readouterr().out
    assert "160 x 40 px, TIFF uint8" in shown and "2 nm (user)" in shown


def test_info_goes_on_after_a_file_that_cannot_be_read(film, capsys):
    Path("text.txt").write_text("hello")
    assert call("info", "none.tif", film, "text.txt", "--json") == 2
    shown = capsys.readouterr()
    assert [record["file"] for record in json.loads(shown.out)] == ["film.tif"]
    assert shown.err.count("error: ") == 2 and "none.tif does not exist" in shown.err
    assert call("info") == 2


def test_evaluate_lists_suites_as_json(capsys):
    from lisa_micro.evaluate import SUITES

    assert call("evaluate", "list", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == set(SUITES)


def test_ask_as_json(tmp_path, capsys, monkeypatch):
    answers = iter([Answer("Two.", notes=("A notice.",)), Answer("Three.")])

    class Asked:
        def ask(self, question):
            return next(answers)

    class Tracked:
        @staticmethod
        def load(folder):
            return Tracked()

        def chat(self, assistant, video):
            return Asked()

    monkeypatch.setattr("lisa_micro.video.tracks.Tracks", Tracked)
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: None, raising=False)
    assert call("ask", tmp_path, "how many?", "and now?", "--json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["text"] for record in records] == ["Two.", "Three."]
    assert records[0] == {"question": "how many?", "text": "Two.", "values": [], "notes": ["A notice."]}
