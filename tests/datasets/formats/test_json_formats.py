"""COCO, ReasonSeg and Labelme become records with the same pixels."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from foreign_sources import (
    SHAPE,
    THREE,
    by_name,
    clean,
    coco_set,
    picture,
    save,
    write_json,
)
from PIL import Image

from lisa_micro.datasets.formats.drafts import Faults
from lisa_micro.datasets.preparation.converting import Choices, convert


def test_coco_instances_and_captions_of_one_image_are_combined(tmp_path):
    done = convert(coco_set(tmp_path / "in"), tmp_path / "out")
    assert done.kind == "coco" and done.images == 3 and [c.name for c in done.custom_concepts] == ["twin_boundary"]
    assert "the label 'Nanoparticles' is taken as the built-in concept particle" in done.notes[0]
    assert done.notes[1:3] == (
        "crowds (iscrowd), left out: 1",
        "captions with digits, left out since no reply writes a number itself: 1",
    )
    examples = by_name(tmp_path / "out")
    for name in ("0", "1"):
        assert np.array_equal(examples[name][0].labels, np.where(THREE < 3, THREE, 0))
        assert np.array_equal(examples[name][0].concept_labels["twin_boundary"], THREE == 3)
        assert examples[name][0].micrograph.pixel_size_nm == 2.0
    assert (examples["2"][0].concept_labels["twin_boundary"][5:25, 10:30] == 2).sum() == 400
    assert examples["0"][0].turns[0].assistant == "Two grains beside a twin."
    clean(tmp_path / "out")


def test_all_errors_in_coco_are_reported(tmp_path):
    file = coco_set(tmp_path / "in") / "annotations/instances_train2017.json"
    content = json.loads(file.read_text())
    content["images"][1]["file_name"] = "lost.jpg"
    content["images"][2]["width"] = 81
    content["annotations"][0]["category_id"] = 5
    content["annotations"][1]["segmentation"] = [[1, 2, 3]]
    content["annotations"][2]["image_id"] = 99
    del content["annotations"][9]["segmentation"]
    write_json(file, content)
    with pytest.raises(Faults) as told:
        convert(tmp_path / "in", tmp_path / "out")
    text = "\n".join(told.value.faults)
    for said in (
        "image 2: there is no image 'lost.jpg'",
        "image 3: it should be 81 x 64 px, the image is 80 x 64 px",
        "annotation 1 (id 1): category_id 5 is not among the categories",
        "annotation 2 (id 2): polygon 1 must be [x0, y0, x1, y1, ...] with at least three points, not [1, 2, 3]",
        "annotation 3: image_id 99 is not among the images",
        "annotation 10 (id 77) has neither",
    ):
        assert said in text
    assert len(told.value.faults) == 6 and not (tmp_path / "out").exists()


def reasonseg(folder: Path, name: str, text, sentence: bool, shapes: list[tuple[str, list]]) -> None:
    save(folder / f"{name}.jpg", picture(len(name)))
    outlines = [{"label": label, "labels": [label], "shape_type": "polygon", "points": p} for label, p in shapes]
    write_json(folder / f"{name}.json", {"text": text, "is_sentence": sentence, "shapes": outlines})


def test_reasonseg_masks_equal_those_of_lisa(tmp_path):
    box, hole, spare = [[10.9, 5], [30, 5], [30, 25], [10, 25.4]], [[15, 10], [20, 10], [20, 15], [15, 15]], [[0, 0]]
    reasonseg(tmp_path / "in", "one", ["What melts first?", "the soft one"], True, [("ignore", hole), ("target", box)])
    reasonseg(tmp_path / "in", "three", "the brittle part", False, [("flag", spare)])
    done = convert(tmp_path / "in", tmp_path / "out")
    assert done.kind == "reasonseg" and "parts to be ignored count as outside" in done.notes[0]
    examples = by_name(tmp_path / "out")
    truth = np.zeros(SHAPE, bool)
    truth[5:26, 10:31] = True  # with the edge pixels of the line
    truth[10:16, 15:21] = False
    for example, words in zip(examples["one"], ("What melts first?", "the soft one"), strict=True):
        assert example.turns[0].user == words
        assert np.array_equal(example.target_labels(example.turns[0].targets[0]) > 0, truth)
    (absent,) = examples["three"]
    assert absent.turns[0].user == "Segment the brittle part." and absent.turns[0].assistant.startswith("<absent>")
    clean(tmp_path / "out")
    convert(tmp_path / "in", tmp_path / "named", Choices(concepts={"target": "crack"}))
    assert by_name(tmp_path / "named")["one"][0].turns[0].assistant == "Here are the cracks [SEG]."
    clean(tmp_path / "named")


def test_all_errors_in_reasonseg_are_reported(tmp_path):
    reasonseg(tmp_path, "a", ["", "good"], True, [])
    reasonseg(tmp_path, "bb", ["x"], True, [("target", [[1, 2]]), ("thing", [[1, 2], [3, 4], [5, 6]])])
    (tmp_path / "broken.json").write_text('{"text": [],\n "shapes": [}')
    with pytest.raises(Faults) as told:
        convert(tmp_path, tmp_path.parent / "never", Choices(kind="reasonseg"))
    text = "\n".join(told.value.faults)
    for said in ("a.json text 1", "shape 1: it has 1 points", "shape 2: its label 'thing'", "broken.json line 2"):
        assert said in text
    assert len(told.value.faults) == 4


def shape(label: str, points: list, kind: str = "polygon", **more) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def square(x: float, y: float, side: float) -> list:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def labelme(folder: Path, name: str, shapes: list, inside: bool = False, path: str | None = None) -> None:
    image = picture(len(name) + 50)
    data = None
    if inside:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        data = base64.b64encode(stream.getvalue()).decode()
    else:
        save(folder / f"{name}.png", image)
    content = {"version": "5.4.1", "shapes": shapes, "imagePath": path or f"{name}.png", "imageData": data}
    write_json(folder / f"{name}.json", {**content, "imageHeight": 64, "imageWidth": 80})


def test_labelme_shapes_become_instances_of_concepts(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)).save(stream, format="PNG")
    pixel_mask = base64.b64encode(stream.getvalue()).decode()
    shapes = [
        shape("grain", square(2, 3, 10)),
        shape("grain", [[30, 20], [20, 10]], "rectangle"),
        shape("Shell", square(40, 40, 6), group_id=4),
        shape("Shell", square(60, 40, 6), group_id=4),
        shape("Shell", [[70, 20], [73, 24]], "circle"),
        shape("Shell", [[50, 5], [51, 6]], "mask", mask=pixel_mask),
        shape("background", square(0, 0, 60)),
        shape("scale bar", [[0, 60], [20, 60]], "line"),
    ]
    labelme(tmp_path / "in", "one", shapes, path="C:\\scans\\one.png")
    labelme(tmp_path / "in", "three", [shape("grain", square(5, 5, 8)), shape("grain", square(3, 3, 30))], inside=True)
    done = convert(tmp_path / "in", tmp_path / "out")
    assert done.kind == "labelme" and [c.name for c in done.custom_concepts] == ["shell"]
    assert "the label 'grain' is taken as the built-in concept particle" in done.notes[0]
    assert done.notes[1:] == ("shapes without an area (lines, points), left out: 1",)
    ((one,), (three,)) = (by_name(tmp_path / "out")[name] for name in ("one", "three"))
    particles = np.zeros(SHAPE, np.int32)
    particles[3:13, 2:12], particles[10:20, 20:30] = 1, 2
    assert np.array_equal(one.labels, particles)
    shells = np.zeros(SHAPE, np.int32)
    shells[40:46, 40:46] = shells[40:46, 60:66] = 1
    rows, columns = np.mgrid[:64, :80] + 0.5
    shells[(columns - 70) ** 2 + (rows - 20) ** 2 <= 25] = 2
    shells[5, 50] = shells[6, 50:52] = 3
    assert np.array_equal(one.concept_labels["shell"], shells)
    particles = np.zeros(SHAPE, np.int32)
    particles[3:33, 3:33], particles[5:13, 5:13] = 2, 1  # the smaller one is not lost under the larger
    assert np.array_equal(three.labels, particles) and not three.concept_labels["shell"].any()
    assert np.array_equal(three.micrograph.pixels, picture(55))
    clean(tmp_path / "out")


def test_all_errors_in_labelme_are_reported(tmp_path):
    labelme(
        tmp_path,
        "one",
        [
            shape("twin", [[1, 2], [3, 4]]),
            shape("twin", [[1, 2], ["x", 4], [5, 6]]),
            shape("twin", [[1, 2]], "circle"),
            shape("twin", square(1, 1, 2), "ellipsoid"),
            shape("", square(1, 1, 2)),
            shape("twin", square(1, 1, float("nan"))),
        ],
    )
    labelme(tmp_path, "lost", [shape("twin", square(1, 1, 2))])
    (tmp_path / "lost.png").unlink()
    with pytest.raises(Faults) as told:
        convert(tmp_path, tmp_path.parent / "never")
    numbers = [fault.split(" shape ")[1].split()[0].rstrip(":") for fault in told.value.faults if " shape " in fault]
    assert sorted(numbers) == ["1", "2", "3", "4", "5", "6"]
    assert any("lost.json: there is no image 'lost.png'" in fault for fault in told.value.faults)
