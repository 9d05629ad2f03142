"""TIFF stacks, ImageJ hyperstacks and OME-TIFF: axes, names and parts of planes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from threading import Lock
from typing import Any
from xml.etree import ElementTree

import numpy as np

from lisa_micro.io.formats.tiff import apply_photometry
from lisa_micro.io.lazy.layout import Layout, Opened, Place, ReadPart, plain_rows
from lisa_micro.io.pixelsize import read_tags
from lisa_micro.io.units import to_nm
from lisa_micro.types import InputError

_SAMPLES = "S"
_PLAIN = {"Z": "z", "T": "t", "C": "c"}
_NAMED_PAGES = 4096
"""Up to so many pages the names of pages are read from their directories."""


def open_tiff(path: Path, image: int | str | None) -> Opened:
    """Open a TIFF file; its pixels stay in the file.

    Args:
        image: number or name of one of several images (series) of the file; ``None``: the first.

    Raises:
        InputError: not a readable TIFF file, or there is no such image.
    """
    import tifffile

    try:
        file = tifffile.TiffFile(path)
        series = _series(file, image, path.name)
        opened = _opened(file, series, path)
    except InputError:
        raise
    except Exception as error:  # tifffile raises a dozen types of errors on damaged files
        raise InputError(f"{path.name} is not a readable TIFF file: it is damaged or cut short.") from error
    return opened


def _series(file: Any, image: int | str | None, name: str) -> Any:
    if image is None:
        return file.series[0]
    names = [str(one.name) for one in file.series]
    if isinstance(image, str) and image in names:
        return file.series[names.index(image)]
    if str(image).isdecimal() and int(image) < len(names):
        return file.series[int(image)]
    raise InputError(f"{name} has no image {image!r}; its images are {', '.join(names)}.")


def _opened(file: Any, series: Any, path: Path) -> Opened:
    shape, letters = [int(side) for side in series.shape], str(series.axes)
    if "Y" not in letters or "X" not in letters:
        raise InputError(f"{path.name} holds no 2-D image: its axes are {letters}.")
    first = file.pages.first if series.keyframe is None else series.keyframe
    outer = [k for k, letter in enumerate(letters) if letter not in "YX" + _SAMPLES]
    axes, taken = [], set()
    for k in outer:
        axis = _PLAIN.get(letters[k], "z" if "Z" not in letters and "z" not in taken else letters[k].lower())
        taken.add(axis)
        axes.append(axis)
    sizes = tuple(shape[k] for k in outer)
    plane = (int(shape[letters.index("Y")]), int(shape[letters.index("X")]))
    facts = read_tags(file, first)
    pages = _page_names(file, series, int(np.prod(sizes, dtype=int)))
    layout = Layout(
        axes=tuple(axes),
        sizes=sizes,
        shape=plane,
        dtype=str(series.dtype),
        channels=_channels(file, series, sizes[axes.index("c")]) if "c" in axes else (),
        pages=pages,
        pixel_size=facts.size,
        step_nm=_step(file),
        format="OME-TIFF" if file.is_ome else "TIFF",
        modality=facts.modality,
        drawn=True,
        chunk=_chunk(first, plane),
        levels=_levels(series),
        notes=facts.size.notes,
    )
    return Opened(layout, _reader(file, series, layout, path), file.close)


def _chunk(page: Any, plane: tuple[int, int]) -> tuple[int, int] | None:
    """``(h, w)`` px of a tile or strip that is decoded as one; ``None`` of rows that are stored as they are."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return None if page.compression == 1 else (min(int(page.rowsperstrip), plane[0]), plane[1])


def _levels(series: Any) -> tuple[tuple[int, int], ...]:
    """``(H, W)`` px of each resolution of a pyramid, the finest first; empty without one."""
    if len(series.levels) < 2:
        return ()
    shapes = [(level.shape, str(level.axes)) for level in series.levels]
    return tuple((int(shape[axes.index("Y")]), int(shape[axes.index("X")])) for shape, axes in shapes)


def _reader(file: Any, series: Any, layout: Layout, path: Path) -> ReadPart:
    letters = str(series.axes)
    plain = series.dataoffset is not None and letters.endswith("YX")
    if plain and _whole(series) and _as_stored(series.keyframe):
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        return plain_rows(str(path), int(series.dataoffset), dtype, (*layout.sizes, *layout.shape))
    inner = [letter for letter in letters if letter not in "YX" + _SAMPLES]
    per_page = _planes_per_page(series, inner)
    lock = Lock()

    def read(place: Place, rows: slice, columns: slice) -> np.ndarray:
        number = int(np.ravel_multi_index(place, layout.sizes)) if layout.sizes else 0
        directory, within = divmod(number, per_page)
        page = series.pages[directory] if directory < len(series.pages) else None
        if page is None:
            raise InputError(f"Page {number} of {path.name} is not in the file.")
        with lock:
            array = _part(page, rows, columns) if per_page == 1 else _volume_part(page, within, rows, columns)
        return apply_photometry(array, page.keyframe)

    return read


def _whole(series: Any) -> bool:
    """Whether all pixels of an uncompressed series are in its file."""
    handle = series.keyframe.parent.filehandle
    return bool(series.dataoffset + series.nbytes <= handle.size)


def _as_stored(page: Any) -> bool:
    """Whether stored values are intensities: no palette, and black is 0."""
    import tifffile

    return page.photometric not in (tifffile.PHOTOMETRIC.PALETTE, tifffile.PHOTOMETRIC.MINISWHITE)


def _planes_per_page(series: Any, outer: list[str]) -> int:
    """Number of planes in one directory: more than one where a directory holds a volume."""
    key = series.keyframe
    if key is None:
        return 1
    count = 1
    for letter, side in zip(key.axes, key.shape, strict=True):
        if letter in outer:
            count *= int(side)
    return count


def _part(page: Any, rows: slice, columns: slice) -> np.ndarray:
    """Rows and columns of a page, ``(h, w)`` or ``(h, w, samples)``; only the strips or tiles that hold them are
    decoded."""
    key = page.keyframe
    separate, _, height, width, contiguous = key.shaped
    tall, wide = (key.tilelength, key.tilewidth) if key.is_tiled else (min(key.rowsperstrip, height), width)
    down, across = -(-height // tall), -(-width // wide)
    out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, separate * contiguous), key.dtype)
    handle = key.parent.filehandle
    for sample in range(separate):
        for j in range(rows.start // tall, -(-rows.stop // tall)):
            for i in range(columns.start // wide, -(-columns.stop // wide)):
                index = (sample * down + j) * across + i
                offset, length = page.dataoffsets[index], page.databytecounts[index]
                if not length:
                    raise EOFError("a tile is missing")
                if offset + length > handle.size:
                    raise EOFError("pixels are missing at its end")
                handle.seek(offset)
                more = {"jpegtables": page.jpegtables} if page.jpegtables is not None else {}
                piece, _, _ = key.decode(handle.read(length), index, **more)
                if piece is None:
                    raise EOFError("a tile is missing")
                _paste(out, piece[0], j * tall, i * wide, rows, columns, sample * contiguous)
    return out[..., 0] if out.shape[2] == 1 else out


def _paste(out: np.ndarray, piece: np.ndarray, top: int, left: int, rows: slice, columns: slice, sample: int) -> None:
    """Copy what a strip or tile ``(h, w, samples)`` at ``top``, ``left`` has of the part into it."""
    y0, y1 = max(rows.start, top), min(rows.stop, top + piece.shape[0])
    x0, x1 = max(columns.start, left), min(columns.stop, left + piece.shape[1])
    if y0 < y1 and x0 < x1:
        target = out[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start]
        target[..., sample : sample + piece.shape[2]] = piece[y0 - top : y1 - top, x0 - left : x1 - left]


def _volume_part(page: Any, within: int, rows: slice, columns: slice) -> np.ndarray:
    """Part of one plane of a directory that holds a volume, which is decoded whole."""
    array, letters = page.asarray(), page.keyframe.axes
    order = [letters.index(letter) for letter in letters if letter not in "YXS"]
    order += [letters.index(letter) for letter in "YXS" if letter in letters]
    tail = 3 if "S" in letters else 2
    planes = np.transpose(array, order)
    return np.asarray(planes.reshape(-1, *planes.shape[-tail:])[within, rows, columns])


# ----------------------------------------------------------------------------------------------------- names, step


def _ome_pixels(file: Any) -> list[ElementTree.Element]:
    """``Pixels`` elements of the OME-XML, one for each image."""
    if not file.ome_metadata:
        return []
    with contextlib.suppress(ElementTree.ParseError):
        return [one for one in ElementTree.fromstring(file.ome_metadata).iter() if one.tag.endswith("}Pixels")]
    return []


def _channels(file: Any, series: Any, count: int) -> tuple[str, ...]:
    """Names of the channels, as far as OME-XML tells them."""
    pixels, number = _ome_pixels(file), file.series.index(series)
    if number < len(pixels):
        names = [one.get("Name") or "" for one in pixels[number] if one.tag.endswith("}Channel")]
        if len(names) == count:
            return tuple(names)
    return ("",) * count


def _page_names(file: Any, series: Any, count: int) -> tuple[str, ...]:
    """Names of the planes: ImageJ's slice labels, or the page names of the directories."""
    labels = (file.imagej_metadata or {}).get("Labels") if file.is_imagej else None
    if labels:
        names = [str(one).split("\n")[0].strip() for one in labels]
        return (*names, *[""] * (count - len(names)))[:count]
    if not 1 < count <= _NAMED_PAGES or len(series.pages) != count:
        return ()
    names = []
    for page in series.pages:
        tag = None if page is None else page.aspage().tags.get(285)
        names.append("" if tag is None else str(tag.value).strip())
    return tuple(names) if any(names) else ()


def _step(file: Any) -> float | None:
    """Distance of slices in nm: PhysicalSizeZ of OME-XML, or the spacing of ImageJ."""
    for pixels in _ome_pixels(file)[:1]:
        return to_nm(pixels.get("PhysicalSizeZ"), pixels.get("PhysicalSizeZUnit", "µm"))
    metadata = file.imagej_metadata or {}
    if "spacing" in metadata:
        return to_nm(metadata["spacing"], str(metadata.get("zunit") or metadata.get("unit") or ""))
    return None
