"""What a folder of somebody else's data is, and where the images are that its files name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from lisa_micro.datasets.formats.drafts import PART_WORDS
from lisa_micro.datasets.readers import IMAGE_SUFFIXES, LABEL_FOLDERS
from lisa_micro.datasets.records import FILE_NAME
from lisa_micro.types import InputError

KINDS = ("labels", "sentences", "coco", "reasonseg", "labelme", "corrections")
COLUMNS = ("image", "mask", "sentence")
"""That a file of sentences must have."""
SIDECAR_WORDS = ("labels", "label", "masks", "mask", "segmap", "seg", "gt")
"""Behind the image's name in the name of its labels, where both lie in one folder: ``a.tif`` and ``a_labels.tif``."""


def files_under(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files with these suffixes (lower case), in order; hidden ones and those in hidden folders are passed over."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: it cannot be read, with the line where it is broken.
    """
    try:
        raw = path.read_bytes()
        try:
            return json.loads(raw.decode("utf-8-sig"))
        except UnicodeDecodeError:  # annotation tools on Windows write their own code page
            return json.loads(raw.decode("cp1252"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno}: not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error})") from error


def kind_of_json(content: Any) -> str | None:
    """``"coco"``, ``"reasonseg"``, ``"labelme"``, or None where it is none of them."""
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
        return "coco"
    if isinstance(content.get("shapes"), list):
        return "reasonseg" if "text" in content and "is_sentence" in content else "labelme"
    return None


def header_of(path: Path) -> list[str]:
    """Names of the columns of a CSV file, in lower case; none where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
    except (OSError, UnicodeDecodeError):
        return []
    return [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter_of(first)), [])]


def delimiter_of(line: str) -> str:
    """What stands between the columns of a table: the comma, or what spreadsheets of other languages write."""
    return max(",;\t", key=line.count)


def sentence_files(source: Path) -> list[Path]:
    """The CSV files of sentences: the file itself, or those in the folder."""
    tables = [source] if source.is_file() else sorted(source.glob("*.csv")) + sorted(source.glob("*.tsv"))
    return [path for path in tables if set(COLUMNS) <= set(header_of(path))]


def record_folders(source: Path) -> list[Path]:
    """Folders with a record file: the folder itself, those in it, and those one further down (a session each)."""
    if source.is_file():
        return [source.parent] if source.name == FILE_NAME else []
    return [path.parent for pattern in ("", "*/", "*/*/") for path in sorted(source.glob(pattern + FILE_NAME))]


def label_pairs(source: Path) -> list[tuple[Path, Path]]:
    """Folders of images with their folders of labels: ``images`` and one of :data:`LABEL_FOLDERS` side by side, in the
    folder itself, in its ``train`` and ``validation``, or with these inside of both."""
    if not source.is_dir():
        return []
    parts = [p for p in sorted(source.iterdir()) if p.is_dir() and p.name.lower() in PART_WORDS]
    found = []
    for folder in (source, *parts):
        labels = next((folder / name for name in LABEL_FOLDERS if (folder / name).is_dir()), None)
        if labels is None or not (folder / "images").is_dir():
            continue
        inner = [p for p in sorted((folder / "images").iterdir()) if p.is_dir() and (labels / p.name).is_dir()]
        found += [(p, labels / p.name) for p in inner] or [(folder / "images", labels)]
    return found


def sidecars(source: Path) -> list[tuple[Path, Path]]:
    """Images with label images of the same folder that are called like them and ``_labels`` or the like."""
    if not source.is_dir():
        return []
    images = {p.stem.lower(): p for p in sorted(source.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
    found = {}
    for stem, path in images.items():
        for word in SIDECAR_WORDS:
            for mark in "_-.":
                base = stem.removesuffix(f"{mark}{word}").removesuffix("_cp")  # Cellpose writes a_cp_masks
                if base != stem and base in images:
                    found[images[base]] = path
    return sorted(found.items())


def find_kind(source: Path) -> str:
    """What a file or folder is, as far as its files tell.

    Returns:
        one of :data:`KINDS`.

    Raises:
        InputError: it is nothing known, or several things at once.
    """
    if not source.exists():
        raise InputError(f"there is no {source}; give the folder of the data, or its JSON or CSV file")
    if record_folders(source):
        return "corrections"
    found = set()
    if sentence_files(source):
        found.add("sentences")
    elif label_pairs(source) or sidecars(source):
        found.add("labels")
    broken = []
    for path in [source] if source.is_file() else files_under(source, (".json",)):
        if path.suffix.lower() == ".json":
            try:
                found.add(kind_of_json(read_json(path)))
            except InputError as error:  # of a hundred files one may be broken; its converter says so
                broken.append(str(error))
    found.discard(None)
    if len(found) == 1:
        return found.pop()
    if found:
        raise InputError(f"{source} may be {' or '.join(sorted(found))}; say which with --from")
    reason = f" ({broken[0]})" if broken else ""
    raise InputError(
        f"{source} is none of the formats that are known{reason}: images/ with labels/, a CSV with the columns "
        f"{', '.join(COLUMNS)}, COCO, ReasonSeg or Labelme JSON, or folders with {FILE_NAME}"
    )


class Images:
    """The images under a folder, found by the names that other files call them.

    Args:
        root: where to look.
    """

    def __init__(self, root: Path):
        self.root = root
        self._stems: dict[str, list[Path]] | None = None

    def find(self, name: str, beside: Path) -> Path:
        """The image of a name.

        Args:
            name: as in the file, a path from whichever folder, also of another system.
            beside: folder of the file that names it, looked into first.

        Raises:
            InputError: there is none, or several that it may be.
        """
        plain = PureWindowsPath(name).as_posix()
        for folder in (beside, beside / "images", self.root, self.root / "images"):
            if plain and Path(plain).suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(folder / plain):
                return folder / plain
        found = self._only([p for p in self._of(Path(plain).stem) if p.name == Path(plain).name], name)
        if found is None:
            raise InputError(f"there is no image {name!r} in {self.root}")
        return found

    def of_stem(self, file: Path) -> Path | None:
        """The image that is called like another file but for its suffix, in the same folder before elsewhere.

        Raises:
            InputError: there are several.
        """
        found = self._of(file.stem)
        return self._only([p for p in found if p.parent == file.parent] or found, file.stem)

    def _only(self, found: list[Path], name: str) -> Path | None:
        if len(found) > 1:
            raise InputError(f"the image {name!r} may be {found[0]} or {found[1]}; give one of them another name")
        return found[0] if found else None

    def _of(self, stem: str) -> list[Path]:
        if self._stems is None:
            self._stems = {}
            for path in files_under(self.root, IMAGE_SUFFIXES):
                self._stems.setdefault(path.stem, []).append(path)
        return self._stems.get(stem, [])
