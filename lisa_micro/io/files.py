"""Write files completely or not at all; write JSON that every reader accepts."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import zlib
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


TEMPORARY = ".lisa-micro-"
"""Beginning of the names of all temporary files and folders."""
_SET = ".set"


def temporary_prefix() -> str:
    """Beginning of the names of files and folders that are renamed when they are complete.

    They are hidden, which readers of folders skip, and name this process, so that :func:`remove_leftovers` knows those
    of processes that were killed.
    """
    return f"{TEMPORARY}{_machine()}-{os.getpid()}-"


def _machine() -> str:
    """Identifies what process numbers are valid on: a computer, or a container on it."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not on Linux
        space = ""
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode()):08x}"


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of this computer left in a folder under temporary names, and complete or undo the
    sets of files that they were renaming."""
    if sys.platform == "win32":  # where asking whether a process lives may end it
        return
    name = re.compile(rf"{re.escape(TEMPORARY)}{_machine()}-(\d+)-")
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    left = [entry for entry in entries if (found := name.match(entry.name)) and not _is_alive(int(found[1]))]
    for entry in left:
        if entry.name.endswith(_SET):
            _settle(entry)
    for entry in left:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            try:
                entry.unlink()
            except OSError:
                pass


def _begin_set(folder: Path, staged: Sequence[tuple[Path, Path]]) -> Path:
    """Note which files are about to be renamed, for :func:`_settle`; returns the note.

    Where files are replaced, the last one is removed first: readers go by it, and must not take a mixture of two sets
    for one of them.
    """
    files = [[temporary.name, path.name, temporary.stat().st_ino] for temporary, path in staged]
    new = not any(path.exists() for _, path in staged)
    note = folder / f"{temporary_prefix()}{secrets.token_hex(4)}{_SET}"
    note.write_text(json.dumps({"new": new, "files": files}), encoding="utf-8")
    if not new:
        staged[-1][1].unlink(missing_ok=True)
    return note


def _settle(note: Path) -> None:
    """Undo the set of a killed process, so that its command can simply be started again; complete it if it was
    replacing another set, of which a part is gone."""
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        files = [(note.with_name(one), note.with_name(name), number) for one, name, number in known["files"]]
        renamed = [path for _, path, number in files if path.is_file() and path.stat().st_ino == number]
        if not known["new"]:
            for temporary, path, _ in files:
                if temporary.is_file():
                    temporary.replace(path)
        elif len(renamed) < len(files):
            for path in renamed:
                path.unlink()
    except (OSError, ValueError):  # the note was being written, so nothing was renamed
        return


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        pass
    return True


def write_files(folder: str | os.PathLike[str], writers: Mapping[str, Callable[[Path], object]]) -> list[Path]:
    """Write several files so that neither a reader nor a crash leaves half of one.

    Each file is written under a temporary name in the same folder; all are renamed when the last one is complete. A
    process that is killed in between leaves a set without its last file; the next one that writes to the folder undoes
    it, or completes it if it was replacing another.

    Args:
        folder: created if missing.
        writers: file name -> function that writes to the path it is given; the last one is that by which readers know
            that all are there.

    Returns:
        the paths, in the order of ``writers``.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    staged: list[tuple[Path, Path]] = []
    note: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        for name, write in writers.items():
            suffix = "".join(Path(name).suffixes) or ".part"  # writers may choose a format by the suffix
            handle, temporary = tempfile.mkstemp(prefix=temporary_prefix(), suffix=suffix, dir=folder)
            os.close(handle)
            staged.append((Path(temporary), folder / name))
            write(Path(temporary))
            _default_mode(Path(temporary))
        note = _begin_set(folder, staged) if len(staged) > 1 else None
        for temporary_path, path in staged:
            temporary_path.replace(path)
    except OSError as error:
        if note is not None:
            _settle(note)
        raise InputError(f"{folder} cannot be written: {_reason(error)}.") from error
    finally:
        for temporary_path in (*(one for one, _ in staged), *([note] if note else [])):
            temporary_path.unlink(missing_ok=True)
    return [path for _, path in staged]


def _default_mode(path: Path) -> None:
    """Give a file the permissions of any new file; ``mkstemp`` restricts them to the owner."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def disk_problem(error: OSError) -> str:
    """Why a disk did not take a file, such as ``No space left on device``; ``""`` for errors of another kind."""
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", None)):
        return os.strerror(error.errno or 0)
    if error.errno is None and re.search(r"\d+ requested and \d+ written", str(error)):  # as NumPy says it
        return "not all of it could be written; the disk may be full"
    return ""


def _reason(error: OSError) -> str:
    return disk_problem(error) or error.strerror or str(error)


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
        remove_leftovers(folder)
        existing = sorted(entry.name for entry in results_in(folder, names))
        with tempfile.NamedTemporaryFile(prefix=temporary_prefix(), dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {_reason(error)}.") from error
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
