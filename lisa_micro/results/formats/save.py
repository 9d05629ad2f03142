"""One way to save an answer in any format, chosen by name or by the suffix of the file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lisa_micro.extras import require
from lisa_micro.io.files import temporary_prefix, write_files
from lisa_micro.io.memory import MicrographLike
from lisa_micro.io.reader import as_micrograph
from lisa_micro.results.answer import Answer
from lisa_micro.results.export import instances_table
from lisa_micro.results.formats.geojson import write_geojson
from lisa_micro.results.formats.omezarr import write_omezarr
from lisa_micro.results.formats.rois import write_rois
from lisa_micro.results.formats.workbook import write_workbook
from lisa_micro.types import InputError, Micrograph

Write = Callable[[Path, Answer, Micrograph], None]


@dataclass(frozen=True)
class Format:
    """A format of answers.

    Attributes:
        file: name of the file in a folder of results. suffix: by which a path is recognised.
        write: writes an answer to a path. needs: packages beyond those that are always installed.
        folder: whether it is a folder and not a file.
    """

    file: str
    suffix: str
    write: Write
    needs: tuple[str, ...] = ()
    folder: bool = False


FORMATS: dict[str, Format] = {
    "roi": Format("rois.zip", ".zip", lambda path, answer, image: write_rois(path, answer.segments), ("roifile",)),
    "geojson": Format(
        "instances.geojson", ".geojson", lambda path, answer, image: write_geojson(path, answer.segments)
    ),
    "zarr": Format(
        "image.zarr",
        ".zarr",
        lambda path, answer, image: write_omezarr(path, answer.segments, image),
        ("zarr",),
        folder=True,
    ),
    "xlsx": Format(
        "instances.xlsx",
        ".xlsx",
        lambda path, answer, image: write_workbook(path, answer, image, instances_table(answer.segments)),
        ("xlsxwriter",),
    ),
}


def check_formats(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of formats, as a list or separated by commas.

    Raises:
        InputError: an unknown one, or its package is missing.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    wanted = tuple(dict.fromkeys(name.strip().lower() for name in listed if name.strip()))
    for name in wanted:
        if name not in FORMATS:
            raise InputError(f"Unknown format {name!r}; choose {', '.join(FORMATS)}.")
        require(f"The format {name}", *FORMATS[name].needs)
    return wanted


def save(answer: Answer, image: MicrographLike, path: str | os.PathLike[str], format: str | None = None) -> Path:
    """Save the instances of an answer in the format of another program.

    Args:
        answer: the answer.
        image: the micrograph it is about.
        path: of the file; of a folder for OME-Zarr. What is there is replaced.
        format: a key of :data:`FORMATS`; ``None``: the one of the path's suffix.

    Returns:
        the path.

    Raises:
        InputError: an unknown format, a missing package, or a path that cannot be written.
    """
    path = Path(path)
    if format is None:
        known = {one.suffix: name for name, one in FORMATS.items()}
        format = known.get(path.suffix.lower())
        if format is None:
            raise InputError(
                f"The suffix of {path.name} names no format; choose {', '.join(known)}, or give the format."
            )
    (name,) = check_formats([format])
    writer = export_writers(answer, as_micrograph(image), [name])[0][1]
    if FORMATS[name].folder:
        _replace_folder(path, writer)
    else:
        write_files(path.parent, {path.name: writer})
    return path


def export_writers(
    answer: Answer, image: Micrograph, names: Sequence[str]
) -> list[tuple[Format, Callable[[Path], object]]]:
    """The formats of some names, each with a function that writes the answer to a path."""
    return [(FORMATS[name], partial(_written, FORMATS[name].write, answer, image)) for name in names]


def _written(write: Write, answer: Answer, image: Micrograph, path: Path) -> None:
    write(path, answer, image)


def save_into(answer: Answer, image: Micrograph, folder: Path, names: Sequence[str]) -> list[Path]:
    """Write an answer in several formats into a folder of results; returns the paths."""
    written = []
    for format, writer in export_writers(answer, image, names):
        path = folder / format.file
        if format.folder:
            _replace_folder(path, writer)
            written.append(path)
        else:
            written += write_files(folder, {format.file: writer})
    return written


def _replace_folder(path: Path, writer: Callable[[Path], object]) -> None:
    """Write a folder under a temporary name beside it, then put it in the place of the old one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=temporary_prefix(), suffix=path.suffix, dir=path.parent))
        try:
            writer(temporary)
            temporary.chmod(0o755)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
