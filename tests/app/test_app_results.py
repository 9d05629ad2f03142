"""What the pages show and download: measurements, comparisons, archives."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from app_requests import LIMITS, ask, opened, send
from PIL import Image
from stand_in_app import StandIn, squares

from lisa_micro.types import InputError
from lisa_micro.viz.browser import display_shape, labels_png, shades
from lisa_micro_app import exports, handlers
from lisa_micro_app.state import comparison as comparing
from lisa_micro_app.state import conversation as state
from lisa_micro_app.views import comparison as comparison_views
from lisa_micro_app.views import tables
from lisa_micro_app.views import turns as views
from lisa_micro_app.views.charts import bin_edges, chart_choices, distribution

STAND_IN = StandIn

# ------------------------------------------------------------------------------------------------ measurements


def test_labels_reach_the_browser_exactly():
    labels = np.zeros((5, 7), np.int32)
    labels[0, :3] = (1, 300, 70000)
    rgb = np.asarray(Image.open(io.BytesIO(labels_png(labels, 64)))).astype(int)
    assert np.array_equal(rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2], labels)
    assert display_shape((100, 50), 64) == (64, 32) and display_shape((10, 20), 64) == (10, 20)
    touching = shades(squares((48, 64)))
    assert touching[0] != touching[1] and max(touching) < 4


def test_summary_and_distribution_are_those_of_the_values(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "both")
    turn = user.state.turn
    values = tables.values_of(turn.answer.segments[0], "area")
    assert values.tolist() == [25.0, 25.0, 28.0]
    lines = dict(tables.summary(turn.answer.segments[0]))
    assert lines["number"] == "3" and lines["area fraction"] == f"{100 * 312 / (48 * 64):.1f} %"
    assert chart_choices(turn)[0] == ("diameter", "diameter") and ("neck width", "neck_width") in chart_choices(turn)
    figure = distribution(turn, "area")
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [sum(bar.y) for bar in bars] == [3, 1]
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    assert lines[0].y[-1] == 100 and list(lines[0].x[1:]) == [25.0, 25.0, 28.0]
    assert "nm²" in figure.layout.xaxis.title.text
    assert len(distribution(None, None).data) == 0 and len(bin_edges(np.array([2.0]))) == 6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (0.123456, "0.1235"),
        (12.3456, "12.35"),
        (float("inf"), "–"),
        (True, "yes"),
        (0, "0"),
        (1e-9, "0.000000"),
    ],
)
def test_numbers_of_a_table(value, text):
    assert tables.number(value) == text


def test_a_long_table_is_cut_and_says_so(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "x")
    view = views.measure_view(user, replace(LIMITS, table_rows=2))["table"]
    assert len(view["rows"]) == 2 and view["note"].startswith("1 more")


def test_colours_are_kept_and_checked(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    ask(user, queue, "both")
    user.state = state.recoloured(user.state, 1, 1, state.checked_colour("#a1B2c3"))
    assert views.viewer_view(user, LIMITS)["layers"][1]["colour"] == "#a1B2c3"
    assert state.recoloured(user.state, 1, 7, "#000000").turns == user.state.turns
    for wrong in ("red", "#12345", None, "#000000;x"):
        with pytest.raises(InputError):
            state.checked_colour(wrong)


def test_what_a_user_wrote_goes_out_as_plain_text(user, queue, tmp_path):
    opened(user, queue, tmp_path, "<script>alert(1)</script>.tif")
    ask(user, queue, "<b>particles</b> ${value} {{value}}")
    turn = views.chat_view(user)["turns"][0]
    assert turn["prompt"] == "<b>particles</b> ${value} {{value}}"
    assert json.loads(json.dumps(views.viewer_view(user, LIMITS)))["name"] == "script>.tif"


# -------------------------------------------------------------------------------------- comparison and exports


def test_boxes_from_the_page_are_checked():
    shape = (48, 64)
    assert comparing.clean_boxes("[[10, 12, 4, 2], [1, 1, 1.2, 9], [60, 40, 90, 90]]", shape, 9) == [
        [4, 2, 10, 12],
        [60, 40, 64, 48],
    ]
    assert comparing.clean_boxes("", shape, 9) == [] and comparing.clean_boxes("[]", shape, 9) == []
    for wrong in ("{", "[[1,2,3]]", '[["a",1,2,3]]', "[[NaN,1,2,3]]", "[" * 5000, "null"):
        with pytest.raises(InputError, match="could not be read"):
            comparing.clean_boxes(wrong, shape, 9)
    with pytest.raises(InputError, match="too many"):
        comparing.clean_boxes([[1, 1, 5, 5]] * 10, shape, 9)


def compared(user, queue, words="segment all particles", boxes="[[4, 4, 14, 14], [30, 20, 38, 34]]"):
    return list(comparing.compare(user, queue, words, boxes, LIMITS))


def test_an_object_has_one_number_in_all_pictures():
    reference = np.array([[1, 1, 0, 2, 2, 0, 3]])
    labels = np.array([[0, 4, 0, 1, 7, 9, 0]])  # 1 and 7 lie on the same object, 9 on none
    assert comparison_views.numbered_as(labels, reference).tolist() == [[0, 1, 0, 2, 6, 7, 0]]
    assert comparison_views.numbered_as(reference, reference).tolist() == reference.tolist()
    nothing = np.zeros_like(labels)
    assert comparison_views.numbered_as(nothing, reference).tolist() == nothing.tolist()
    assert len(np.unique(comparison_views.numbered_as(labels, nothing))) == 5


def test_words_and_boxes_are_compared(user, queue, tmp_path):
    with pytest.raises(InputError, match="Open a micrograph"):
        compared(user, queue)
    opened(user, queue, tmp_path)
    with pytest.raises(InputError, match="at least one box"):
        compared(user, queue, boxes="[]")
    compared(user, queue)
    view = comparison_views.comparison_view(user)
    assert view["ready"] and view["against"] == "boxes"
    assert [p["name"] for p in view["pictures"]] == ["words", "boxes", "detected boxes"]
    assert view["difference"]["one"] == "words" and view["difference"]["other"] == "boxes"
    row = view["scores"]["rows"][0]
    assert row[view["scores"]["columns"].index("IoU")] == tables.number(212 / 312)
    assert comparison_views.comparison_view(user)["pictures"] == view["pictures"]
    assert comparison_views.comparison_view(user, handlers.Pending("x", "f", place=1))["pending"]["stage"].startswith(
        "In the queue"
    )


def test_true_labels_can_be_given_and_must_fit(user, queue, tmp_path):
    opened(user, queue, tmp_path)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, squares((48, 64)).astype(np.uint8))
    said = comparing.read_truth(user, send(user, buffer.getvalue(), "t.tif", "truth"))
    assert said == "t.tif: 3 true objects."
    compared(user, queue, boxes="[]")
    assert comparison_views.comparison_view(user)["against"] == "truth"
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ones((5, 5), np.uint8))
    for content, wrong in ((buffer.getvalue(), "same size"), (b"nothing", "not an image|cannot be read|t.tif")):
        with pytest.raises(InputError, match=wrong) as error:
            comparing.read_truth(user, send(user, content, "t.tif", "truth"))
        assert str(user.folder) not in str(error.value)
    archive = zipfile.ZipFile(exports.pack_comparison(user, user.comparison.compared, "micro"))
    assert {"truth.tif", "input/film.tif", "comparison/report.html"} <= set(archive.namelist())
    command = archive.read("repeat.sh").decode().splitlines()[-1]
    assert command == (
        "lisa-micro compare input/film.tif 'segment all particles' --truth truth.tif --out again --force"
    )


def test_the_download_holds_what_the_command_line_writes_and_the_command(user, queue, tmp_path):
    with pytest.raises(InputError, match="Nothing to download"):
        exports.pack(user, "micro", None)
    opened(user, queue, tmp_path, "../my film's.tif")
    ask(user, queue, "the grain's necks")
    ask(user, queue, "both")
    user.state = handlers.set_pixel_size(user.state, "0.25")
    ask(user, queue, "x")
    archive = zipfile.ZipFile(exports.pack(user, "micro", "12" * 32, "cpu"))
    names = archive.namelist()
    files = {"overlay.png", "mask.png", "labels.tif", "instances.csv", "coco.json", "answer.json"}
    for folder, extra in (
        ("my_film_s/1", set()),
        ("my_film_s/2", {"mask_2.png", "labels_2.tif"}),
        ("my_film_s_2/1", set()),
    ):
        assert {n.rsplit("/", 1)[1] for n in names if n.startswith(folder + "/")} == files | extra
    assert not any(".." in n or n.startswith("/") for n in names)
    record = json.loads(archive.read("my_film_s/1/answer.json"))
    assert record["image"]["source"] == "my film's.tif" and record["weights_sha256"] == "12" * 32
    script = archive.read("repeat.sh").decode()
    assert (
        "printf '%s\\n' 'the grain'\"'\"'s necks' both | lisa-micro chat input/my_film_s.tif "
        "--out again/my_film_s --force" in script
    )
    assert "--out again/my_film_s_2 --pixel-size 0.25 --force" in script
    assert archive.read("input/my_film_s.tif") == (tmp_path / "f.tif").read_bytes()
