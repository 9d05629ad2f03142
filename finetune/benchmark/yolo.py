"""YOLOv8n-seg with the interface of a semantic segmenter.

The network, the assignment of its targets and its loss are those of the package ultralytics. The package is licensed
under the AGPL-3.0, so it is an optional dependency (extra ``yolo``) that is imported only if this model is used, and
never by ``lisa_micro``.

The network has its published 80 classes, of which the first one means "particle". So it has the number of parameters of
the paper, and the other classes are trained as absent. It is trained from random weights on instances (for a mask: its
connected components) with the package's own loss and default gains, in the common training loop.
"""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.geometry import box_iou
from lisa_micro.models.segmenters.images import pad_to_multiple, three_channels
from lisa_micro.types import InputError

MISSING = (
    "YOLOv8n-seg needs the package ultralytics (AGPL-3.0), which is not installed; run: pip install "
    '"lisa-micro[yolo]", or leave yolo out of --models'
)
CLASSES, STRIDE, MASK_STRIDE = 80, 32, 4
CONFIDENCE, OVERLAP, MOST = 0.25, 0.7, 300
"""Confidence and IoU thresholds and the largest number of boxes: the package's defaults for prediction."""
NOWHERE = -10.0
"""Logit outside all instances."""


def import_ultralytics() -> tuple[ModuleType, ModuleType]:
    """Import ``ultralytics.cfg`` and ``ultralytics.nn.tasks``, without network access.

    Raises:
        InputError: the package is not installed.
    """
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    try:
        from ultralytics import cfg
        from ultralytics.nn import tasks
    except ImportError as error:
        raise InputError(MISSING) from error
    return cfg, tasks


class YoloSemantic(nn.Module):
    """YOLOv8n-seg; its output is the union of the detected instances, one logit per pixel.

    Raises:
        InputError: ultralytics is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        cfg, tasks = import_ultralytics()
        self.net = tasks.SegmentationModel("yolov8n-seg.yaml", ch=3, nc=CLASSES, verbose=False)
        self.net.args = cfg.get_cfg(cfg.DEFAULT_CFG)  # gains of the loss

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 1 or 3, H, W)`` in 0..1 -> logits ``(B, 1, H, W)``; only in evaluation mode.

        Raises:
            InputError: images of another shape.
        """
        height, width = images.shape[-2:]
        padded = pad_to_multiple(three_channels(images), STRIDE)
        found, prototypes = _outputs(self.net(padded))
        union = torch.stack([_union(f, p) for f, p in zip(found, prototypes, strict=True)])
        union = F.interpolate(union[:, None], padded.shape[-2:], mode="bilinear", align_corners=False)
        return union[..., :height, :width]

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Loss of the package (boxes, masks, classes, distances), mean over images.

        Args:
            images: ``(B, 1 or 3, S, S)`` in 0..1, S a multiple of 32.
            labels: ``(B, S, S)`` int instances.

        Returns:
            ``()``.
        """
        batch = targets(labels.cpu().numpy())
        batch = {"img": three_channels(images), **{k: v.to(images.device) for k, v in batch.items()}}
        return self.net.loss(batch)[0].sum() / len(images)


def targets(labels: np.ndarray) -> dict[str, Tensor]:
    """Convert instances ``(B, S, S)`` to the targets of ultralytics.

    Returns:
        image, class and box (centre and size, divided by S) of each instance, and ``masks`` ``(B, S/4, S/4)``, in which
        the k-th instance of an image has the value k.
    """
    side = labels.shape[1]
    images, boxes = [], []
    masks = np.zeros((len(labels), side // MASK_STRIDE, side // MASK_STRIDE), np.float32)
    for number, one in enumerate(labels):
        small = one[MASK_STRIDE // 2 :: MASK_STRIDE, MASK_STRIDE // 2 :: MASK_STRIDE]
        # an instance that vanishes at the resolution of the masks has no target
        present = [int(k) for k in np.unique(small) if k > 0]
        places = ndimage.find_objects(one)
        for index, k in enumerate(present, start=1):
            rows, columns = places[k - 1]
            x0, x1, y0, y1 = columns.start, columns.stop, rows.start, rows.stop
            boxes.append([(x0 + x1) / 2 / side, (y0 + y1) / 2 / side, (x1 - x0) / side, (y1 - y0) / side])
            images.append(number)
            masks[number][small == k] = index
    return {
        "batch_idx": torch.tensor(images, dtype=torch.float32),
        "cls": torch.zeros(len(images), 1),
        "bboxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "masks": torch.from_numpy(masks),
    }


def _outputs(output: tuple) -> tuple[Tensor, Tensor]:
    """Predictions ``(B, 4 + classes + 32, A)`` and prototypes ``(B, 32, h, w)`` of the network in evaluation mode.

    Since ultralytics 8.4 they are nested in the first output; before, the prototypes were the last of the second one.
    """
    first, second = output[:2]
    return first if isinstance(first, tuple) else (first, second[-1])


def suppress(boxes: Tensor, scores: Tensor) -> Tensor:
    """Greedy non-maximum suppression.

    That of torchvision is not used, since its compiled part does not load with every build of torch.

    Args:
        boxes: ``(n, 4)`` XYXY.
        scores: ``(n,)``.

    Returns:
        ``(k,)`` indices of at most :data:`MOST` boxes, the best first.
    """
    order = scores.argsort(descending=True, stable=True)[: 10 * MOST].tolist()
    iou = box_iou(boxes.cpu().numpy(), boxes.cpu().numpy()) if len(order) else np.zeros((0, 0))
    kept: list[int] = []
    for candidate in order:
        if len(kept) == MOST:
            break
        if not kept or iou[candidate, kept].max() <= OVERLAP:
            kept.append(candidate)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def _union(found: Tensor, prototypes: Tensor) -> Tensor:
    """Union of the instances of one image: logits ``(h, w)`` at the resolution of the prototypes.

    Args:
        found: predictions ``(4 + classes + 32, A)``, boxes as centre and size in px.
        prototypes: ``(32, h, w)``.
    """
    found, prototypes = found.float().T, prototypes.float()
    scores = found[:, 4]
    found, scores = found[scores > CONFIDENCE], scores[scores > CONFIDENCE]
    half = found[:, 2:4] / 2
    boxes = torch.cat([found[:, :2] - half, found[:, :2] + half], dim=1)
    kept = suppress(boxes, scores)
    height, width = prototypes.shape[1:]
    union = torch.full((height, width), NOWHERE, device=prototypes.device)
    rows = torch.arange(height, device=union.device)[:, None] + 0.5
    columns = torch.arange(width, device=union.device)[None] + 0.5
    for box, weights in zip(boxes[kept] / MASK_STRIDE, found[kept, 4 + CLASSES :], strict=True):
        inside = (columns >= box[0]) & (columns <= box[2]) & (rows >= box[1]) & (rows <= box[3])
        logits = torch.einsum("k,khw->hw", weights, prototypes)
        union = torch.maximum(union, torch.where(inside, logits, NOWHERE))
    return union
