"""File names that are harmless everywhere, and folders as archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lisa_micro.types import InputError
from lisa_micro_app.handlers import safe_suffix, shown_name


def plain_name(name: str) -> str:
    """A user's file name as a name that is harmless in any archive and shell: letters, digits, ``.``, ``_``, ``-``."""
    stem = Path(shown_name(name)).stem
    text = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in stem).strip("_-")
    return (text or "micrograph")[:60] + safe_suffix(name)


def zip_folder(folder: Path, path: Path) -> Path:
    """All files of a folder as one archive at ``path``.

    Raises:
        InputError: the disk is full.
    """
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(f"The download cannot be written: {error.strerror or error}.") from error
    return path
