"""Statistics and reports of a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import openpyxl
import pandas as pd
import pytest
from batch_images import disc_image, write_image
from batch_stand_in import StandInSource

import lisa_micro as lm
from lisa_micro.batch import BatchOptions
from lisa_micro.batch.analysis import GroupSizes, Topic, analyse
from lisa_micro.batch.report import write_reports
from lisa_micro.batch.report.charts import medians_figure
from lisa_micro.measure.statistics import Sample, edge_weights, size_statistics
from lisa_micro.results.pages import number_text
from lisa_micro.types import InputError


def sized(seed: int, radius: float, count: int = 6) -> np.ndarray:
    """Discs of nearly one radius, apart from each other."""
    rng = np.random.default_rng(seed)
    pixels = np.full((96, 96), 30, np.uint8)
    rows, columns = np.mgrid[:96, :96]
    for k in range(count):
        y, x = 16 + 32 * (k // 3) + rng.uniform(-3, 3), 16 + 32 * (k % 3) + rng.uniform(-3, 3)
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < (radius * rng.uniform(0.9, 1.1)) ** 2] = 200
    pixels[0, 0] = 0
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two groups of eight images whose sizes differ, an image with far larger discs, and a broken one."""
    root = tmp_path_factory.mktemp("batch")
    for k in range(8):
        write_image(root / "in" / "small" / f"film_{k}.tif", sized(k, 5))
        write_image(root / "in" / "large" / f"film_{k}.tif", sized(k, 8))
    write_image(root / "in" / "small" / "other <b>scale.tif", sized(9, 12))
    (root / "in" / "small" / "empty.tif").write_bytes(b"")
    lm.batch(
        root / "in", "segment <script>alert(1)</script> particles", root / "out", "serial", assistant=StandInSource(),
        options=BatchOptions(group_by="folder"), command="lisa-micro batch in",
    )  # fmt: skip
    return root / "out"


def test_statistics_are_those_of_the_tables(folder):
    statistics = pd.read_csv(folder / "statistics.csv").set_index(["group", "basis", "statistic"]).sort_index()
    instances = pd.read_parquet(folder / "instances.parquet")
    large = instances[instances["group"] == "large"]
    assert statistics.loc[("large", "number", "D50"), "value"].item() == pytest.approx(16 * 0.5, rel=0.05)
    weights = edge_weights(
        large["box_x1_px"] - large["box_x0_px"],
        large["box_y1_px"] - large["box_y0_px"],
        large["touches_border"],
        np.full(len(large), 96),
        np.full(len(large), 96),
    )
    number = pd.factorize(large["image"], sort=True)[0]
    expected = size_statistics(Sample(large["diameter_nm"].to_numpy(), number, 8, weights), 0)
    d50 = expected.percentiles["number"][50]
    row = statistics.loc[("large", "number", "D50")]
    row = row.iloc[0] if isinstance(row, pd.DataFrame) else row
    assert (row["value"], row["low"], row["high"]) == pytest.approx((d50.value, d50.low, d50.high))
    assert row["unit"] == "nm" and row["images"] == 8


@pytest.mark.parametrize(("largest", "axis"), [(40.0, None), (1e6, "log")])
def test_one_image_of_another_scale_does_not_hide_the_medians_of_the_others(largest, axis):
    sample = Sample(np.array([10.0, 20.0, largest]), np.arange(3), 3, np.ones(3))
    group = GroupSizes("A", sample, None, 3, 0, 0.0, 1.0, 1, None)
    figure = medians_figure(Topic(1, "all particles", "particle", "diameter", "nm", (group,)))
    assert figure["data"][0]["y"] == [10, 20, largest]
    assert figure["layout"]["yaxis"].get("type") == axis


def test_groups_that_differ_and_images_that_stand_out_are_named(folder):
    [pair] = pd.read_csv(folder / "comparisons.csv").to_dict("records")
    assert (pair["first"], pair["second"]) == ("large", "small")
    assert pair["ratio_low"] < 1.6 < pair["ratio_high"] and pair["ks_p_holm"] < 0.05
    outliers = pd.read_csv(folder / "outliers.csv")
    assert set(outliers["image"]) == {"small/other <b>scale.tif"}
    assert "median diameter (nm)" in set(outliers["measure"])


def test_the_page_is_one_file_that_needs_nothing_else(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    without_library = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    for address in re.findall(r'(?:src|href)="([^"]*)"', without_library):
        assert address.startswith(("data:image/jpeg;base64,", "#", "items/")) or address == ""
    assert without_library.count("data:image/jpeg;base64,") == 17
    assert "<script>alert(1)" not in page and "<b>scale" not in page
    for text in ("small/empty.tif", "is empty (0 bytes).", "LISA-micro", "Miles-Lantuéjoul", "stand out"):
        assert text in page
    for file in re.findall(r'data-file="(items/[^"]+)"', page):
        assert (folder / file).is_file()


def test_the_document_and_the_workbook_open(folder):
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    book = openpyxl.load_workbook(folder / "results.xlsx", read_only=True)
    assert book.sheetnames == ["overview", "statistics", "comparisons", "images", "instances", "outliers", "failed"]
    rows = list(book["instances"].values)
    instances = pd.read_csv(folder / "instances.csv")
    assert len(rows) == len(instances) + 1 and rows[0] == tuple(instances.columns)
    column = rows[0].index("diameter_nm")
    assert [row[column] for row in rows[1:]] == pytest.approx(instances["diameter_nm"].tolist())
    assert list(book["failed"].values)[1][0] == "small/empty.tif"


def test_reports_of_a_run_without_any_particle(tmp_path):
    write_image(tmp_path / "in" / "a.tif", np.full((32, 32), 10, np.uint8))
    result = lm.batch(tmp_path / "in", "p", tmp_path / "out", "serial", assistant=StandInSource())
    assert result.counts.instances == 0
    assert "No instances were found" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert len(pd.read_csv(tmp_path / "out" / "statistics.csv")) == 0


def test_reports_of_one_image_and_of_images_without_pixel_size(tmp_path):
    write_image(tmp_path / "in" / "a.tif", disc_image(0), nm=None)
    lm.batch(tmp_path / "in", "p", tmp_path / "out", "serial", assistant=StandInSource())
    [topic] = analyse(tmp_path / "out")
    assert topic.unit == "px" and any("single image" in text for text in topic.notes)
    write_image(tmp_path / "in" / "b.tif", disc_image(1))
    lm.batch(
        tmp_path / "in", "p", tmp_path / "out", "serial", assistant=StandInSource(), options=BatchOptions(resume=True)
    )
    [topic] = analyse(tmp_path / "out")
    assert topic.unit == "nm" and "1 images without a pixel size" in topic.notes[0]


def test_what_the_frame_cuts_is_told(tmp_path):
    for k in range(6):
        pixels = np.full((40, 40), 20, np.uint8)
        pixels[10:30, 12:28] = 200
        pixels[:5, k : k + 5] = 200
        pixels[35:, 30 - k : 36 - k] = 200
        pixels[0, 0] = 0
        write_image(tmp_path / "in" / f"{k}.tif", pixels)
    lm.batch(tmp_path / "in", "p", tmp_path / "out", "serial", assistant=StandInSource())
    [topic] = analyse(tmp_path / "out")
    notes = " ".join(topic.notes)
    assert "the frame cuts 67%" in notes and "without edge correction the mean would be" in notes


def test_reports_can_be_made_again_and_only_of_a_run(folder, tmp_path):
    before = (folder / "statistics.csv").read_bytes()
    assert write_reports(folder).files[-1].name == "results.xlsx"
    assert (folder / "statistics.csv").read_bytes() == before
    with pytest.raises(InputError, match="no finished run"):
        write_reports(tmp_path)


def test_missing_packages_are_named_before_the_work(tmp_path, monkeypatch):
    import lisa_micro.extras as extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    write_image(tmp_path / "in" / "a.tif", disc_image(0))
    with pytest.raises(InputError, match=r"lisa-micro\[batch\]"):
        lm.batch(tmp_path / "in", "p", tmp_path / "out", "serial", assistant=StandInSource())


def test_run_record_repeats_the_run(folder):
    record = json.loads((folder / "run.json").read_text())
    assert record["command"] == "lisa-micro batch in" and record["requests"][0]["kind"] == "words"
    assert record["weights_sha256"] == "ab" * 32 and record["finished"] >= record["started"]


def test_numbers_for_people():
    assert [number_text(v) for v in (12.3456, float("nan"), None, float("inf"), 0.0000123, 5)] == [
        "12.35", "-", "-", "∞", "1.230e-05", "5",
    ]  # fmt: skip
    assert replace(BatchOptions(), limit=3).limit == 3
