"""Open stacks of any kind: files, folders of images, OME-Zarr, and arrays in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args, runtime_checkable

import numpy as np

from lisa_micro.io.arrays import TooLargeError
from lisa_micro.io.formats.ngff import metadata_file
from lisa_micro.io.formats.volumes import ROSETTASCIIO, is_mrc
from lisa_micro.io.lazy.layout import Layout, Opened, Place
from lisa_micro.io.lazy.omezarr import open_omezarr
from lisa_micro.io.lazy.stack import Stack
from lisa_micro.io.lazy.tiff import open_tiff
from lisa_micro.io.lazy.volumes import open_mrc, open_rosettasciio
from lisa_micro.io.pixelsize import PixelSize
from lisa_micro.io.reader import PICTURE_MAGIC, TIFF_MAGIC, file_head, read_plain
from lisa_micro.io.sidecar import read_sidecar
from lisa_micro.io.survey import WEAKER_ORIGINS
from lisa_micro.io.units import check_pixel_size, check_positive
from lisa_micro.io.video import PICTURE_SUFFIXES, natural_key
from lisa_micro.types import InputError


@runtime_checkable
class ArrayLike(Protocol):
    """An array that is read where it is indexed: of NumPy, zarr, dask or h5py."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(H, W)`` or ``(Z, H, W)``."""

    @property
    def dtype(self) -> Any:
        """Type of the values."""

    def __getitem__(self, part: Any) -> Any:
        """A part."""


StackLike: TypeAlias = "Stack | str | os.PathLike[str] | ArrayLike"
"""Everything that is accepted as a stack."""
MissingChunks: TypeAlias = Literal["error", "fill"]


def read_stack(
    source: StackLike,
    pixel_size_nm: float | None = None,
    step_nm: float | None = None,
    *,
    image: int | str | None = None,
    missing: MissingChunks = "error",
) -> Stack:
    """Open a stack; its pixels are read part by part, so that planes may be of any size.

    Supported: TIFF stacks, ImageJ hyperstacks, OME-TIFF, MRC, folders of images (slices in natural order of their
    names), with the extra ``[formats]`` DM3, DM4, EMD, SER, EMI and TVIPS, and with ``[zarr]`` OME-Zarr 0.4 and 0.5.

    Args:
        source: path of a file or folder; an array ``(H, W)`` or ``(Z, H, W)`` of NumPy, zarr, dask or h5py; or a stack.
        pixel_size_nm: edge length of a pixel in nm; takes precedence over the file's own.
        step_nm: distance of neighbouring slices in nm; takes precedence over the file's own.
        image: number or name of one of several images of the file (series of a TIFF file, images of a DM, EMD or
            OME-Zarr file); ``None``: the first, largest or only one.
        missing: what a chunk of OME-Zarr without a file is: an ``"error"``, or ``"fill"``, the array's fill value.

    Returns:
        the stack; :meth:`Stack.plane` chooses a plane by page and channel, :meth:`Stack.slices` those of a volume.

    Raises:
        InputError: missing, empty, damaged, unsupported, no image; or a size or step that is not positive.

    Examples:
        >>> stack = read_stack(np.zeros((8, 20, 30), np.uint8), pixel_size_nm=2.0, step_nm=5.0)
        >>> stack
        <Stack 'array': 8 z planes of 30 x 20 px, 2 nm/px, slices 5 nm apart>
        >>> stack.plane("z=3")[5:10, 0:7].shape
        (5, 7)
    """
    size, step = check_pixel_size(pixel_size_nm), check_positive(step_nm, "step between slices", "nanometres")
    missing = check_missing(missing)
    if isinstance(source, Stack):
        opened, name = source.opened, source.source
        known = PixelSize(source.pixel_size_nm, source.pixel_size_origin)
        step = step if step is not None else source.step_nm
        notes = source.notes
    else:
        opened, name = _open(source, image, missing)
        layout = opened.layout
        known, notes = layout.pixel_size, layout.notes
        step = step if step is not None else layout.step_nm
    if min(opened.layout.shape) < 1 or opened.layout.count < 1:
        raise InputError(f"{name} has no pixels.")
    known = known if size is None else PixelSize(size, "user")
    return Stack(opened, name, known.nm, known.origin, step, notes)


def check_missing(missing: str) -> MissingChunks:
    """What a chunk of OME-Zarr without a file is: ``"error"`` or ``"fill"``.

    Raises:
        InputError: anything else.
    """
    if missing not in get_args(MissingChunks):
        raise InputError(f"Unknown treatment of missing chunks {missing!r}; choose error or fill.")
    return cast(MissingChunks, missing)


def read_too_large(
    path: Path, error: TooLargeError, pixel_size_nm: float | None = None, missing: MissingChunks = "error"
) -> Stack:
    """Open an image that :func:`lisa_micro.read_micrograph` refused because of its size.

    Args:
        path: of the file or folder.
        error: the refusal.
        pixel_size_nm, missing: as for :func:`read_stack`.

    Raises:
        TooLargeError: its format is read whole or not at all.
        InputError: as :func:`read_stack`.
    """
    if not reads_parts(path):
        raise error
    stack = read_stack(path, pixel_size_nm, missing=missing)
    if stack.shape != error.shape:  # another image of the file than the one that was asked for
        stack.close()
        raise error
    return stack


def is_omezarr(path: Path) -> bool:
    """Whether a path is a Zarr folder."""
    return _is_folder(path) and metadata_file(path) is not None


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder; one that cannot be looked up is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def reads_parts(path: Path) -> bool:
    """Whether parts of the planes of a path can be read; pictures such as PNG and folders of images are read whole.

    Raises:
        InputError: missing, empty or unreadable.
    """
    if is_omezarr(path):
        return True
    if _is_folder(path):
        return False
    head = file_head(path)
    if head[:4] in TIFF_MAGIC or path.suffix.lower() in ROSETTASCIIO:
        return True
    return not head.startswith(PICTURE_MAGIC) and is_mrc(path, head)


def _open(source: Any, image: int | str | None, missing: str) -> tuple[Opened, str]:
    if not isinstance(source, str | os.PathLike):
        return _memory(source), "array"
    path = Path(source)
    if _is_folder(path):
        if is_omezarr(path):
            return open_omezarr(path, image, missing), str(path)
        return _folder(path), str(path)
    head = file_head(path)
    if head[:4] in TIFF_MAGIC:
        return _with_sidecar(open_tiff(path, image), path), str(path)
    if path.suffix.lower() in ROSETTASCIIO:
        return open_rosettasciio(path, image), str(path)
    if not head.startswith(PICTURE_MAGIC) and is_mrc(path, head):
        return open_mrc(path), str(path)
    first = read_plain(path)
    count = int(first.metadata.get("pages", 1))
    return _pictures([(path, page) for page in range(count)], [""] * count), str(path)


def _with_sidecar(opened: Opened, path: Path) -> Opened:
    """A TIFF stack with the pixel size of its side-car file, where its own tags state none."""
    layout = opened.layout
    if layout.pixel_size.nm is not None and layout.pixel_size.origin not in WEAKER_ORIGINS:
        return opened
    size = read_sidecar(path, layout.shape[1]).size
    if size.nm is None:
        return opened
    return replace(opened, layout=replace(layout, pixel_size=size, notes=(*layout.notes, *size.notes)))


def _folder(path: Path) -> Opened:
    """A folder of images, one slice each."""
    try:
        files = [entry for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in PICTURE_SUFFIXES]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    files = sorted((one for one in files if not one.name.startswith(".")), key=lambda one: natural_key(one.name))
    if not files:
        raise InputError(f"{path} holds no images and no OME-Zarr; give a folder with one image per slice, or a stack.")
    return _pictures([(one, 0) for one in files], [one.name for one in files])


def _pictures(pages: Sequence[tuple[Path, int]], names: Sequence[str]) -> Opened:
    """Images of which each is read at once; the last one is kept, since its parts are read one after the other."""
    first = read_plain(*pages[0][:1], page=pages[0][1])
    size = PixelSize(first.pixel_size_nm, first.pixel_size_origin)
    layout = Layout(
        axes=("z",) if len(pages) > 1 else (),
        sizes=(len(pages),) if len(pages) > 1 else (),
        shape=first.shape,
        dtype=str(first.metadata.get("dtype") or first.metadata.get("mode") or "float32"),
        pages=tuple(names) if any(names) else (),
        pixel_size=size,
        format=pages[0][0].suffix[1:].upper(),
        modality=first.modality,
        drawn=True,
        notes=tuple(note for note in first.notes if "pages" not in note),
    )
    kept: dict[int, np.ndarray] = {0: first.pixels}

    def read(place: Place, rows: slice, columns: slice) -> np.ndarray:
        number = place[0] if place else 0
        if number not in kept:
            pixels = read_plain(pages[number][0], page=pages[number][1]).pixels
            if pixels.shape != layout.shape:
                sizes = [f"{shape[1]} x {shape[0]}" for shape in (pixels.shape, layout.shape)]
                raise InputError(f"{pages[number][0].name} is {sizes[0]} px but the first image is {sizes[1]} px.")
            kept.clear()
            kept[number] = pixels
        return kept[number][rows, columns]

    return Opened(layout, read)


def _memory(source: Any) -> Opened:
    if not isinstance(source, ArrayLike) or len(source.shape) not in (2, 3):
        shape = getattr(source, "shape", None)
        kind = type(source).__name__ if shape is None else f"an array of shape {tuple(shape)}"
        raise InputError(f"A stack must be a path or an array (H, W) or (Z, H, W), not {kind}.")
    shape = tuple(int(side) for side in source.shape)
    axes = ("z",) if len(shape) == 3 else ()
    layout = Layout(axes, shape[:-2], (shape[-2], shape[-1]), str(source.dtype), format="array")
    return Opened(layout, lambda place, rows, columns: np.asarray(source[(*place, rows, columns)]))
