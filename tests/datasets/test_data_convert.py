"""``lisa-micro data convert``: other programs' data as records, with the same pixels, split by source image."""

from __future__ import annotations

import base64
import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

from lisa_micro.cli.main import main
from lisa_micro.correction.examples import save_example
from lisa_micro.datasets import converting
from lisa_micro.datasets.checking import check_folder
from lisa_micro.datasets.checking_report import pictures
from lisa_micro.datasets.converting import Choices, convert
from lisa_micro.datasets.formats.detect import find_kind
from lisa_micro.datasets.formats.drafts import Faults
from lisa_micro.datasets.formats.polygons import Piece, circle, paint_instances, polygon
from lisa_micro.datasets.parts import choose_parts, tile_sources
from lisa_micro.datasets.readers import read_record_folder
from lisa_micro.datasets.records import read_records
from lisa_micro.io import read_micrograph, write_labels
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import InputError, Micrograph
from lisa_micro_finetune.adapt.data import read_items, split_records, with_concepts

MICRO = ROOT / "lisa_micro" / "weights" / "micro"
SHAPE = (64, 80)


def picture(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """``(H, W)`` uint8 noise with grains of a few px: no two alike."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.0)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def discs(*places: tuple[int, int, int], shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """``(H, W)`` int32 labels of discs x, y, radius."""
    labels = np.zeros(shape, np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for k, (x, y, radius) in enumerate(places, 1):
        labels[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = k
    return labels


TWO = discs((20, 30, 12), (55, 30, 15))
THREE = discs((20, 20, 10), (50, 30, 12), (20, 50, 9))


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def clean(folder: Path) -> list[str]:
    """The data set is checked, and training takes it; gives the warnings."""
    report = check_folder(folder)
    assert not report.faults, [str(fault) for fault in report.faults]
    config = with_concepts(LisaConfig.read(MICRO), folder)
    train, held_back = split_records(folder, 0.2)
    for part in (train, held_back):
        if part is not None:
            assert len(read_items(part, config)) == len(part)
    return [str(warning) for warning in report.warnings]


def by_name(folder: Path) -> dict[str, list]:
    found: dict[str, list] = {}
    for example in read_record_folder(folder):
        found.setdefault(example.name, []).append(example)
    return found


# ------------------------------------------------------------------------------------------------ label folders


def labelled(folder: Path, count: int = 3) -> Path:
    for k in range(count):
        save(folder / f"images/scan {k}.png", picture(k))
        write_labels_at(folder / f"labels/scan {k}.tif", TWO if k % 2 else THREE)
    return folder


def write_labels_at(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, labels)


def test_label_folders_keep_every_pixel_and_get_conversations_that_are_true(tmp_path):
    source = labelled(tmp_path / "in")
    save(source / "images/bare.png", picture(9))
    done = convert(source, tmp_path / "out", Choices(pixel_size_nm=0.5, modality="SEM", conversations=3))
    assert (done.kind, done.images, done.sources) == ("labels", 3, 3) and sum(done.records.values()) == 9
    assert done.notes == ("images without labels, left out: 1",)
    for k in range(3):
        (image,) = (tmp_path / "out/images").glob(f"scan_{k}.png")
        assert image.read_bytes() == (source / f"images/scan {k}.png").read_bytes()
        for example in by_name(tmp_path / "out")[f"scan_{k}"]:
            assert np.array_equal(example.labels, TWO if k % 2 else THREE) and not example.semantic
            assert example.micrograph.pixel_size_nm == 0.5 and example.micrograph.modality == "SEM"
            assert example.turns and all(t.assistant.count("[SEG]") == len(t.targets) for t in example.turns)
    clean(tmp_path / "out")


def test_the_same_seed_gives_the_same_bytes_and_another_another_split(tmp_path):
    source = labelled(tmp_path / "in", 8)
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        convert(source, tmp_path / name, Choices(seed=seed))
        texts.append((tmp_path / name / "metadata.jsonl").read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_folders_of_concepts_masks_and_given_names(tmp_path):
    source = labelled(tmp_path / "in")
    for k in range(3):
        (source / "labels/oxide shells").mkdir(exist_ok=True)
        save(source / f"labels/oxide shells/scan {k}.png", (TWO == 1).astype(np.uint8) * 255)
        write_labels_at(source / f"labels/dirt/scan {k}.tif", TWO)
    done = convert(source, tmp_path / "out", Choices(concepts={"oxide shells": "shell", "dirt": ""}))
    assert [(c.name, c.plural) for c in done.custom_concepts] == [("shell", "shells")]
    for example in read_record_folder(tmp_path / "out"):
        assert set(example.concept_labels) == {"shell"} and np.array_equal(
            example.concept_labels["shell"], (TWO == 1).astype(np.int32)
        )
        assert example.labels.max() in (2, 3)
    assert "shells" in (tmp_path / "out/dataset.yaml").read_text()
    clean(tmp_path / "out")


def test_labels_beside_their_images_and_masks_stay_masks(tmp_path):
    for k in range(3):
        save(tmp_path / f"in/a{k}.png", picture(k))
        save(tmp_path / f"in/a{k}_mask.png", (THREE > 0).astype(np.uint8) * 255)
    convert(tmp_path / "in", tmp_path / "out")
    examples = by_name(tmp_path / "out")
    assert set(examples) == {"a0", "a1", "a2"}
    for (example,) in examples.values():
        assert example.semantic and np.array_equal(example.labels > 0, THREE > 0)
    clean(tmp_path / "out")


def test_parts_of_the_source_are_kept_unless_a_share_is_given(tmp_path):
    for part, numbers in (("train", (0, 1, 2)), ("val", (3,))):
        for k in numbers:
            save(tmp_path / f"in/{part}/images/{k}.png", picture(k))
            write_labels_at(tmp_path / f"in/{part}/labels/{k}.tif", TWO)
    convert(tmp_path / "in", tmp_path / "out")
    split = {Path(r.file_name).stem: r.split for r in read_records(tmp_path / "out")}
    assert split == {"0": "train", "1": "train", "2": "train", "3": "validation"}
    assert convert(tmp_path / "in", tmp_path / "none", Choices(validation=0)).records == {"train": 4}


def test_labels_of_another_size_are_told_one_by_one_and_nothing_is_written(tmp_path, capsys):
    source = labelled(tmp_path / "in", 4)
    for k in (1, 2):
        write_labels_at(source / f"labels/scan {k}.tif", TWO[:, :70])
    (source / "images/scan 3.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit) as stopped:
        main(["data", "convert", str(source), "--out", str(tmp_path / "new/out")])
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 4 and lines[-1].startswith("error: ")
    assert "scan 1.tif: scan 1.tif is 70 x 64 px, the image 80 x 64 px" in lines[0] and "3 things" in lines[-1]
    assert list((tmp_path / "new").iterdir()) == []


# ----------------------------------------------------------------------------------------------------- sentences


def test_sentences_with_masks_concepts_and_what_is_not_there(tmp_path):
    source = tmp_path / "in"
    for k in range(2):
        save(source / f"images/{k}.png", picture(k))
    save(source / "masks/crack.png", (TWO == 1).astype(np.uint8) * 255)
    write_labels_at(source / "masks/shells.tif", THREE)
    save(source / "masks/nothing.png", np.zeros(SHAPE, np.uint8))
    (source / "sentences.csv").write_text(
        "image;mask;sentence;concept\n"
        '0.png;crack.png;"the thing that broke;\nshow it";\n'
        "0.png;shells.tif;Where are the coatings?;shell\n"
        "1.png;nothing.png;anything broken?;\n"
        "1.png;;any coatings?;shell\n",
        encoding="utf-8-sig",
    )
    convert(source, tmp_path / "out", Choices(validation=0.5))
    zero, one = (by_name(tmp_path / "out")[name] for name in ("0", "1"))
    assert [e.turns[0].user for e in zero] == ["the thing that broke; show it", "Where are the coatings?"]
    assert zero[0].turns[0].assistant == "Here it is [SEG]."
    assert np.array_equal(zero[0].target_labels(zero[0].turns[0].targets[0]), TWO == 1)
    assert zero[1].turns[0].assistant == "Here are the shells [SEG]."
    assert np.array_equal(zero[1].target_labels(zero[1].turns[0].targets[0]), THREE)
    assert [e.turns[0].assistant for e in one] == [
        "<absent>There is nothing of the kind in this micrograph.",
        "<absent>There are no shells in this micrograph.",
    ]
    clean(tmp_path / "out")


def test_faulty_sentences_are_all_told_with_their_lines(tmp_path):
    save(tmp_path / "a.png", picture(0))
    save(tmp_path / "m.png", TWO.astype(np.uint8))
    save(tmp_path / "n.png", THREE.astype(np.uint8))
    save(tmp_path / "small.png", np.ones((9, 9), np.uint8))
    table = tmp_path / "t.csv"
    table.write_text(
        "image,mask,sentence,concept\n"
        "b.png,m.png,one,\n"
        "a.png,lost.png,two,\n"
        "a.png,m.png,,\n"
        "a.png,m.png,say [SEG],\n"
        "a.png,small.png,three,\n"
        "a.png,m.png,four,shell\n"
        "a.png,n.png,five,shell\n"
        "a.png,m.png,six, and more,\n"
    )
    with pytest.raises(Faults) as told:
        convert(table, tmp_path / "../out-of-it" / tmp_path.name)
    faults = sorted(told.value.faults)
    assert [int(f.split(" line ")[1].split(":")[0]) for f in faults] == [2, 3, 4, 5, 6, 8, 9]
    for fault, said in zip(
        faults,
        ("no image 'b.png'", "no mask 'lost.png'", "no sentence", "[SEG]", "9 x 9 px", "m.png already", "quote"),
        strict=True,
    ):
        assert said in fault


# ---------------------------------------------------------------------------------------------------------- COCO


def rle(mask: np.ndarray) -> dict:
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


def coco_set(folder: Path) -> Path:
    images, annotations = [], []
    for k in range(3):
        save(folder / f"train2017/{k}.jpg", picture(k))
        images.append({"id": 10 + k, "file_name": f"{k}.jpg", "width": 80, "height": 64, "pixel_size_nm": 2.0})
        for n in range(1, 4):
            number = len(annotations) + 1
            category = 1 if n < 3 else 7
            outline = rle(n == THREE)
            annotations.append({"id": number, "image_id": 10 + k, "category_id": category, "segmentation": outline})
    square = [[10, 5, 30, 5, 30, 25, 10, 25]]
    annotations.append({"id": 77, "image_id": 12, "category_id": 7, "segmentation": square, "iscrowd": 0})
    annotations.append({"id": 78, "image_id": 12, "category_id": 1, "segmentation": rle(TWO > 0), "iscrowd": 1})
    categories = [{"id": 1, "name": "Nanoparticles"}, {"id": 7, "name": "twin boundary"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / "annotations/instances_train2017.json", content)
    captions = [
        {"id": 1, "image_id": 10, "caption": "Two grains beside a twin."},
        {"id": 2, "image_id": 10, "caption": "There are 2 grains."},
    ]
    write_json(folder / "annotations/captions_train2017.json", {"images": images[:1], "annotations": captions})
    return folder


def test_coco_instances_and_captions_of_one_image_come_together(tmp_path):
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


def test_faults_in_coco_are_all_told(tmp_path):
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


# ------------------------------------------------------------------------------------------------------ ReasonSeg


def reasonseg(folder: Path, name: str, text, sentence: bool, shapes: list[tuple[str, list]]) -> None:
    save(folder / f"{name}.jpg", picture(len(name)))
    outlines = [{"label": label, "labels": [label], "shape_type": "polygon", "points": p} for label, p in shapes]
    write_json(folder / f"{name}.json", {"text": text, "is_sentence": sentence, "shapes": outlines})


def test_reasonseg_is_painted_as_lisa_paints_it(tmp_path):
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


def test_faults_in_reasonseg_are_all_told(tmp_path):
    reasonseg(tmp_path, "a", ["", "good"], True, [])
    reasonseg(tmp_path, "bb", ["x"], True, [("target", [[1, 2]]), ("thing", [[1, 2], [3, 4], [5, 6]])])
    (tmp_path / "broken.json").write_text('{"text": [],\n "shapes": [}')
    with pytest.raises(Faults) as told:
        convert(tmp_path, tmp_path.parent / "never", Choices(kind="reasonseg"))
    text = "\n".join(told.value.faults)
    for said in ("a.json text 1", "shape 1: it has 1 points", "shape 2: its label 'thing'", "broken.json line 2"):
        assert said in text
    assert len(told.value.faults) == 4


# -------------------------------------------------------------------------------------------------------- Labelme


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


def test_faults_in_labelme_are_all_told(tmp_path):
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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-5, 45)] * 2, st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6))
def test_polygons_with_whole_corners_cover_exactly_their_pixels(boxes):
    shape_, pieces, masks = (40, 50), [], []
    for x, y, w, h in boxes:
        pieces.append([polygon(np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], float), shape_)])
        mask = np.zeros(shape_, bool)
        mask[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = True
        masks.append(mask)
        whole = np.zeros(shape_, bool)
        whole[pieces[-1][0].place] |= pieces[-1][0].mask
        assert np.array_equal(whole, mask)
    labels = paint_instances(pieces, shape_)
    assert np.array_equal(labels > 0, np.any(masks, axis=0))
    smallest = min(range(len(masks)), key=lambda k: (masks[k].sum() or 10**9, -k))
    if masks[smallest].any():  # what is smallest lies on top, whole
        assert len(np.unique(labels[masks[smallest]])) == 1


def test_polygons_have_the_area_that_they_enclose():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        angle = np.linspace(0, 2 * np.pi, 9)[:-1] + rng.random()
        x, y = 100 + rng.uniform(30, 80, 8) * np.cos(angle), 100 + rng.uniform(30, 80, 8) * np.sin(angle)
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        errors.append(polygon(np.stack([x, y], 1), (200, 200)).mask.sum() / area - 1)
    assert abs(np.mean(errors)) < 0.001 and np.abs(errors).max() < 0.01  # edge pixels would add 2 %


def test_a_circle_has_its_area_and_stays_in_the_image():
    whole = circle(np.array([[30.0, 30.0], [50.0, 30.0]]), (64, 80))
    assert abs(whole.mask.sum() / (np.pi * 400) - 1) < 0.01
    assert isinstance(circle(np.array([[-50.0, 30.0], [-45.0, 30.0]]), (64, 80)), Piece)


# ---------------------------------------------------------------------------------------------------- corrections


def corrected_folder(folder: Path, seeds: tuple[int, ...], stem: str = "film") -> Path:
    for seed in seeds:
        image = Micrograph(picture(seed).astype(np.float32), 0.4)
        shells = Segmentation(TWO, concept="shell", phrase="the shells", target=1)
        some = Segmentation(discs((20, 20, 10)), concept="particle", phrase="the grain", where="largest 1", target=1)
        answers = [
            Answer("The shells.", (shells,), "shells?", raw="Here are the shells [SEG]."),
            Answer("The grain.", (some,), "the biggest", raw="Here is the particle [SEG]<where>largest 1</where>."),
        ]
        save_example(folder, image, answers, stem)
    (folder / "dataset.yaml").write_text("concepts:\n  shell: [shell, shells]\n")
    return folder


def test_corrections_of_several_sessions_become_one_set(tmp_path):
    corrected_folder(tmp_path / "in/anna", (1, 2))
    corrected_folder(tmp_path / "in/ben", (2, 3), "film")
    done = convert(tmp_path / "in", tmp_path / "out")
    assert done.kind == "corrections" and done.images == 3
    assert done.notes[0] == "records that occur twice, left out once: 1"
    examples = [example for found in by_name(tmp_path / "out").values() for example in found]
    for example in examples:
        assert np.array_equal(
            example.concept_labels["shell"], TWO
        ) and example.micrograph.pixel_size_nm == pytest.approx(0.4)
        assert [turn.user for turn in example.turns] == ["shells?", "the biggest"]
        assert np.array_equal(example.target_labels(example.turns[1].targets[0]), discs((20, 20, 10)))
    assert {tuple(e.micrograph.pixels.ravel()[:50]) for e in examples} == {
        tuple(picture(k).astype(np.float32).ravel()[:50]) for k in (1, 2, 3)
    }
    assert {record.source for record in read_records(tmp_path / "out")} == {"film"}
    with pytest.raises(InputError, match="name their concepts already"):
        convert(tmp_path / "in", tmp_path / "again", Choices(concepts={"a": "b"}))


def test_faulty_corrections_are_told_with_file_and_line(tmp_path):
    corrected_folder(tmp_path / "in/anna", (1, 2))
    file = tmp_path / "in/anna/metadata.jsonl"
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    second["file_name"] = "../ben.tif"
    file.write_text(json.dumps({**first, "colour": "red"}) + "\n\n" + json.dumps(second) + "\n{oh")
    with pytest.raises(Faults) as told:
        convert(tmp_path / "in", tmp_path / "out")
    assert [f.split("metadata.jsonl ")[1] for f in told.value.faults] == [
        "line 1: unknown field colour",
        "line 3: ../ben.tif leads out of the folder; paths are relative to the record file",
        "line 4: not JSON (Expecting property name enclosed in double quotes, column 2)",
    ]


# ------------------------------------------------------------------------------------------------------ any JSON


def places(content, path=()):
    """Paths to every value in a JSON content."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


STRANGE = [
    None,
    True,
    -1,
    1.5,
    10**30,
    float("inf"),
    "",
    "x",
    "../../etc/passwd",
    "a" * 300 + ".png",
    "a\0b",
    [],
    [[]],
    [1, "x"],
    {},
    {"a": []},
]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> dict[str, Path]:
    """A small source of each kind that is JSON, and its file."""
    folder = tmp_path_factory.mktemp("foreign")
    found = {"coco": coco_set(folder / "coco") / "annotations/instances_train2017.json"}
    reasonseg(folder / "reasonseg", "one", ["a", "b"], True, [("target", square(1, 1, 9)), ("ignore", square(2, 2, 2))])
    labelme(folder / "labelme", "one", [shape("grain", square(1, 1, 9)), shape("shell", [[9, 9], [9, 12]], "circle")])
    return found | {kind: folder / kind / "one.json" for kind in ("reasonseg", "labelme")}


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_whatever_stands_in_the_json_is_converted_or_told(foreign, tmp_path_factory, data):
    kind = data.draw(st.sampled_from(sorted(foreign)))
    file = foreign[kind]
    good = file.read_text()
    content = json.loads(good)
    *way, last = data.draw(st.sampled_from(list(places(content))))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(st.sampled_from(STRANGE))
    source = file.parent.parent if kind == "coco" else file.parent
    out = tmp_path_factory.mktemp("out") / "set"
    try:
        file.write_text(json.dumps(content))
        convert(source, out, Choices(kind=kind, conversations=0))
    except InputError:
        assert not out.exists()
    else:
        assert not check_folder(out).faults
    finally:
        file.write_text(good)


# ---------------------------------------------------------------------------------------------------------- parts


def test_tiles_are_known_by_their_names():
    assert tile_sources(["f_tile_1", "f-patch-02", "f_r1_c2", "f_x0_y512", "f (1)", "g_1", "g_2"]) == [
        *["f"] * 4,
        "f (1)",
        "g_1",
        "g_2",
    ]
    assert set(tile_sources([f"film_{y}_{x}" for y in (0, 256) for x in (0, 256, 512)])) == {"film"}
    assert len(set(tile_sources(["2024_03_11", "2024_04_12"]))) == 2


def test_tiles_and_crops_that_overlap_go_to_one_part(tmp_path):
    source = tmp_path / "in"
    large = picture(100, (256, 256))
    for k in range(6):
        save(source / f"images/other{k}.png", picture(k, (128, 128)))
    save(source / "images/alpha.png", large[:160, :160])
    save(source / "images/beta.png", large[60:220, 40:200])  # the same area under another name
    for k in range(3):
        save(source / f"images/film_tile{k}.png", picture(50 + k, (96, 96)))
    for image in (source / "images").iterdir():
        shape_ = read_micrograph(image).shape
        write_labels_at(source / f"labels/{image.stem}.tif", discs((40, 40, 15), (70, 60, 8), shape=shape_))
    for seed in range(4):
        done = convert(source, tmp_path / str(seed), Choices(validation=0.4, seed=seed))
        assert done.sources == 8
        split = {Path(r.file_name).stem: (r.split, r.source) for r in read_records(tmp_path / str(seed))}
        assert split["alpha"] == split["beta"]
        assert len({split[f"film_tile{k}"] for k in range(3)}) == 1
        assert 3 <= sum(part == "validation" for part, _ in split.values()) <= 6
        assert not any("overlap" in w or "one part" in w for w in clean(tmp_path / str(seed)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.floats(0, 0.9), st.integers(0, 5))
def test_groups_are_never_torn_apart_and_training_is_never_empty(leaders, share, seed):
    grouped = [leaders.index(leader) for leader in leaders]
    parts = choose_parts([f"n{k}" for k in range(len(leaders))], grouped, share, seed)
    assert all(len({p for p, g in zip(parts, grouped, strict=True) if g == k}) == 1 for k in set(grouped))
    assert "train" in parts and (share > 0 or "validation" not in parts)


# -------------------------------------------------------------------------------------- finding out, and the folder


def test_what_a_folder_is_is_found_out(tmp_path):
    assert find_kind(labelled(tmp_path / "a")) == "labels"
    assert find_kind(coco_set(tmp_path / "b")) == "coco"
    write_json(tmp_path / "a/x.json", {"shapes": []})
    with pytest.raises(InputError, match="labelme or labels; say which with --from"):
        find_kind(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    for place, said in (("empty", "no known format"), ("nowhere", "there is no")):
        with pytest.raises(InputError, match=said):
            find_kind(tmp_path / place)
    with pytest.raises(InputError, match="--from excel is unknown"):
        convert(tmp_path / "a", tmp_path / "out", Choices(kind="excel"))


def test_a_folder_that_holds_something_is_kept(tmp_path, capsys):
    source, out = labelled(tmp_path / "in"), tmp_path / "out"
    convert(source, out)
    before = (out / "metadata.jsonl").read_bytes()
    with pytest.raises(InputError, match="--force"):
        convert(source, out, Choices(seed=3))
    assert (out / "metadata.jsonl").read_bytes() == before
    convert(source, out, Choices(validation=0), force=True)
    assert (out / "metadata.jsonl").read_bytes() != before
    (out / "thesis.docx").write_text("three years")
    with pytest.raises(InputError, match=r"thesis.docx, which is no part"):
        convert(source, out, force=True)
    assert (out / "thesis.docx").is_file() and (out / "metadata.jsonl").is_file()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    for force in (False, True):
        convert(source, tmp_path / "link", force=force)
    assert (tmp_path / "link").is_symlink() and read_records(tmp_path / "elsewhere")
    for inside in (source, source / "out", tmp_path):
        with pytest.raises(InputError, match="contain each other"):
            convert(source, inside)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "in", "link", "out"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    source, out = labelled(tmp_path / "in"), tmp_path / "out"
    convert(source, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(converting, "write_records", full)
    with pytest.raises(InputError, match="No space left on device"):
        convert(source, out, force=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_images_of_any_size_and_kind_go_through(tmp_path):
    images = {
        "dot": np.full((1, 1), 7, np.uint8),
        "thread": np.arange(2400, dtype=np.uint16).reshape(3, 800),
        "holes": np.where(TWO > 0, np.nan, picture(1)).astype(np.float32),
        "flat": np.zeros(SHAPE, np.uint8),
        "colour": np.stack([picture(k) for k in range(3)], -1),
    }
    for name, pixels in images.items():
        (tmp_path / "in/images").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / f"in/images/{name}.tif", pixels)
        write_labels_at(tmp_path / f"in/labels/{name}.tif", np.zeros(pixels.shape[:2], np.int32))
    convert(tmp_path / "in", tmp_path / "out")
    report = check_folder(tmp_path / "out")
    assert not report.faults and sum("are empty" in str(w) for w in report.warnings) == 5
    for name, draw in pictures(report).items():
        draw(tmp_path / name)


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path):
    for k, part in enumerate(("train", "val")):
        save(tmp_path / f"in/{part}/images/A.png" if k else tmp_path / f"in/{part}/images/a.png", picture(k))
        write_labels_at(tmp_path / f"in/{part}/labels/{'A' if k else 'a'}.tif", TWO)
    convert(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out/images").iterdir()) == ["A-2.png", "a.png"]


def test_the_command_writes_checks_and_says_so(tmp_path, capsys):
    source = labelled(tmp_path / "in")
    tifffile.imwrite(source / "images/scan 0.tif", picture(0))
    (source / "images/scan 0.png").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", str(source), "-o", str(tmp_path / "out"), "--concept", "particle=grain boundary"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "own concept grain_boundary: grain boundary, grain boundaries" in said
    for arguments in (["--concept", "x"], ["--concept", "dust=a"], ["--validation", "2"], ["--pixel-size", "-1"]):
        with pytest.raises(SystemExit) as ended:
            main(["data", "convert", str(source), "-o", str(tmp_path / "other"), *arguments])
        assert ended.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
    clean(tmp_path / "out")
