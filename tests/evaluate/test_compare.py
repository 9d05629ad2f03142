"""Ways of prompting compared, with a stand-in whose masks can be worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lisa_micro
from lisa_micro.cli.main import main
from lisa_micro.evaluate.comparison import (
    ComparisonOptions,
    compare_prompts,
    compare_wordings,
    inner_points,
    jittered,
    read_boxes,
)
from lisa_micro.evaluate.comparison.pictures import ONLY_ONE, ONLY_OTHER, difference_map
from lisa_micro.evaluate.comparison.scores import Interval, bootstrap, object_ious, verdict
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph

SHAPE = (60, 80)
ONLY_GIVEN = ComparisonOptions(detector=False)
BOXES = np.array([[5, 5, 25, 25], [40, 10, 60, 40], [10, 40, 20, 50]])


def squares(boxes, grow=0):
    labels = np.zeros(SHAPE, np.int32)
    for k, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, int), start=1):
        labels[y0 - grow : y1 + grow, x0 - grow : x1 + grow] = k
    return labels


TRUTH = squares(BOXES)
PICTURE = Micrograph(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), 0.5, "film.tif")


class Careful:
    """Words find the first two objects, one pixel too wide; boxes fill their box; a point gives the object under it."""

    preset, weights_sha256 = "careful", "00"

    def encode(self, image):
        return 0.25

    def ask(self, image, prompt):
        if "nothing" in prompt:
            return Answer("There are no such things in this micrograph.", prompt=prompt, declined=True)
        found = squares(BOXES[:2] if "all" in prompt else BOXES[:1], grow=1)
        return Answer("Here.", (Segmentation(found),), prompt)

    def segment_boxes(self, image, boxes):
        return Segmentation(squares(np.rint(boxes)))

    def segment_points(self, image, points, point_labels=None):
        x, y = np.asarray(points)[0].astype(int)
        return Segmentation((TRUTH[y, x] == TRUTH).astype(np.int32))

    def segment_everything(self, image):
        return Segmentation(squares(BOXES[1:]))


def test_against_truth_by_hand():
    result = compare_prompts(Careful(), PICTURE, "all of them", truth=TRUTH)
    assert list(result.ways) == ["words", "boxes", "points", "detected boxes"]
    scores = result.scores.set_index("way")
    assert scores.loc["boxes", "IoU"] == 1 and scores.loc["points", "object IoU"] == 1
    words = scores.loc["words"]
    first, second = 400 / 22**2, 600 / (22 * 32)
    assert words["object IoU"] == pytest.approx((first + second) / 3)
    assert (words["found"], words["missed"], words["extra"]) == (2, 1, 0)
    assert list(scores["user actions"]) == [1, 3, 3, 0]
    detected = scores.loc["detected boxes"]
    assert (detected["found"], detected["missed"]) == (2, 1)
    assert list(result.objects["IoU words"]) == pytest.approx([first, second, 0])
    assert result.intervals["boxes"].mean == pytest.approx((first + second) / 3 - 1)
    assert result.sentence.startswith("Boxes did better than words") and "smaller" in result.sentence
    assert result.encode_seconds == 0.25


def test_without_truth_nobody_is_called_better():
    result = compare_prompts(Careful(), PICTURE, "all of them", BOXES, options=ONLY_GIVEN)
    assert result.reference == "boxes" and not result.intervals
    assert "none can be called better" in result.sentence
    assert result.scores["way"].tolist() == ["words"] and result.scores["compared with"].tolist() == ["boxes"]


def test_words_that_find_nothing_are_told():
    result = compare_prompts(Careful(), PICTURE, "nothing", truth=TRUTH, options=ONLY_GIVEN)
    assert result.scores.set_index("way").loc["words", "object IoU"] == 0
    assert any("There are no such things" in note for note in result.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": "all"}, "nothing to compare"),
        ({"words": "all", "truth": TRUTH[:-1]}, "must be alike"),
        ({"words": "all", "truth": TRUTH * 0}, "no object"),
        ({"words": "all", "boxes": [[0, 0, float("nan"), 5]]}, "not finite"),
        ({"words": "all", "boxes": [[500, 0, 600, 5]]}, "outside the image"),
        ({"words": "all", "points": [[1, 2, 3]]}, "two finite numbers"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        compare_prompts(Careful(), PICTURE, options=ONLY_GIVEN, **arguments)


def test_object_iou_is_one_to_one():
    one_blob = (TRUTH > 0).astype(np.int32)
    each = object_ious(one_blob, TRUTH)
    assert (each > 0).sum() == 1 and each.max() == pytest.approx(600 / 1100)
    assert object_ious(np.zeros_like(TRUTH), TRUTH).tolist() == [0, 0, 0]


def test_bootstrap_knows_chance_from_difference():
    rng = np.random.default_rng(1)
    assert not bootstrap(rng.normal(0, 1, 60)).exceeds_zero
    clear = bootstrap(rng.normal(0.5, 0.2, 60))
    assert clear.exceeds_zero and clear.low < clear.mean < clear.high
    assert np.isnan(bootstrap(np.array([])).mean)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        interval = bootstrap(rng.normal(1.0, 1.0, 40))
        hits += interval.low <= 1.0 <= interval.high
    assert 178 <= hits <= 198  # 95 % of 200 is 190; percentiles of 40 are a little narrow


def test_verdicts():
    table = pd.DataFrame({"area_px2": [10, 1000], "IoU a": [0.9, 0.8], "IoU b": [0.2, 0.7]})
    assert "no difference beyond chance" in verdict(table, "a", "b", Interval(0.01, -0.1, 0.1))
    text = verdict(table, "a", "b", Interval(0.4, 0.1, 0.7))
    assert text.startswith("A did better than b, by 0.400") and text.endswith("smaller half of the objects.")
    assert "no object" in verdict(table[:0], "a", "b", Interval(0, 0, 0))


def test_jitter_and_points():
    moved = jittered(BOXES, 3, SHAPE, seed=4)
    assert np.abs(moved - BOXES).max() <= 3 and (moved != BOXES).any()
    assert (jittered(BOXES, 3, SHAPE, seed=4) == moved).all()
    wild = jittered(BOXES, 500, SHAPE)
    assert (wild[:, 2:] - wild[:, :2] >= 1).all() and (wild >= 0).all() and (wild <= [80, 60, 80, 60]).all()
    with pytest.raises(InputError, match="jittered"):
        jittered(BOXES, -1, SHAPE)
    points = inner_points(TRUTH)
    assert [TRUTH[int(y), int(x)] for x, y in points] == [1, 2, 3]
    ring = np.zeros((20, 20), np.int32)
    ring[2:18, 2:18], ring[6:14, 6:14] = 1, 0
    (x, y) = inner_points(ring)[0]
    assert ring[int(y), int(x)] == 1


def test_wordings():
    result = compare_wordings(Careful(), PICTURE, ["all of them", "all please", "one"], TRUTH)
    assert result.agreement[15, 15] == pytest.approx(1) and result.agreement[30, 50] == pytest.approx(2 / 3)
    assert result.consensus[30, 50] and not result.consensus[45, 15]
    assert result.uncertainty[30, 50] == pytest.approx(8 / 9) and result.uncertainty[0, 0] == 0
    assert result.table["IoU with consensus"].tolist()[:2] == [1, 1]
    assert result.spread == pytest.approx(result.table["IoU with truth"].max() - result.table["IoU with truth"].min())
    with pytest.raises(InputError, match="at least two"):
        compare_wordings(Careful(), PICTURE, ["one"])


def test_difference_map_colours():
    one, other = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[:10, :10], other[:10, 5:20] = True, True
    picture = difference_map(PICTURE.pixels, one, other).astype(int)
    for place, colour in (((2, 2), ONLY_ONE), ((2, 15), ONLY_OTHER)):
        assert np.abs(picture[place] - colour).max() <= 0.15 * 255 + 1
    veil = picture[2, 7]
    assert veil[0] == veil[1] == veil[2]


def test_report(tmp_path):
    image = Micrograph(PICTURE.pixels, 0.5, "<b>film</b>.tif")
    result = compare_prompts(Careful(), image, "all <script>alert(1)</script>", truth=TRUTH)
    written = result.save(tmp_path / "report")
    page = (tmp_path / "report/report.html").read_text()
    assert "<script>" not in page and "<b>film" not in page and result.sentence in page
    for path in written:
        assert path.stat().st_size > 0
    for name in ("words.png", "truth.png", "difference.png", "scatter.png"):
        assert f'src="{name}"' in page
        with Image.open(tmp_path / "report" / name) as picture:
            picture.load()
    record = json.loads((tmp_path / "report/comparison.json").read_text())
    assert record["words_minus"]["boxes"]["exceeds_chance"] is True
    assert len(pd.read_csv(tmp_path / "report/objects.csv")) == 3
    result = compare_prompts(Careful(), image, "nothing", truth=TRUTH)
    result.save(tmp_path / "nothing")  # infinite distances and empty masks can be written too


@pytest.mark.parametrize(
    "text", ["5,5,25,25\n40,10,60,40\n10,40,20,50\n", "x0;y0;x1;y1\n5;5;25;25\n40;10;60;40\n10;40;20;50",
             "[[5,5,25,25],[40,10,60,40],[10,40,20,50]]", '{"boxes": [[5,5,25,25],[40,10,60,40],[10,40,20,50]]}'],
)  # fmt: skip
def test_box_files(tmp_path, text):
    path = tmp_path / "boxes"
    path.write_text(text)
    np.testing.assert_array_equal(read_boxes(path), BOXES)


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d\ne,f,g,h", "[[1,2,3,4", '{"rectangles": []}', "[1, 2, 3, 4]"])
def test_bad_box_files(tmp_path, text):
    path = tmp_path / "boxes"
    path.write_text(text)
    with pytest.raises(InputError):
        read_boxes(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path / "missing")


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(lisa_micro, "load_assistant", lambda preset, **how: Careful(), raising=False)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8)).save(tmp_path / "film.png")
    Image.fromarray(TRUTH.astype(np.uint8)).save(tmp_path / "truth.png")
    (tmp_path / "boxes.csv").write_text("5,5,25,25\n40,10,60,40\n")
    return tmp_path


def call(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


def test_command_line(files, capsys):
    image, out = files / "film.png", files / "out"
    words = ("all of them", "--wording", "one", "--wording", "all please")
    assert call("compare", image, *words, "--truth", files / "truth.png", "--out", out, "--jitter", "1") == 0
    shown = capsys.readouterr().out
    assert (
        "did better than" in shown and "3 wordings: spread of IoU" in shown and f"wrote {out / 'report.html'}" in shown
    )
    assert (out / "consensus.png").is_file() and (out / "wordings.csv").is_file()
    assert call("compare", image, "all", "--boxes", files / "boxes.csv", "--out", out) == 2
    assert "already holds" in capsys.readouterr().err
    assert call("compare", image, "all", "--boxes", files / "boxes.csv", "--out", out, "--force") == 0


def test_bad_command_lines(files, capsys):
    image = files / "film.png"
    Image.fromarray(TRUTH[:-2].astype(np.uint8)).save(files / "small.png")
    for arguments, message in (
        ((image, "--out", files / "o"), "nothing to compare"),
        ((image, "all", "--truth", files / "small.png", "--out", files / "o"), "must be alike"),
        ((image, "all", "--boxes", files / "no.csv", "--out", files / "o"), "cannot be read"),
        ((image, "--wording", "all", "--truth", files / "truth.png", "--out", files / "o"), "at least one --wording"),
    ):
        assert call("compare", *arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.startswith("error: ")
