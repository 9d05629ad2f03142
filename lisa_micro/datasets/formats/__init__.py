"""Converters from label folders, tables of sentences, COCO, ReasonSeg and Labelme."""
