"""Readers of single file formats: TIFF, pictures, volumes, movies, stacks of frames."""
