"""Read stacks as videos, one frame at a time: TIFF, MRC, and the formats of rosettasciio."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from lisa_micro.io.arrays import to_plane
from lisa_micro.io.formats import tiff, volumes
from lisa_micro.io.reader import read_micrograph
from lisa_micro.io.stream import Facts, Frames, facts_of, timed
from lisa_micro.io.times import in_seconds
from lisa_micro.types import InputError

# ------------------------------------------------------------------------------------------------------- TIFF


def tiff_stack(path: Path) -> tuple[Facts, Frames]:
    """Facts and frames of a TIFF file; each of its images is a frame.

    Raises:
        InputError: the first image cannot be read.
    """
    import tifffile

    first = read_micrograph(path)
    count = int(first.metadata.get("pages", 1))
    facts = facts_of(first, count, "pages")
    try:
        with tifffile.TiffFile(path) as tif:
            seconds, origin = _tiff_interval(tif)
    except Exception:  # broken metadata; the pixels were read
        seconds, origin = None, "none"
    return timed(facts, seconds, origin), lambda: _tiff_frames(path)


def _tiff_frames(path: Path) -> Iterator[np.ndarray]:
    import tifffile

    number = 0
    try:
        with tifffile.TiffFile(path) as tif:
            virtual = tiff.virtual_stack(tif)
            count = virtual[0] if virtual else len(tif.pages)
            for number in range(count):
                if virtual:
                    directory = tif.pages.first
                    array = tiff.read_virtual(tif, virtual, number)
                else:
                    directory = tif.pages[number].aspage()
                    array = tiff.read_page(tif, directory, path, number)
                yield to_plane(tiff.apply_photometry(array, directory), path.name)[0]
    except (InputError, GeneratorExit):
        raise
    except Exception as error:
        raise InputError(f"Frame {number} of {path.name} is damaged or cut short.") from error


def _tiff_interval(tif: Any) -> tuple[float | None, str]:
    """Seconds from frame to frame, and their origin."""
    metadata = tif.imagej_metadata or {}
    if "finterval" in metadata:
        seconds = in_seconds(metadata["finterval"], str(metadata.get("tunit", "s")) or "s")
        if seconds is not None:
            return seconds, "imagej"
    if metadata.get("fps"):
        return in_seconds(1 / float(metadata["fps"]), "s"), "imagej"
    if tif.ome_metadata:
        for element in ElementTree.fromstring(tif.ome_metadata).iter():
            if element.tag.rsplit("}", 1)[-1] == "Pixels" and element.get("TimeIncrement"):
                return in_seconds(element.get("TimeIncrement"), element.get("TimeIncrementUnit", "s")), "ome"
    return None, "none"


# ------------------------------------------------------------------------------------------------ MRC, and others


def mrc_stack(path: Path) -> tuple[Facts, Frames]:
    """Facts and frames of an MRC file; each section is a frame.

    Raises:
        InputError: as :func:`lisa_micro.io.formats.volumes.read_mrc`.
    """
    first = read_micrograph(path)
    return facts_of(first, int(first.metadata["pages"]), "sections"), lambda: _mrc_frames(path)


def _mrc_frames(path: Path) -> Iterator[np.ndarray]:
    import mrcfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = mrcfile.mmap(path, mode="r", permissive=True)
    with file:
        sections = file.data.reshape((-1, *file.data.shape[-2:]))
        for section in sections:
            yield to_plane(np.array(section), path.name)[0]


def rosettasciio_stack(path: Path) -> tuple[Facts, Frames]:
    """Facts and frames of the largest stack in a DM3, DM4, EMD, SER, EMI or TVIPS file.

    Raises:
        InputError: as :func:`lisa_micro.io.formats.volumes.read_rosettasciio`.
    """
    first = read_micrograph(path)
    count = int(first.metadata["pages"])
    facts = facts_of(first, count, "frames; frame")
    signal = _signal(path)
    roles = volumes.image_axes(signal["axes"]) or ()
    times = [axis for number, axis in enumerate(signal["axes"]) if number not in roles]
    seconds = in_seconds(times[-1].get("scale"), str(times[-1].get("units") or "")) if times else None
    return timed(facts, seconds, "rosettasciio"), lambda: _rosettasciio_frames(path, count)


def _signal(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal = volumes.largest_image(volumes.signals_in(path))
    assert signal is not None  # its first frame was read
    return signal


def _rosettasciio_frames(path: Path, count: int) -> Iterator[np.ndarray]:
    signal = _signal(path)
    for number in range(count):
        try:
            array = volumes.read_frame(signal, number, path.name)[0]
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"Frame {number} of {path.name} is damaged or cut short.") from error
        yield to_plane(array, path.name)[0]
