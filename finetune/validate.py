"""``python -m lisa_micro_finetune.validate WEIGHTS``: what the tower and the decoder reach on validation images when
prompted by the code book and by boxes: the upper bound for words."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from lisa_micro.geometry import boxes_from_labels
from lisa_micro.measure import find_necks
from lisa_micro.metrics import Counts, counts, iou, iou_outside_band, label_centres, neck_centre_counts
from lisa_micro.models.lisa.build import build_vision, load_parts
from lisa_micro.models.lisa.config import LisaConfig
from lisa_micro.models.lisa.instances import SplitConfig, connected, separate
from lisa_micro.types import CONCEPTS, InputError
from lisa_micro_finetune.data.sources import Source, prepare_real, prepare_simulated, read_source
from lisa_micro_finetune.precision import use_bf16

SIMULATED_SEED = 5_000_000
"""Of the first simulated scene: training uses seeds below."""


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
    """Figures by kind of image, as a flat dictionary: means over images, AP50 = TP/(TP+FP+FN) and neck F1 over all
    instances together. Necks are scored in two ways: the decoder's own, and those measured on the particles found."""
    rows: dict[str, list[float]] = {}
    total: dict[str, Counts] = {}

    def add(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    def pool(name: str, value: Counts) -> None:
        total[name] = total.get(name, Counts(0, 0, 0)) + value

    for s in sources:
        maps, features = validator.maps(s.pixels, CONCEPTS if s.instances else ("particle",))
        mask, truth = maps["particle"][0] > 0.5, s.labels["particle"]
        add(f"{s.kind} particle IoU", iou(mask, truth > 0))
        if not s.instances:
            add(f"{s.kind} IoU outside band", iou_outside_band(mask, truth > 0))
            continue
        labels = separate(*maps["particle"], split)
        pool(f"{s.kind} AP50", counts(labels, truth))
        add(f"{s.kind} particle IoU of instances", iou(labels > 0, truth > 0))
        for concept in ("neck", "pore", "agglomerate", "particle"):
            there = bool(s.labels[concept].any())
            add(
                f"{s.kind} {concept} " + ("found" if there else "declined"),
                (validator.presence[concept] > 0.5) == there,
            )
            if there and concept != "particle":
                add(f"{s.kind} {concept} IoU", iou(maps[concept][0] > 0.5, s.labels[concept] > 0))
        necks = find_necks(truth)
        pool(f"{s.kind} neck F1, decoded", neck_centre_counts(label_centres(connected(maps["neck"][0])), necks))
        pool(f"{s.kind} neck F1, from particles", neck_centre_counts(find_necks(labels), necks))
        boxes = boxes_from_labels(truth)[:10]
        if len(boxes):
            for k, m in enumerate(validator.boxes(features, boxes)):
                add(f"{s.kind} box IoU", iou(m, truth == k + 1))
    figures = {name: float(np.mean(values)) for name, values in rows.items()}
    figures |= {name: c.ap if "AP50" in name else c.f1 for name, c in total.items()}
    return dict(sorted(figures.items()))


def main() -> int:
    """Exit code 0 on success, 2 for missing weights or data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--work-side", type=int, default=640)
    parser.add_argument("--simulated", type=int, default=20)
    args = parser.parse_args()
    try:
        validator = Validator(args.weights, args.work_side)
        paths = sorted((args.cache / "validation").glob("*.npz")) or prepare_real(args.cache, "validation")
        paths += prepare_simulated(args.cache / "simval_512x512", args.simulated, SIMULATED_SEED, (512, 512))
        figures = validate(validator, [read_source(p) for p in paths])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in figures.items():
        print(f"{name:32s} {value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
