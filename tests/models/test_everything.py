"""Everything mode: its parts by hand, with a stand-in whose masks are known, and with the shipped weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_micro.assistant.prompted import WordlessAssistant
from lisa_micro.cli.main import main
from lisa_micro.models.lisa.build import build_vision
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.segmenters import BUILDERS, Everything, build_segmenter
from lisa_micro.models.segmenters.base import Prompts
from lisa_micro.models.segmenters.everything import (
    LABEL_SIDE,
    Shape,
    box_nms,
    cleaned,
    crop,
    grid_points,
    is_background,
    label_shape,
    stability,
    without_overlaps,
)
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.sim import simulate_scene
from lisa_micro.types import InputError, Micrograph


class Knowing(PromptedSegmenter):
    """Answers a point with the object of ``truth`` under it, or with all background."""

    def __init__(self, truth: np.ndarray):
        super().__init__("knowing", torch.nn.Identity(), torch.device("cpu"), "00")
        self.truth, self.quality = truth, {}

    def extract(self, pixels):
        return None, self.truth.shape

    def answer(self, prompts: Prompts):
        logits, scores = [], []
        height, width = self.image.shape
        for (x, y), *_ in prompts.points:
            number = int(self.truth[int(y * len(self.truth) / height), int(x * len(self.truth[0]) / width)])
            logits.append(np.where(self.truth == number, 5.0, -5.0))
            scores.append(self.quality.get(number, 0.9))
        return torch.tensor(np.array(logits)).float(), torch.tensor(scores)

    def enlarge(self, logits, shape):
        return torch.nn.functional.interpolate(logits[:, None], shape, mode="nearest")[:, 0]


def micrograph(height: int, width: int) -> Micrograph:
    return Micrograph(np.random.default_rng(0).normal(size=(height, width)).astype(np.float32))


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((60, 80), np.int32)
    labels[5:25, 5:25], labels[5:25, 25:45], labels[30:50, 60:75] = 1, 2, 3
    return labels


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


# ---------------------------------------------------------------------------------------------------- the parts


def test_the_grid_covers_the_image_evenly():
    points = grid_points((60, 120), 8)
    assert points.shape == (32, 2)
    assert points[:, 0].min() == 7.5 and points[:, 0].max() == 112.5
    assert points[:, 1].min() == 7.5 and points[:, 1].max() == 52.5
    assert grid_points((1, 1000), 4).shape == (4, 2)


def test_stability_by_hand():
    logits = torch.tensor([[[2.0, 0.5, -0.5, -3]], [[9.0, 9, 9, 9]], [[-9.0, -9, -9, -9]]])
    assert stability(logits, 1.0).tolist() == pytest.approx([1 / 3, 1, 0])


def test_nms_keeps_the_better_of_two_and_distant_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    assert box_nms(boxes, np.array([0.5, 0.9, 0.1, 0.5]), 0.7).tolist() == [1, 2]
    assert box_nms(boxes, np.array([0.5, 0.9, 0.1, 0.5]), 1.0).tolist() == [1, 0, 3, 2]
    assert box_nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[st.integers(0, 20)] * 4, st.floats(0, 1)), max_size=12), st.floats(0, 1))
def test_nms_leaves_no_two_boxes_that_overlap_more(rows, most):
    boxes = np.array([(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d, _ in rows]).reshape(-1, 4)
    scores = np.array([row[4] for row in rows])
    stay = box_nms(boxes, scores, most)
    assert (np.diff(scores[stay]) <= 0).all()

    def iou(a, b):
        common = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
        return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)

    assert all(iou(boxes[i], boxes[j]) <= most for i in stay for j in stay if i != j)
    gone = set(range(len(rows))) - set(stay.tolist())
    assert all(any(iou(boxes[i], boxes[j]) > most and scores[j] >= scores[i] for j in stay) for i in gone)


def test_small_regions_and_holes_are_removed():
    mask = np.zeros((20, 20), bool)
    mask[2:15, 2:15], mask[5:7, 5:7], mask[9:14, 9:14], mask[18, 18] = True, False, False, True
    clean = cleaned(mask, 8)
    assert clean[5:7, 5:7].all() and not clean[9:14, 9:14].any() and not clean[18, 18]
    assert clean.sum() == 13 * 13 - 25
    open_at_edge = np.ones((5, 5), bool)
    open_at_edge[0, 2] = False
    assert (cleaned(open_at_edge, 8) == open_at_edge).all()


def test_background_is_distinguished_from_an_object():
    frame = np.ones((10, 10), bool)
    frame[3:8, 3:8] = False
    assert is_background(frame, 0.9) and is_background(np.ones((10, 10), bool), 0.9)
    half = np.zeros((10, 10), bool)
    half[:, :5] = True
    assert not is_background(half, 0.6) and is_background(half, 0.4)


def test_shapes_become_labels_without_overlaps():
    def square(x, y, side):
        return Shape(np.ones((side, side), bool), x, y)

    shapes = [square(0, 0, 10), square(6, 0, 10), square(1, 1, 4), square(30, 30, 2), square(20, 20, 6)]
    labels, kept = without_overlaps(shapes, [0.9, 0.8, 0.7, 0.9, 0.5], (40, 40), Everything(smallest=5))
    assert kept.tolist() == [0, 1, 4]  # the third lies within the first, the fourth is too small
    assert np.bincount(labels.ravel())[1:].tolist() == [100, 60, 36]
    ring = np.ones((3, 30), bool)
    labels, kept = without_overlaps([square(4, 0, 3), Shape(ring, 0, 0)], [1, 0.5], (40, 40), Everything(smallest=5))
    assert kept.tolist() == [0, 1] and (labels == 2).sum() == 3 * 23  # the larger of the two remaining components


@pytest.mark.parametrize("shape", [(1, 1), (300, 500), (1536, 10), (3000, 2000), (16384, 16384)])
def test_labels_are_combined_at_a_bounded_size(shape):
    size = label_shape(shape)
    assert max(size) <= LABEL_SIDE and (size == shape) == (max(shape) <= LABEL_SIDE)


def test_crop():
    mask = np.zeros((6, 8), bool)
    assert crop(mask) is None
    mask[2:4, 5] = True
    found = crop(mask)
    assert (found.x, found.y, found.mask.shape) == (5, 2, (2, 1)) and found.box == (5, 2, 6, 4)


@pytest.mark.parametrize(
    "setting", [{"side": 0}, {"side": 999}, {"score": 1.5}, {"overlap": -1}, {"shift": -1}, {"smallest": -1}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(InputError):
        Everything(**setting)


# ------------------------------------------------------------------------------------------------- everything


def test_a_grid_finds_every_object_once(truth):
    segmenter = Knowing(truth)
    segmenter.encode(micrograph(60, 80))
    found = segmenter.everything(Everything(side=16))
    assert found.tried == 16 * 12 and same_partition(found.labels, truth)
    assert found.labels.dtype == np.int32 and found.scores == pytest.approx([0.9] * 3)


def test_uncertain_objects_are_left_out(truth):
    segmenter = Knowing(truth)
    segmenter.quality[2] = 0.3
    segmenter.encode(micrograph(60, 80))
    found = segmenter.everything(Everything(side=16))
    assert same_partition(found.labels, np.where(truth == 2, 0, truth))


def test_large_micrographs_get_labels_of_their_size(truth):
    segmenter = Knowing(truth)
    segmenter.encode(micrograph(1800, 2400))
    found = segmenter.everything(Everything(side=8))
    assert found.labels.shape == (1800, 2400)
    assert same_partition(found.labels[15::30, 15::30], truth)


def test_a_flat_image_holds_nothing(truth):
    segmenter = Knowing(truth)
    for value in (0.0, 7.5, np.nan):
        segmenter.encode(Micrograph(np.full((60, 80), value, np.float32)))
        found = segmenter.everything()
        assert not found.labels.any() and found.labels.shape == (60, 80) and "equal" in found.notes[0]
    with pytest.raises(InputError, match="encode"):
        Knowing(truth).everything()


@pytest.mark.parametrize("shape", [(1, 1), (3, 90), (70, 41)])
def test_the_default_decoder_proposes_its_own_instances(shape):
    torch.manual_seed(0)
    segmenter = MicroSegmenter("micro", build_vision(LisaConfig(embed_dim=64, depth=1)), torch.device("cpu"), "")
    segmenter.encode(micrograph(*shape))
    found = segmenter.everything(Everything(score=0, stability=0, overlap=1, covered=1, smallest=0))
    assert found.labels.shape == shape and found.tried == segmenter.image.features.particles.max()
    assert same_partition(found.labels, segmenter.image.features.particles)


# --------------------------------------------------------------------------------- as an assistant, command line


def test_any_segmenter_serves_as_an_assistant(truth):
    assistant = WordlessAssistant(Knowing(truth))
    image = micrograph(60, 80)
    result = assistant.segment_everything(image)
    assert result.count == 3 and result.concept == "object" and result.phrase == "objects"
    assert len(result.table()) == 3 and result.score == pytest.approx(0.9)
    point = assistant.segment_points(image, [70, 40])
    assert (point.mask == (truth == 3)).all()
    assert assistant.encode(image) < 0.1
    with pytest.raises(InputError, match="takes no words"):
        assistant.ask(image, "segment the particles")


def test_the_command(truth, tmp_path, monkeypatch, capsys):
    from PIL import Image

    path = tmp_path / "film.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8)).save(path)
    seen = {}

    def build(checkpoint, device):
        seen["checkpoint"] = checkpoint
        return Knowing(truth)

    monkeypatch.setitem(BUILDERS, "knowing", build)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        return stop.value.code, capsys.readouterr()

    code, said = call(
        "segment", path, "--everything", "--segmenter", "knowing", "--checkpoint", "w.pt", "--out", tmp_path / "a"
    )
    assert code == 0 and "Segmented 3 objects." in said.out and str(seen["checkpoint"]) == "w.pt"
    assert {"labels.tif", "instances.csv", "answer.json"} <= {p.name for p in (tmp_path / "a").iterdir()}
    for arguments, message in (
        (["particles", "--segmenter", "knowing"], "takes no words"),
        (["--everything", "--checkpoint", "w.pt"], "belongs to a --segmenter"),
        (["--everything", "--segmenter", "sam9"], "Unknown segmenter"),
        ([], "prompt is empty"),
    ):
        code, said = call("segment", path, *arguments, "--out", tmp_path / "b")
        assert code == 2 and message in said.err and said.err.count("\n") == 1


# ------------------------------------------------------------------------------------------ the shipped weights


@pytest.mark.slow
def test_everything_in_a_simulated_scene():
    scene = simulate_scene(9_100_004, shape=(320, 320), modality="BF-TEM", kind="few_big")
    segmenter = build_segmenter("micro", device="cpu")
    segmenter.encode(Micrograph(scene.pixels))
    found = segmenter.everything()
    truth = np.unique(scene.particles[scene.particles > 0])
    assert abs(int(found.labels.max()) - len(truth)) <= 2
    mask = found.labels > 0
    assert (mask & (scene.particles > 0)).sum() / (mask | (scene.particles > 0)).sum() > 0.85
    assert len(found.scores) == found.labels.max() and found.presence > 0.5


@pytest.mark.slow
def test_everything_in_a_flat_image_is_nothing():
    segmenter = build_segmenter("micro", device="cpu")
    segmenter.encode(Micrograph(np.full((200, 200), 0.5, np.float32)))
    found = segmenter.everything()
    assert not found.labels.any() and found.presence == 0
    assistant = WordlessAssistant(segmenter)
    assert assistant.segment_everything(Micrograph(np.zeros((64, 64), np.float32))).count == 0


# ----------------------------------------------------------------------------------------------- prompts in training


def test_rough_masks_are_nearly_right():
    from lisa_micro_finetune.data.regions import quarter, rough_region

    labels = np.zeros((96, 96), np.int32)
    rows, columns = np.mgrid[:96, :96]
    labels[(rows - 40) ** 2 + (columns - 35) ** 2 < 20**2] = 1
    labels[(rows - 40) ** 2 + (columns - 70) ** 2 < 14**2] = 2
    mask = labels == 1
    rng = np.random.default_rng(0)
    ious = []
    for _ in range(60):
        rough = rough_region(mask, labels, rng)
        assert rough.any() and rough.shape == mask.shape
        ious.append((rough & mask).sum() / (rough | mask).sum())
    assert 0.8 < np.median(ious) < 1 and min(ious) > 0.4 and max(ious) == 1
    share = quarter(mask)
    assert share.shape == (1, 24, 24) and share.sum() * 16 == mask.sum()


def test_training_prompts_by_rough_masks():
    from lisa_micro_finetune.data.crops import CropConfig, CropMaker
    from lisa_micro_finetune.data.sources import Source
    from lisa_micro_finetune.stages.vision import VisionModel, VisionWeights, vision_loss

    scene = simulate_scene(3, shape=(128, 128), kind="few_big")
    known = {c: scene.labels(c) for c in ("particle", "neck", "pore", "agglomerate", "substrate")}
    source = Source("a", "sim", (255 * scene.pixels / scene.pixels.max()).astype(np.uint8), known, True)
    config = CropConfig(size=64, mix=(("sim", 1.0),), size_power=0.5, regions=True)
    batch = CropMaker([source], config, batch_size=2, seed=0)(4)
    assert batch.regions.shape == (2, 1, 16, 16) and batch.region_boxes.shape == (2, 4)
    assert len(batch.targets.mask) == 2 * config.words + 6
    model = VisionModel(embed_dim=32, depth=1)
    loss, figures = vision_loss(model(batch), batch.targets, VisionWeights(), batch.concepts.numel())
    assert torch.isfinite(loss) and 0 <= figures["iou_prompted"] <= 1
    plain = CropMaker([source], CropConfig(size=64, mix=(("sim", 1.0),)), batch_size=2, seed=0)(4)
    assert plain.regions.shape == (0, 1, 16, 16) and len(plain.targets.mask) == 2 * config.words + 4
