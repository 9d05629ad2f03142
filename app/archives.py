"""Archives to download: safe file names, zip files, and parts of the script ``repeat.sh``."""

from __future__ import annotations

import shlex
import shutil
import zipfile
from pathlib import Path

from lisa_micro.io import Looking
from lisa_micro.types import InputError
from lisa_micro_app.handlers import safe_suffix, shown_name
from lisa_micro_app.state.conversation import AS_READ

MAX_INPUT_BYTES = 256 * 1024 * 1024
"""Largest input file that is packed into an archive; the user has the file anyway."""
SCRIPT_HEAD = """#!/bin/sh
# Repeats the results of this folder and writes them to again/. Run it in this folder, where lisa-micro is installed.
set -eu
cd "$(dirname "$0")"
"""


def plain_name(name: str) -> str:
    """Turn a user's file name into one that is safe in any archive and shell: letters, digits, ``.``, ``_``, ``-``."""
    stem = Path(shown_name(name)).stem
    text = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem).strip("_-")
    return (text or "micrograph")[:60] + safe_suffix(name)


def zip_folder(folder: Path, path: Path) -> Path:
    """Pack all files of a folder into one archive at ``path``.

    Raises:
        InputError: the archive cannot be written.
    """
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(f"Cannot write the download: {error.strerror or error}.") from error
    return path


def copy_input(source: str | None, path: Path) -> str:
    """Copy a micrograph's file to ``path``, in the folder ``input``.

    Returns:
        a comment for the script if the file is not there or too large; ``""`` if it was copied.
    """
    if not source or not Path(source).is_file() or Path(source).stat().st_size > MAX_INPUT_BYTES:
        return missing_input(path.name)
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        shutil.copyfile(source, path)
    return ""


def missing_input(name: str) -> str:
    """The comment of a script whose input file is not in the archive."""
    return f"# input/{name} is not in the archive: copy your own file there"


def command_options(preset: str = "micro", pixel_size_nm: float | None = None, looking: Looking = AS_READ) -> str:
    """Options of ``lisa-micro`` that differ from its defaults, each with a leading space.

    Args:
        preset: of the assistant.
        pixel_size_nm: as given by the user.
        looking: how the micrograph was read.
    """
    options = "" if preset == "micro" else f" --preset {shlex.quote(preset)}"
    if pixel_size_nm is not None:
        options += f" --pixel-size {pixel_size_nm:.12g}"
    if looking.mark is not None:
        ends = ",".join(repr(float(value)) for value in looking.mark.ends)
        options += f" --scale-bar {shlex.quote(f'{ends},{looking.mark.length}')}"
    return options if looking.scale_bar else f"{options} --no-scale-bar"
