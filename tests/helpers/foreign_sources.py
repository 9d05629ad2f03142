"""Sources of other programs, small ones with known labels, to be converted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from paths import ROOT
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

from lisa_micro.datasets.preparation.checking import check_folder
from lisa_micro.datasets.readers import read_record_folder
from lisa_micro.io import write_labels
from lisa_micro.models.lisa.config import LisaConfig
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


def labelled(folder: Path, count: int = 3) -> Path:
    for k in range(count):
        save(folder / f"images/scan {k}.png", picture(k))
        write_labels_at(folder / f"labels/scan {k}.tif", TWO if k % 2 else THREE)
    return folder


def write_labels_at(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, labels)


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
