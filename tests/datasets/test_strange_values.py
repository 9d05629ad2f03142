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
from PIL import Image
from strange_values import LONGEST, READERS, STRANGE

from lisa_micro.correction.actions import Add
from lisa_micro.correction.replay import apply, begin, log_text, make_log
from lisa_micro.datasets.records import Record, write_records
from lisa_micro.geometry import rle_encode
from lisa_micro.io import write_labels

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
        rle_encode(labels_of_two() == 1),
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
    content["annotations"][1]["segmentation"]["counts"] = content["annotations"][1]["segmentation"]["counts"][:7]
    counts = content["annotations"][1]["segmentation"]["counts"]
    counts[-1] += SHAPE[0] * SHAPE[1] - sum(counts)
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


WRITERS = {
    "coco": write_coco,
    "coco particles": write_coco,
    "labelme": write_labelme,
    "reasonseg": write_reasonseg,
    "records": write_record_set,
    "concepts": write_concepts,
    "corrections": write_corrections,
}


def faulty_message(said: str, file: str) -> str | None:
    """What is wrong with an error message, None where nothing is."""
    if file not in said and "dataset.yaml" not in said:
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
