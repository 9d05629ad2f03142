"""The images of a batch: folders, patterns and lists of files become items, sorted, one for each page of a stack."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from lisa_micro.io.formats.ngff import list_images, metadata_file
from lisa_micro.io.formats.volumes import MRC_SUFFIXES, ROSETTASCIIO
from lisa_micro.io.pages import count_pages
from lisa_micro.types import InputError

Pages: TypeAlias = Literal["all", "first"]
Items: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""What a batch is given: a folder, a file, an OME-Zarr, a pattern such as ``"films/*.tif"``, or several of them."""

SUFFIXES = frozenset(
    (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm", *MRC_SUFFIXES, *ROSETTASCIIO)
)
"""Suffixes of the files that are taken from a folder. A file that is named, or matches a pattern, may have any."""


@dataclass(frozen=True)
class Item:
    """One image of a batch.

    Attributes:
        path: absolute path of its file.
        name: name shown in tables: the path relative to the folder that was given, with forward slashes.
        page: image of a stack, from 0.
        size, mtime_ns: of the file, bytes and ns; 0 for a file that cannot be looked at.
    """

    path: str
    name: str
    page: int = 0
    size: int = 0
    mtime_ns: int = 0


def list_items(sources: Items, pages: Pages = "all", without: Path | None = None) -> Iterator[Item]:
    """List the images of a batch in a fixed order: the sources as given, the files of a folder sorted by path.

    Nothing but the entries of one folder is held in memory. A stack becomes one item for each page. A file that cannot
    be read becomes one item as well, so that it appears among the failures.

    Args:
        sources: see :data:`Items`.
        pages: ``"first"``: the first page of each file only.
        without: a folder that is left out, such as the results.

    Raises:
        InputError: a source that does not exist, or matches nothing.
    """
    left_out = None if without is None else Path(os.path.abspath(without))
    seen: set[str] = set()
    several = _several(sources)
    for source in several:
        found = False
        for path, name in _files(source, left_out):
            found = True
            if len(several) > 1:  # a file may be named twice
                if path in seen:
                    continue
                seen.add(path)
            yield from _pages(path, name, pages)
        if not found:
            raise InputError(_nothing(source))


def _several(sources: Items) -> Sequence[str]:
    if isinstance(sources, str | os.PathLike):
        return [os.fspath(sources)]
    listed = [os.fspath(source) for source in sources]
    if not listed:
        raise InputError("No images were given; name a folder, a pattern such as 'films/*.tif', or files.")
    return listed


def _nothing(source: str) -> str:
    if os.path.isdir(source):
        return f"The folder {source} contains no images; supported suffixes: {', '.join(sorted(SUFFIXES))}."
    if glob.has_magic(source):
        return f"No file matches {source!r}; check the pattern and put it in quotes."
    return f"{source} does not exist; name a folder, a file or a pattern such as 'films/*.tif'."


def _files(source: str, left_out: Path | None) -> Iterator[tuple[str, str]]:
    """Absolute path and shown name of each file of a source."""
    if os.path.isdir(source) and metadata_file(source) is not None:
        base = os.path.abspath(source)
        for path in list_images(base):
            yield path, Path(os.path.relpath(path, os.path.dirname(base))).as_posix()
    elif os.path.isdir(source):
        base = os.path.abspath(source)
        for path in _walk(base, left_out):
            yield path, Path(os.path.relpath(path, base)).as_posix()
    elif os.path.exists(source) or not glob.has_magic(source):
        if os.path.lexists(source):
            yield os.path.abspath(source), os.path.basename(source)
    else:
        # the part without a wildcard is left out of the names, as the folder is where a folder is given
        fixed = source.split("*")[0].split("?")[0].split("[")[0]
        base = os.path.abspath(os.path.dirname(fixed) or ".")
        for match in sorted(glob.iglob(source, recursive=True)):
            path = os.path.abspath(match)
            if not os.path.isfile(path) and metadata_file(path) is not None:
                for field in _fields(path):
                    yield field, Path(os.path.relpath(field, base)).as_posix()
            elif os.path.isfile(path) and not _inside(path, left_out):
                yield path, Path(os.path.relpath(path, base)).as_posix()


def _inside(path: str, folder: Path | None) -> bool:
    return folder is not None and (Path(path) == folder or folder in Path(path).parents)


def _walk(folder: str, left_out: Path | None) -> Iterator[str]:
    """The images of a folder and its subfolders, sorted; hidden entries are skipped."""
    if _inside(folder, left_out):
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False) and metadata_file(entry.path) is not None:
            yield from _fields(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, left_out)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield entry.path


def _fields(folder: str) -> Iterator[str]:
    """The images of an OME-Zarr folder; the folder itself if they cannot be listed, so that it fails later."""
    try:
        yield from list_images(folder)
    except InputError:
        yield folder


def _pages(path: str, name: str, pages: Pages) -> Iterator[Item]:
    try:
        facts = os.stat(metadata_file(path) or path) if os.path.isdir(path) else os.stat(path)
    except OSError:
        yield Item(path, name)
        return
    size, mtime = facts.st_size, facts.st_mtime_ns
    count = 1
    if pages == "all":
        try:
            count = count_pages(Path(path))
        except InputError:
            count = 1  # the item fails with the same sentence when it is read
    for page in range(max(count, 1)):
        yield Item(path, name, page, size, mtime)
