"""Data sets: records, readers, converters from other formats, derived ground truth, and texts."""
