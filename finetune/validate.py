"""``python -m finetune.validate WEIGHTS``: what the tower and the decoder reach on validation images when
prompted by the
code book, boxes and points: the upper bound for words."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from finetune.device import use_bf16
from finetune.sources import Source, read_source
from lisa_micro.models.lisa.build import build_vision, load_parts
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.instances import SplitConfig, connected, separate
from lisa_micro.types import CONCEPTS


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def matched(truth: np.ndarray, predicted: np.ndarray, threshold: float = 0.5) -> tuple[int, int, int]:
    """(TP, FP, FN) at IoU > threshold; above 0.5 a match is unique."""
    n, m = int(truth.max(initial=0)), int(predicted.max(initial=0))
    joint = np.bincount((truth.ravel().astype(np.int64) * (m + 1) + predicted.ravel()), minlength=(n + 1) * (m + 1))
    joint = joint.reshape(n + 1, m + 1)
    inter = joint[1:, 1:]
    union = joint.sum(1)[1:, None] + joint.sum(0)[None, 1:] - inter
    tp = int(((inter / np.maximum(union, 1)) > threshold).sum())
    return tp, m - tp, n - tp


class Validator:
    """Runs a vision model over prepared validation images."""

    def __init__(self, weights: Path, work_side: int = 640, embed_dim: int = 192):
        config = LisaConfig(work_side=work_side, embed_dim=embed_dim)
        self.model = build_vision(config).eval()
        load_parts(self.model, weights, ("sam_tower", "mask_head"))
        self.bf16 = use_bf16("auto", torch.device("cpu"))

    @torch.no_grad()
    def maps(self, pixels: np.ndarray, concepts: tuple[str, ...]) -> tuple[dict[str, np.ndarray], object]:
        """(concept -> array (3, H, W) of probabilities and presence), features."""
        image = torch.as_tensor(pixels.astype(np.float32) / 255)[None, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            features = self.model.encode_image(image)
            ids = torch.tensor([[CONCEPTS.index(c)] for c in concepts])
            out = self.model.mask_head(features.sam, self.model.mask_head.code_book(ids))
        result = {}
        for k, concept in enumerate(concepts):
            stack = torch.stack([out.mask[k], out.distance[k], out.border[k]])
            result[concept] = self.model.to_micrograph(stack, features).sigmoid().numpy()
        self.presence = dict(zip(concepts, out.presence.sigmoid().tolist(), strict=True))
        return result, features

    @torch.no_grad()
    def boxes(self, features, boxes: np.ndarray) -> np.ndarray:
        """``(N, 4)`` -> bool masks ``(N, H, W)``."""
        masks = []
        for start in range(0, len(boxes), 16):
            part = torch.as_tensor(boxes[start : start + 16], dtype=torch.float32)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                out = self.model.decode_boxes(features, part)
            masks.append((self.model.to_micrograph(out.mask, features) > 0).numpy())
        return np.concatenate(masks)


def validate(validator: Validator, sources: list[Source], split: SplitConfig | None = None) -> dict[str, float]:
    """Figures by kind of image, as a flat dictionary."""
    rows: dict[str, list[float]] = {}
    counts = dict.fromkeys(("tp", "fp", "fn", "ntp", "nfp", "nfn"), 0)

    def add(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    for s in sources:
        maps, features = validator.maps(s.pixels, CONCEPTS if s.instances else ("particle",))
        mask = maps["particle"][0] > 0.5
        truth = s.labels["particle"]
        add(f"{s.kind} particle IoU", iou(mask, truth > 0))
        if s.kind == "tem":
            edge = ndimage.binary_dilation(truth > 0, iterations=2) & ~ndimage.binary_erosion(truth > 0, iterations=2)
            add("tem IoU outside band", iou(mask & ~edge, (truth > 0) & ~edge))
            continue
        labels = separate(*maps["particle"], split)
        tp, fp, fn = matched(truth, labels)
        for key, value in zip(("tp", "fp", "fn"), (tp, fp, fn), strict=True):
            counts[key] += value if s.kind == "emps" else 0
        add(f"{s.kind} AP50", tp / max(1, tp + fp + fn))
        for concept in ("neck", "pore", "agglomerate", "particle"):
            there = bool(s.labels[concept].any())
            p = validator.presence[concept]
            add(f"{s.kind} {concept} " + ("found" if there else "declined"), float((p > 0.5) == there))
            if there and concept != "particle":
                add(f"{s.kind} {concept} IoU", iou(maps[concept][0] > 0.5, s.labels[concept] > 0))
        hits, extra, missed = centre_hits(s.labels["neck"], connected(maps["neck"][0]))
        for key, value in zip(("ntp", "nfp", "nfn"), (hits, extra, missed), strict=True):
            counts[key] += value if s.kind == "emps" else 0
        slices = ndimage.find_objects(truth)
        boxes = np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices], float)[:10]
        if len(boxes):
            for k, m in enumerate(validator.boxes(features, boxes)):
                add(f"{s.kind} box IoU", iou(m, truth == k + 1))
    figures = {name: float(np.mean(values)) for name, values in sorted(rows.items())}
    for prefix, label in (("", "emps F1@0.5 pooled"), ("n", "emps neck F1 pooled")):
        tp, fp, fn = (counts[prefix + k] for k in ("tp", "fp", "fn"))
        figures[label] = 2 * tp / max(1, 2 * tp + fp + fn)
    return figures


def centre_hits(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int]:
    """Predicted centres against true necks: a hit within half the longest extent of the true neck, one to one."""
    ids = np.arange(1, int(truth.max(initial=0)) + 1)
    own = np.array(ndimage.center_of_mass(truth > 0, truth, ids)).reshape(-1, 2)
    found = np.array(
        ndimage.center_of_mass(predicted > 0, predicted, np.arange(1, int(predicted.max(initial=0)) + 1))
    ).reshape(-1, 2)
    reach = np.array([max(3.0, np.hypot(y.stop - y.start, x.stop - x.start)) for y, x in ndimage.find_objects(truth)])
    used: set[int] = set()
    for k, centre in enumerate(own):
        gaps = np.hypot(*(found - centre).T) if len(found) else np.array([])
        order = [j for j in np.argsort(gaps) if j not in used and gaps[j] <= reach[k]]
        if order:
            used.add(int(order[0]))
    return len(used), len(found) - len(used), len(own) - len(used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--work-side", type=int, default=640)
    parser.add_argument("--simulated", type=int, default=20)
    args = parser.parse_args()
    paths = sorted((args.cache / "validation").glob("*.npz"))
    paths += sorted((args.cache / "simval_512x512").glob("*.npz"))[: args.simulated]
    figures = validate(Validator(args.weights, args.work_side), [read_source(p) for p in paths])
    for name, value in figures.items():
        print(f"{name:32s} {value:.4f}")


if __name__ == "__main__":
    main()
