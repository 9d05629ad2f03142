"""The default tower and decoder as a segmenter: windows, what points show, and one click with the shipped weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lisa_micro.models.lisa.build import build_vision
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.mask_head import box_areas
from lisa_micro.models.lisa.windows import LEAST, Window, decode_windows, window_around
from lisa_micro.models.segmenters import BUILDERS, build_segmenter
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.sim import simulate_scene
from lisa_micro.types import InputError, Micrograph

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def micro_random() -> MicroSegmenter:
    torch.manual_seed(0)
    return MicroSegmenter("micro", build_vision(LisaConfig(embed_dim=64, depth=1)), CPU, "")


def micrograph(height: int, width: int) -> Micrograph:
    return Micrograph(np.random.default_rng(0).normal(size=(height, width)).astype(np.float32))


def test_windows_hold_the_box_and_lie_in_the_image():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 65, 2)
        x, y = np.sort(rng.uniform(0, 16 * width, 2)), np.sort(rng.uniform(0, 16 * height, 2))
        w = window_around((x[0], y[0], x[1], y[1]), int(height), int(width))
        assert 0 <= w.x0 < w.x1 <= width and 0 <= w.y0 < w.y1 <= height
        assert 16 * w.x0 <= x[0] and x[1] <= 16 * w.x1 and 16 * w.y0 <= y[0] and y[1] <= 16 * w.y1
        assert w.size[1] >= min(LEAST, width) and w.size[0] >= min(LEAST, height)


def test_a_window_of_the_whole_image_changes_nothing(micro_random):
    """And each prompt of a batch is decoded in its own window."""
    model = micro_random.model
    micro_random.encode(micrograph(256, 256))
    seen = micro_random.image.features.image
    boxes = torch.tensor([[20.0, 30, 90, 80], [150, 160, 230, 240]])
    height, width = seen.sam.embedding.shape[-2:]
    head = model.mask_head
    with torch.inference_mode():
        whole = model.decode_boxes(seen, boxes)
        position = head.position(height, width)
        tokens, areas = head.box_tokens(boxes), box_areas(boxes, height, width)
        every = [Window(0, 0, width, height)] * 2
        same, quality = decode_windows(head, seen.sam, position, tokens, areas, every)
        windows = [Window(0, 0, 10, 10), Window(6, 6, 16, 16)]
        parts, _ = decode_windows(head, seen.sam, position, tokens, areas, windows)
        second, _ = decode_windows(head, seen.sam, position, tokens[1:], areas[1:], windows[1:])
    torch.testing.assert_close(same, whole.mask, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quality, whole.iou.sigmoid(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts[1:], second, atol=1e-4, rtol=1e-4)
    assert (parts[0, 80:] == parts.min()).all() and (parts[1, :48] == parts.min()).all()


class Drawn(MicroSegmenter):
    """Finds the particles that a test draws."""

    def draw(self, labels: np.ndarray) -> None:
        features = self.image.features
        mask = (labels > 0).astype(np.float32)
        features.__dict__["particles"] = labels.astype(np.int32)
        features.__dict__["_decoded"] = np.stack([mask, mask, 0 * mask]), 1.0


def test_points_mark_the_instances_under_them(micro_random):
    segmenter = Drawn("micro", micro_random.model, CPU, "")
    segmenter.encode(micrograph(64, 64))
    labels = np.zeros((64, 64), np.int32)
    labels[5:25, 5:25], labels[5:25, 25:45], labels[40:60, 10:30], labels[45:55, 15:25] = 1, 2, 3, 0
    segmenter.draw(labels)
    features = segmenter.image.features

    def region(*points: tuple[float, float, int]):
        array = np.array(points)
        return features.region(array[:, :2], array[:, 2].astype(int))

    assert (region((10, 10, 1))[0] == (labels == 1)).all()
    assert (region((10, 10, 1), (40, 20, 1))[0] == ((labels == 1) | (labels == 2))).all()
    assert (region((10, 10, 1), (40, 20, 0))[0] == (labels == 1)).all()
    assert (region((4.2, 10, 1))[0] == (labels == 1)).all()  # a pixel beside it
    halves, pore = region((10, 15, 1), (20, 15, 0))  # both in the same particle
    assert not pore and halves[:, :15].sum() == 200 and not halves[:, 15:].any()
    pore, is_pore = region((20, 50, 1))
    assert is_pore and (pore == features.enclosed.astype(bool)).all() and pore.sum() == 100
    assert region((60, 60, 1)) is None

    out = segmenter.predict(points=[[[20, 50]], [[60, 60]], [[10, 10]]])
    assert abs(int(out.masks[0].sum()) - 100) <= 12  # the pore itself, whatever the decoder has learned
    box = segmenter.predict(boxes=[[5, 5, 25, 25]], mask_inputs=(labels == 1)[None])
    np.testing.assert_allclose(out.logits[2], box.logits[0], atol=0.05)


def test_masks_of_boxes_end_at_the_box(micro_random):
    micro_random.encode(micrograph(64, 64))
    out = micro_random.predict(boxes=[[10, 20, 30.4, 41], [0, 0, 64, 64]])
    assert not out.masks[0, :20].any() and not out.masks[0, :, :10].any()
    assert not out.masks[0, 41:].any() and not out.masks[0, :, 31:].any()
    assert micro_random.window(np.array([0.5, 0, 63.2, 64])) == (slice(0, 64), slice(0, 64))


def test_the_shipped_weights_are_the_default(tmp_path):
    segmenter = build_segmenter("micro", device="cpu")
    assert segmenter.name == "micro" and len(segmenter.weights_sha256) == 64
    with pytest.raises(InputError, match="No model folder"):
        build_segmenter("micro", tmp_path / "absent")
    with pytest.raises(InputError, match="config.json is missing"):
        build_segmenter("micro", tmp_path)
    assert "micro" in BUILDERS


@pytest.mark.slow
def test_one_point_on_a_large_particle_segments_it():
    scene = simulate_scene(9_100_004, shape=(320, 320), modality="BF-TEM", kind="few_big")
    segmenter = build_segmenter("micro", device="cpu")
    segmenter.encode(Micrograph(scene.pixels))
    sizes = np.bincount(scene.particles.ravel())
    sizes[0] = 0
    truth = scene.particles == sizes.argmax()
    rows, columns = np.nonzero(truth)
    out = segmenter.predict(points=[[[columns.mean(), rows.mean()]]])
    assert (out.masks[0] & truth).sum() / (out.masks[0] | truth).sum() > 0.85
    again = segmenter.predict(mask_inputs=out.logits)
    assert (again.masks[0] & truth).sum() / (again.masks[0] | truth).sum() > 0.85
