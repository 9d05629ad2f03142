"""Names and requests of strangers are text: no formula in a table, no markup in a page."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
from batch_images import disc_image, write_image
from batch_stand_in import StandInSource
from hypothesis import given
from hypothesis import strategies as st

import lisa_micro as lm
from lisa_micro.batch import BatchOptions
from lisa_micro.evaluate.report import _write_csv
from lisa_micro.io.cells import csv_text, plain_table, plain_text, write_table
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.export import save_answer

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1", "'=1", "\uff1d1+1"]
IMAGE = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text_in_a_csv_file(tmp_path, text):
    table = pd.DataFrame({"image": [text, "film.tif"], "count": [-3, 4], "shift_nm": [-1.5, np.nan]})
    write_table(tmp_path / "a.csv", table)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2, "text never ends a row"
    text = text.replace("\r", "\n")
    assert rows[0]["image"] == f"'{text}" and rows[1]["image"] == "film.tif"
    assert rows[0]["count"] == "-3" and rows[0]["shift_nm"] == "-1.5", "numbers stay numbers"
    again = plain_table(pd.read_csv(tmp_path / "a.csv"))
    pd.testing.assert_frame_equal(again, table.assign(image=[text, "film.tif"]), check_dtype=False)


@given(st.text(alphabet="=+-@\t\r\n'a1. \uff1d", max_size=8) | st.text(max_size=20))
def test_every_text_is_recovered(text):
    written = csv_text(text)
    assert plain_text(written) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert "\r" not in written
    assert not written or written[0] not in "=+-@\t\n" or float(written) is not None


def test_what_is_no_text_or_a_number_is_unchanged():
    for value in (-3, -2.5, None, True, "-3", "+4.5e3", "-inf", "film.tif", "it's", "Ångström"):
        assert csv_text(value) is value


def test_titles_of_columns_follow_the_rule(tmp_path):
    write_table(tmp_path / "a.csv", pd.DataFrame({"=1+1": [2]}))
    assert (tmp_path / "a.csv").read_text() == "'=1+1\n2\n"


def test_tables_of_an_evaluation(tmp_path):
    _write_csv([{"prompt": "=1+1", "score": -0.5}], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().split() == ["prompt,score", "'=1+1,-0.5"]


def hostile_answer(concept: str, prompt: str) -> Answer:
    labels = np.zeros((20, 20), np.int32)
    labels[4:10, 4:10] = 1
    return Answer(f"These are {prompt}.", (Segmentation(labels, concept=concept, phrase=prompt),), prompt)


def test_an_answer_as_csv_and_as_a_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    answer = hostile_answer("=1+1", "=HYPERLINK(1)")
    image = lm.read_micrograph(np.zeros((20, 20), np.uint8))
    save_answer(answer, image, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "instances.csv")["concept"].tolist() == ["'=1+1"]
    answer.save(tmp_path / "a.xlsx", image=image)
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell.coordinate for cell in cells if cell.data_type == "f"], "no formulas"
    values = [cell.value for cell in cells]
    assert "=1+1" in values and "=HYPERLINK(1)" in values, "the text itself, without an apostrophe"


@pytest.mark.slow
def test_a_batch_of_files_with_hostile_names(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    names = [f"{IMAGE}.tif", "=1+1.tif", "@SUM(A1).tif", "-2+3.tif"]
    for k, name in enumerate(names):
        write_image(tmp_path / "in" / "=group" / name, disc_image(k))
    (tmp_path / "in" / "=group" / f"{IMAGE}=broken.tif").write_bytes(b"")
    options = BatchOptions(group_by="folder")
    done = lm.batch(
        tmp_path / "in" / "=group",
        f"=1 {IMAGE}",
        tmp_path / "out",
        "serial",
        assistant=StandInSource(),
        options=options,
    )
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert set(done.images()["image"]) == set(names), "the names themselves, without apostrophes"
    for path in (tmp_path / "out").glob("*.csv"):
        for row in csv.reader(path.open(newline="", encoding="utf-8")):
            for cell in row:
                assert cell[:1] not in ("=", "@", "+") and (cell[:1] != "-" or float(cell) is not None)
    book = openpyxl.load_workbook(tmp_path / "out" / "results.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell.coordinate for cell in cells if cell.data_type == "f"]
    assert {"=1+1.tif", "@SUM(A1).tif"} <= {cell.value for cell in cells}
    parquet = pd.read_parquet(tmp_path / "out" / "instances.parquet")
    assert set(parquet["image"]) == set(names)


def test_the_viewer_of_a_notebook_shows_markup_as_text():
    answer = hostile_answer(IMAGE, f"</script>{IMAGE}")
    html = answer._repr_html_()
    page = re.sub(r"srcdoc=(\"[^\"]*\"|'[^']*')", "", html)
    assert "<img src=x" not in page
    assert "<img src=x" not in json.dumps(html).split("srcdoc")[0]
