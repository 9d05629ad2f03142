"""Answers in the files of other programs: ImageJ, QuPath, OME-Zarr viewers, Excel."""

from lisa_micro.results.formats.save import FORMATS, check_formats, save, save_into

__all__ = ["FORMATS", "check_formats", "save", "save_into"]
