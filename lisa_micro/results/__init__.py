"""Answers as files: masks, labels, tables, COCO and the record of a run."""

from lisa_micro.results.export import save_answer

__all__ = ["save_answer"]
