"""The files of the page Batch: many at once, or a zip; bounded in number and size, in a folder of the session."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lisa_micro.batch.items import SUFFIXES
from lisa_micro.types import InputError
from lisa_micro_app.archives import plain_name
from lisa_micro_app.handlers import shown_name
from lisa_micro_app.limits import MIB, Limits

if TYPE_CHECKING:
    from lisa_micro_app.state.batch import BatchState
    from lisa_micro_app.state.session import Session

_CHUNK = 1 << 20


def images_folder(session: Session) -> Path:
    """Folder of the images."""
    return session.folder / "batch" / "images"


def results_folder(session: Session) -> Path:
    """Folder of the run."""
    return session.folder / "batch" / "results"


def keep(session: Session, path: Path, name: str, limits: Limits) -> None:
    """Take a file that was sent: an image, or a zip with images, whose folders become groups. The file is moved.

    Raises:
        InputError: a run is going on, the limits are reached, or the zip is damaged or holds no images.
    """
    state = session.batch
    try:
        with state.lock:
            if state.busy:
                raise InputError("A run is going on; stop it before you add files.")
            if zipfile.is_zipfile(path):
                _unpack(session, path, shown_name(name), limits)
            else:
                _add(session, path, "", name, limits)
            state.result = None
    finally:
        path.unlink(missing_ok=True)


def forget(session: Session) -> None:
    """Remove all files and results.

    Raises:
        InputError: a run is going on.
    """
    state = session.batch
    with state.lock:
        if state.busy:
            raise InputError("A run is going on; stop it first.")
        shutil.rmtree(session.folder / "batch", ignore_errors=True)
        state.files.clear()
        state.rows.clear()
        state.bytes, state.result, state.job = 0, None, None


def _check_room(state: BatchState, size: int, limits: Limits) -> None:
    if len(state.files) >= limits.batch_images:
        raise InputError(f"A batch may have at most {limits.batch_images} images; for more use `lisa-micro batch`.")
    if state.bytes + size > limits.batch_mib * MIB:
        raise InputError(f"The images of a batch may have at most {limits.batch_mib} MiB together.")


def _place(session: Session, group: str, name: str) -> tuple[Path, str]:
    """Where an image goes. Nothing of a user's name but letters, digits, ``.``, ``_`` and ``-`` is part of a path."""
    folder = plain_name(group) if group else ""
    plain = Path(plain_name(name))
    relative = PurePosixPath(folder, plain.name)
    number = 2
    while str(relative) in session.batch.files:
        relative = PurePosixPath(folder, f"{plain.stem}_{number}{plain.suffix}")
        number += 1
    return images_folder(session) / relative, str(relative)


def _add(session: Session, path: Path, group: str, name: str, limits: Limits) -> None:
    state, size = session.batch, path.stat().st_size
    _check_room(state, size, limits)
    target, relative = _place(session, group, name)
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"{shown_name(name)} is no image; drop TIFF, PNG, JPEG, MRC and the like, or a zip of them.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    state.files.append(relative)
    state.bytes += size


def _unpack(session: Session, path: Path, name: str, limits: Limits) -> None:
    found = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                inside = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.is_dir() or inside.name.startswith(".") or inside.parts[0] == "__MACOSX":
                    continue
                if inside.suffix.lower() not in SUFFIXES:
                    continue
                _check_room(session.batch, entry.file_size, limits)
                part = session.new_file(".part")
                try:
                    # not more than the archive states, so that a file cannot grow without bounds
                    with archive.open(entry) as source, part.open("wb") as target:
                        left = entry.file_size
                        while left > 0 and (chunk := source.read(min(_CHUNK, left))):
                            left -= target.write(chunk)
                    _add(session, part, inside.parent.name, inside.name, limits)
                finally:
                    part.unlink(missing_ok=True)
                found += 1
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{name} is not a readable zip file ({type(error).__name__}).") from error
    if not found:
        raise InputError(f"{name} contains no images.")
