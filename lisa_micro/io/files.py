"""Write files completely or not at all; write JSON that every reader accepts."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from lisa_micro.types import InputError

ANSWER_FILES = (
    "overlay.png",
    "mask.png",
    "mask_[0-9]*.png",
    "labels.tif",
    "labels_[0-9]*.tif",
    "instances.csv",
    "coco.json",
    "plot_[0-9]*.png",
    "plot_[0-9]*.csv",
    "answer.json",
    "rois.zip",
    "instances.geojson",
    "instances.xlsx",
)
"""Names of the files of an answer."""


def write_files(folder: str | os.PathLike[str], writers: Mapping[str, Callable[[Path], object]]) -> list[Path]:
    """Write several files so that neither a reader nor a crash leaves half of one.

    Each file is written under a temporary name in the same folder; all are renamed when the last one is complete.

    Args:
        folder: created if missing.
        writers: file name -> function that writes to the path it is given.

    Returns:
        the paths, in the order of ``writers``.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    staged: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in writers.items():
            suffix = "".join(Path(name).suffixes) or ".part"  # writers may choose a format by the suffix
            handle, temporary = tempfile.mkstemp(prefix=".lisa-micro-", suffix=suffix, dir=folder)
            os.close(handle)
            staged.append((Path(temporary), folder / name))
            write(Path(temporary))
            _default_mode(Path(temporary))
        for temporary_path, path in staged:
            temporary_path.replace(path)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    finally:
        for temporary_path, _ in staged:
            temporary_path.unlink(missing_ok=True)
    return [path for _, path in staged]


def _default_mode(path: Path) -> None:
    """Give a file the permissions of any new file; ``mkstemp`` restricts them to the owner."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def check_output(folder: str | os.PathLike[str], force: bool = False, names: Sequence[str] = ANSWER_FILES) -> Path:
    """Check the output folder before any long computation, and create it.

    Args:
        folder: the output folder.
        force: whether existing results may be overwritten.
        names: file names of results; ``*`` matches anything.

    Raises:
        InputError: the folder cannot be written, or holds results and ``force`` is false.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        existing = sorted(entry.name for entry in results_in(folder, names))
        with tempfile.NamedTemporaryFile(prefix=".lisa-micro-", dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    if existing and not force:
        raise InputError(f"{folder} already holds results ({existing[0]}); use --force to overwrite them.")
    return folder


def results_in(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files of a folder whose names match one of ``names`` (``*`` matches anything)."""
    return [entry for entry in folder.iterdir() if any(fnmatchcase(entry.name, name) for name in names)]


def write_json(path: Path, content: Any) -> None:
    """Write JSON that every reader accepts: UTF-8, ``null`` instead of NaN, NumPy numbers and arrays as plain ones."""
    path.write_text(json_text(content) + "\n", encoding="utf-8")


def json_text(content: Any) -> str:
    """JSON that every reader accepts: ``null`` instead of NaN, NumPy numbers and arrays as plain ones."""
    return json.dumps(_plain(content), ensure_ascii=False, indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):  # a lone surrogate, from a terminal with another encoding, is not valid UTF-8
        return value.encode("utf-8", "replace").decode("utf-8")
    return value if value is None or isinstance(value, bool | int | float) else str(value)
