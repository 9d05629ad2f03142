"""Metrics for masks, instances, points, tracks and lineages (NumPy, SciPy, pycocotools; no torch).

The functions listed here are the public interface; conventions for empty masks and images are in the modules.
"""

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
from lisa_micro.metrics.lineage import (
    EventMatch,
    PairEvent,
    kept_identities,
    match_events,
    merge_events,
    tra,
    track_scores,
)
from lisa_micro.metrics.lines import centre_line_f1, centre_line_scores
from lisa_micro.metrics.masks import boundary_f1, ciou, dice, giou, hausdorff95, iou, iou_outside_band
from lisa_micro.metrics.points import (
    label_centres,
    match_points,
    neck_centre_counts,
    neck_counts_from_particles,
    point_counts,
)
from lisa_micro.metrics.tracks import TrackOverlaps, hota, idf1, switches, track_overlaps, track_seg

__all__ = [
    "Counts",
    "EventMatch",
    "PairEvent",
    "TrackOverlaps",
    "average_precision",
    "boundary_f1",
    "centre_line_f1",
    "centre_line_scores",
    "ciou",
    "coco_average_precision",
    "counts",
    "dice",
    "emps_average_precision",
    "giou",
    "hausdorff95",
    "hota",
    "idf1",
    "iou",
    "iou_outside_band",
    "kept_identities",
    "label_centres",
    "match",
    "match_events",
    "match_points",
    "merge_events",
    "neck_centre_counts",
    "neck_counts_from_particles",
    "overlap",
    "panoptic_quality",
    "point_counts",
    "pooled_counts",
    "seg",
    "switches",
    "tra",
    "track_overlaps",
    "track_scores",
    "track_seg",
]
