"""Results of the assistant, and their export as masks, labels, tables and COCO."""

from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.results.export import save_answer

__all__ = ["Answer", "Segmentation", "save_answer"]
