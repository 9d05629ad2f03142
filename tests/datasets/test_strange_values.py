"""Annotation files with broken or absurd values: converted, or refused in one line, with bounded memory and time."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import strange_values
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from strange_values import LONGEST, READERS, STRANGE, nested

from lisa_micro.correction.actions import Add
from lisa_micro.correction.replay import apply, begin, log_text, make_log
from lisa_micro.datasets.bounds import check_polygon, shown
from lisa_micro.datasets.formats.coco import unpack_counts
from lisa_micro.datasets.formats.polygons import fill_polygon
from lisa_micro.datasets.records import Record, write_records
from lisa_micro.geometry import rle_encode
from lisa_micro.io import write_labels
from lisa_micro.types import InputError

SHAPE = (24, 32)


def labels_of_two() -> np.ndarray:
    """``(H, W)`` int32: two squares."""
    labels = np.zeros(SHAPE, np.int32)
    labels[3:11, 3:13], labels[12:20, 16:28] = 1, 2
    return labels


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(3).integers(0, 255, SHAPE)
    Image.fromarray(noise.astype(np.uint8)).save(path)


def picture_text(mask: np.ndarray) -> str:
    """A mask as PNG in base64, as Labelme writes it."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def write_coco(folder: Path) -> None:
    from pycocotools import mask as coco_mask

    packed = coco_mask.encode(np.asfortranarray((labels_of_two() == 2).astype(np.uint8)))
    kinds = (
        [[3.5, 3, 12, 3, 12, 10.5]],
        {"size": list(SHAPE), "counts": [75, 8, 16, 8, SHAPE[0] * SHAPE[1] - 107]},
        {"size": list(SHAPE), "counts": packed["counts"].decode()},
    )
    annotations = [
        {"id": k, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": kind}
        for k, kind in enumerate(kinds, 1)
    ]
    write_image(folder / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": SHAPE[0], "width": SHAPE[1], "pixel_size_nm": 0.5}],
        "categories": [{"id": 1, "name": "particle"}],
        "annotations": annotations,
    }
    strange_values.write_content(folder / "coco.json", content)


def write_labelme(folder: Path) -> None:
    write_image(folder / "one.png")
    shapes = [
        {"label": "grain", "points": [[2, 3], [9, 3], [9.5, 10]], "group_id": None, "shape_type": "polygon"},
        {"label": "shell", "points": [[15, 12], [20, 18]], "shape_type": "rectangle"},
        {"label": "shell", "points": [[24, 6], [27, 6]], "shape_type": "circle"},
        {"label": "shell", "points": [[5, 15]], "shape_type": "mask", "mask": picture_text(np.eye(4))},
    ]
    strange_values.write_content(folder / "one.json", {"shapes": shapes, "imagePath": "one.png", "imageData": None})
    (folder / "kind.txt").write_text("labelme")


def write_reasonseg(folder: Path) -> None:
    write_image(folder / "one.jpg")
    shapes = [
        {"label": "target", "shape_type": "polygon", "points": [[2, 3], [20, 3], [20, 20]]},
        {"label": "ignore", "points": [[5, 5], [9, 5], [9, 7]]},
    ]
    content = {"text": ["What melts first?", "the soft one"], "is_sentence": True, "shapes": shapes}
    strange_values.write_content(folder / "one.json", content)
    (folder / "kind.txt").write_text("reasonseg")


def write_record_set(folder: Path) -> None:
    write_image(folder / "images/a.png")
    (folder / "labels").mkdir()
    write_labels(folder / "labels/a.tif", labels_of_two(), 0.5)
    record = {
        "file_name": "images/a.png",
        "labels": "labels/a.tif",
        "concept_labels": {"shell": "labels/a.tif"},
        "source": "film",
        "split": "train",
        "pixel_size_nm": 0.5,
        "modality": "SEM",
        "conversations": [
            {"user": "particles?", "assistant": "The particles are [SEG].", "targets": [{"concept": "particle"}]},
            {"user": "those", "assistant": "[SEG] [SEG]", "targets": [{"instances": [1, 2]}, {"mask": "labels/a.tif"}]},
        ],
    }
    write_records(folder / "metadata.jsonl", [Record.model_validate(record)])


def write_concepts(folder: Path) -> None:
    content = {
        "about": "mine",
        "concepts": {"shell": ["shell", "shells"], "film": {"nouns": ["coat", "coats"], "kind": "region"}},
    }
    strange_values.write_content(folder / "dataset.yaml", content)


def write_corrections(folder: Path) -> None:
    labels = labels_of_two()
    write_labels(folder / "labels.tif", labels)
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 20:24] = True
    added = {"action": "add", "mask": rle_encode(mask), "box": [20, 1, 24, 3], "points": [[22, 2]], "point_labels": [1]}
    state = begin(labels)
    for action in (
        {"action": "split", "instance": 2, "line": [[22.5, 0], [22, 23.5]]},
        {"action": "split", "instance": 1, "line": [[8, 0], [8, 23]]},
        {"action": "merge", "instances": [1, 4]},
        added,
        {"action": "remove", "instances": [3]},
    ):
        state = apply(state, action)
    assert isinstance(state.actions[3], Add)
    (folder / "log.json").write_text(log_text(make_log(labels, state, image="film.tif", prompt="particles")))


def write_boxes(folder: Path) -> None:
    strange_values.write_content(folder / "boxes.json", {"boxes": [[2, 3, 9, 11], [16, 12.5, 28, 20]]})


WRITERS = {
    "coco": write_coco,
    "coco particles": write_coco,
    "labelme": write_labelme,
    "reasonseg": write_reasonseg,
    "records": write_record_set,
    "concepts": write_concepts,
    "corrections": write_corrections,
    "boxes": write_boxes,
}


def faulty_message(said: str, file: str) -> str | None:
    """What is wrong with an error message, None where nothing is."""
    if file not in said:
        return "does not name the file"
    if len(said.splitlines()) != 1:
        return "has several lines"
    words = " ".join(word for word in said.split() if file not in word)
    return "is too long" if len(words) > LONGEST else None


@pytest.fixture(scope="module")
def readings(tmp_path_factory) -> dict[str, list[dict]]:
    """The result of every reading, by kind; all in one process, since its imports take long."""
    folder = tmp_path_factory.mktemp("strange")
    for kind, write in WRITERS.items():
        (folder / kind).mkdir()
        write(folder / kind)
    done = subprocess.run(
        [sys.executable, strange_values.__file__, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died at {lines[-1:]}: {done.stderr[-2000:]}"
    results: dict[str, list[dict]] = {kind: [] for kind in WRITERS}
    for line in lines:
        if line["done"]:
            results[line["kind"]].append(line)
    return results


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_every_leaf_may_be_anything(kind, readings, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    WRITERS[kind](folder)
    name, read = READERS[kind]
    assert strange_values.error_of(read, folder, tmp_path / "out") is None
    content = yaml.safe_load((folder / name).read_text())
    assert len(readings[kind]) == len(list(strange_values.leaves(content))) * len(STRANGE)
    wrong = []
    for result in readings[kind]:
        place = f"{'.'.join(map(str, result['way']))} = {STRANGE[result['number']]!r:.40}"
        if result["broke"]:
            wrong.append(f"{place}: {result['broke']}")
        elif result["said"] and (fault := faulty_message(result["said"], name)):
            wrong.append(f"{place}: {fault}: {result['said']:.400}")
    assert not wrong, f"{len(wrong)} of {len(readings[kind])}:\n" + "\n".join(wrong[:60])
    assert any(result["said"] for result in readings[kind]) and any(not result["said"] for result in readings[kind])


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["[SEG]", "../../etc/passwd", "a\0b", "background", "0" * 3000, "\ud800"]),
)
_KEYS = st.sampled_from(["id", "name", "size", "counts", "points", "label", "mask", "action", "concept", "x"])
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


def nodes(content, way: tuple = ()):
    """Paths to all values in a JSON content, lists and dictionaries included."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*way, key)
        yield from nodes(value, (*way, key))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    """A folder with a good file of each kind."""
    folder = tmp_path_factory.mktemp("sources")
    for kind, write in WRITERS.items():
        (folder / kind).mkdir()
        write(folder / kind)
    return {kind: folder / kind for kind in WRITERS}


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_json_is_read_or_refused(sources, data):
    kind = data.draw(st.sampled_from(sorted(sources)))
    folder, (name, read) = sources[kind], READERS[kind]
    file = folder / name
    good = file.read_text()
    content = yaml.safe_load(good)
    for _ in range(data.draw(st.integers(1, 2))):
        places = list(nodes(content))
        if places:
            content = strange_values.changed(content, data.draw(st.sampled_from(places)), data.draw(_JSON))
    try:
        strange_values.write_content(file, content)
        said = strange_values.error_of(read, folder, folder.parent / "out")
    finally:
        file.write_text(good)
    for line in (said or "").splitlines():
        words = " ".join(word for word in line.split() if name not in word)
        assert len(words) <= 2 * LONGEST, line


@pytest.mark.parametrize(
    ("kind", "way", "value", "message"),
    [
        (
            "coco",
            ("annotations", 0, "segmentation", 0, 0),
            10**30,
            "annotation 1 (id 1): polygon 1: x of point 1 is 1e+30",
        ),
        (
            "coco",
            ("annotations", 0, "segmentation", 0, 3),
            float("nan"),
            "y of point 2 must be a finite number, not nan",
        ),
        (
            "coco",
            ("annotations", 1, "segmentation", "counts", 1),
            9,
            "run lengths add up to 769 px, but its image has 768 px",
        ),
        ("coco", ("annotations", 1, "segmentation", "counts", 1), -8, "count 2 must be 0 to 768, not -8"),
        ("coco", ("annotations", 1, "segmentation", "size", 0), 10**9, "the height must be 1 to 16384, not 1000000000"),
        ("coco", ("annotations", 2, "segmentation", "counts"), "x", "annotation 3 (id 3)"),
        ("coco", ("images", 0, "width"), 1e308, "image 1: the width must be 1 to 16384, not 1e+308"),
        (
            "coco",
            ("images", 0, "pixel_size_nm"),
            float("inf"),
            "image 1: its pixel_size_nm must be a finite number, not inf",
        ),
        ("labelme", ("shapes", 2, "points", 0, 1), 10**30, "one.json shape 3 (shell): y of point 1 is 1e+30"),
        (
            "labelme",
            ("shapes", 3, "mask"),
            picture_text(np.ones((300, 300))),
            "shape 4 (shell): its mask extends beyond",
        ),
        ("reasonseg", ("shapes", 1, "points", 2), [], "one.json shape 2: point 3 must be [x, y], not []"),
        ("records", ("pixel_size_nm",), "x", "metadata.jsonl line 1: pixel_size_nm: input should be a valid number"),
        (
            "corrections",
            ("actions", 0, "line", 0, 1),
            float("nan"),
            "actions.0.split.line.0.1: input should be a finite number",
        ),
        (
            "corrections",
            ("actions", 3, "mask", "counts", 0),
            10**30,
            "actions.3.add.mask.counts.0: input should be less",
        ),
    ],
)
def test_a_strange_value_is_reported_with_its_place(kind, way, value, message, sources, tmp_path):
    name, read = READERS[kind]
    for path in sources[kind].rglob("*"):
        if path.is_file():
            (tmp_path / "in" / path.relative_to(sources[kind])).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / path.relative_to(sources[kind])).write_bytes(path.read_bytes())
    file = tmp_path / "in" / name
    strange_values.write_content(file, strange_values.changed(yaml.safe_load(file.read_text()), way, value))
    said = strange_values.error_of(read, tmp_path / "in", tmp_path / "out")
    assert said is not None and message in said and faulty_message(said, name) is None


def test_a_polygon_with_many_long_edges_is_refused_before_it_is_painted():
    zigzag = [[0 if k % 2 else SHAPE[1], k % SHAPE[0]] for k in range(60_000)]
    with pytest.raises(InputError, match="perimeter of"):
        check_polygon(zigzag, SHAPE)


def test_rasterising_needs_memory_for_the_image_alone():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-4000, 8000, (2000, 2))  # a tangle across an image of 16 million px
    with strange_values.bounded():
        piece = fill_polygon(corners, (4000, 4000))
    assert 0.4 < piece.mask.mean() < 0.6


_HALVES = st.integers(-20, 60).map(lambda k: k / 2)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(_HALVES, _HALVES), min_size=3, max_size=9))
def test_polygons_cover_the_pixels_whose_centres_are_inside(corners):
    points = np.array(corners, float)
    painted = np.zeros((24, 30), bool)
    piece = fill_polygon(points, painted.shape)
    painted[piece.place] = piece.mask
    rows, columns = np.mgrid[:24, :30]
    inside, edge = np.zeros(painted.shape, bool), np.zeros(painted.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        cross = (x1 - x0) * (rows - y0) - (y1 - y0) * (columns - x0)
        within = (np.minimum(x0, x1) <= columns) & (columns <= np.maximum(x0, x1))
        edge |= (cross == 0) & within & (np.minimum(y0, y1) <= rows) & (rows <= np.maximum(y0, y1))
        if y0 != y1:
            spans = (y0 > rows) != (y1 > rows)
            inside ^= spans & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    assert (painted >= inside).all()
    assert (painted <= inside | edge).all()
    flat = abs(np.dot(points[:, 0], np.roll(points[:, 1], 1)) - np.dot(points[:, 1], np.roll(points[:, 0], 1))) == 0
    assert flat or (painted >= edge & ndimage.binary_dilation(inside, np.ones((3, 3)))).mean() > 0.99


def test_compressed_run_lengths_are_decoded_as_by_pycocotools():
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(2)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random((70, 900)) < share
        packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert unpack_counts(packed) == rle_encode(mask)["counts"]
    for text in ("\u00ff", "o" * 50, "P"):
        with pytest.raises(InputError, match="no compressed run lengths"):
            unpack_counts(text)


def test_values_are_shown_in_one_short_line():
    for value in (*STRANGE, "a\nb", 10**9999, {"a": nested(50)}):
        assert len(shown(value)) <= 60 and len(shown(value).splitlines()) == 1
    assert shown(1e308) == "1e+308" and shown([1, "x"]) == "[1, 'x']"
