"""Data sets of other programs as records: label folders, COCO, Labelme, ReasonSeg, tables of sentences."""
