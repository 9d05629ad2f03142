"""Scores of masks, instances and points (numpy, scipy, pycocotools; no torch)."""

from lisa_micro.metrics.instances import (
    Counts,
    average_precision,
    coco_average_precision,
    counts,
    emps_average_precision,
    match,
    overlap,
    panoptic_quality,
    pooled_counts,
    seg,
)
from lisa_micro.metrics.masks import boundary_f1, ciou, dice, giou, hausdorff95, iou, iou_outside_band
from lisa_micro.metrics.points import (
    label_centres,
    match_points,
    neck_centre_counts,
    neck_counts_from_particles,
    point_counts,
)

__all__ = [
    "Counts",
    "average_precision",
    "boundary_f1",
    "ciou",
    "coco_average_precision",
    "counts",
    "dice",
    "emps_average_precision",
    "giou",
    "hausdorff95",
    "iou",
    "iou_outside_band",
    "label_centres",
    "match",
    "match_points",
    "neck_centre_counts",
    "neck_counts_from_particles",
    "overlap",
    "panoptic_quality",
    "point_counts",
    "pooled_counts",
    "seg",
]
