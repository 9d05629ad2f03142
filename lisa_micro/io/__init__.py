"""Read micrographs, videos and labels; write label images and files."""

from lisa_micro.io.contrast import to_unit_range
from lisa_micro.io.files import check_output, write_files, write_json
from lisa_micro.io.labels import LabelImage, read_label_image, read_labels, write_labels
from lisa_micro.io.labelstack import LabelStack, LabelStackWriter
from lisa_micro.io.memory import MicrographLike
from lisa_micro.io.reader import as_micrograph, pixels_of, read_micrograph, read_plain
from lisa_micro.io.scalebar.marked import MarkedBar
from lisa_micro.io.survey import Looking, surveyed
from lisa_micro.io.units import format_length
from lisa_micro.io.video import read_video

__all__ = [
    "LabelImage",
    "LabelStack",
    "LabelStackWriter",
    "Looking",
    "MarkedBar",
    "MicrographLike",
    "as_micrograph",
    "check_output",
    "format_length",
    "pixels_of",
    "read_label_image",
    "read_labels",
    "read_micrograph",
    "read_plain",
    "read_video",
    "surveyed",
    "to_unit_range",
    "write_files",
    "write_json",
    "write_labels",
]
