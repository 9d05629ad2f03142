"""Detect the format of a source, and find the images that its files name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from lisa_micro.datasets.bounds import one_line, shown
from lisa_micro.datasets.formats.drafts import PART_WORDS
from lisa_micro.datasets.readers import IMAGE_SUFFIXES, LABEL_FOLDERS
from lisa_micro.datasets.records import FILE_NAME
from lisa_micro.types import InputError

KINDS = ("labels", "sentences", "coco", "reasonseg", "labelme", "corrections")
COLUMNS = ("image", "mask", "sentence")
"""Columns that a table of sentences must have."""
SIDECAR_WORDS = ("labels", "label", "masks", "mask", "segmap", "seg", "gt")
"""Suffixes of label files that lie beside their images: ``a.tif`` and ``a_labels.tif``."""


def files_under(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files with these lower-case suffixes, sorted; hidden files and hidden folders are skipped."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path


def read_json(path: Path) -> object:
    """Read a JSON file.

    Raises:
        InputError: unreadable file, with the line where it is broken.
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
        raise InputError(f"{path} is not JSON ({one_line(error)})") from error


def kind_of_json(content: object) -> str | None:
    """The format of a JSON content: ``"coco"``, ``"reasonseg"``, ``"labelme"``, or None."""
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("images"), list) and isinstance(content.get("annotations"), list):
        return "coco"
    if isinstance(content.get("shapes"), list):
        return "reasonseg" if "text" in content and "is_sentence" in content else "labelme"
    return None


def header_of(path: Path) -> list[str]:
    """Read the lower-case column names of a CSV file; empty if it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
    except (OSError, UnicodeDecodeError):
        return []
    return [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter_of(first)), [])]


def delimiter_of(line: str) -> str:
    """The delimiter of a table: comma, or the semicolon or tab of localized spreadsheets."""
    return max(",;\t", key=line.count)


def sentence_files(source: Path) -> list[Path]:
    """Find the tables of sentences: the file itself, or those in the folder."""
    tables = [source] if source.is_file() else sorted(source.glob("*.csv")) + sorted(source.glob("*.tsv"))
    return [path for path in tables if set(COLUMNS) <= set(header_of(path))]


def record_folders(source: Path) -> list[Path]:
    """Find folders with a record file: the folder itself and up to two levels below (one session each)."""
    if source.is_file():
        return [source.parent] if source.name == FILE_NAME else []
    return [path.parent for pattern in ("", "*/", "*/*/") for path in sorted(source.glob(pattern + FILE_NAME))]


def label_pairs(source: Path) -> list[tuple[Path, Path]]:
    """Find pairs of an image folder and its label folder.

    These are ``images`` and one of :data:`~lisa_micro.datasets.readers.LABEL_FOLDERS` side by side, in the folder
    itself or in its ``train`` and ``validation``; or subfolders of the same name in both.
    """
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
    """Find images whose labels lie beside them, named like the image plus ``_labels`` or a similar suffix."""
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
    """Detect the format of a file or folder.

    Returns:
        one of :data:`KINDS`.

    Raises:
        InputError: no known format, or several formats at once.
    """
    if not source.exists():
        raise InputError(f"there is no {source}; give the folder of the data, or its JSON or CSV file")
    if record_folders(source):
        return "corrections"
    found: set[str | None] = set()
    if sentence_files(source):
        found.add("sentences")
    elif label_pairs(source) or sidecars(source):
        found.add("labels")
    broken = []
    for path in [source] if source.is_file() else files_under(source, (".json",)):
        if path.suffix.lower() == ".json":
            try:
                found.add(kind_of_json(read_json(path)))
            except InputError as error:  # its converter reports broken files
                broken.append(str(error))
    kinds = sorted(kind for kind in found if kind is not None)
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise InputError(f"{source} may be {' or '.join(kinds)}; say which with --from")
    reason = f" ({broken[0]})" if broken else ""
    raise InputError(
        f"{source} has no known format{reason}; known are images/ with labels/, a CSV with the columns "
        f"{', '.join(COLUMNS)}, COCO, ReasonSeg or Labelme JSON, or folders with {FILE_NAME}"
    )


class Images:
    """Find images below a folder by the names that other files use for them.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._stems: dict[str, list[Path]] | None = None

    def find(self, name: str, beside: Path) -> Path:
        """Find the image with a name.

        Args:
            name: as in the file: a path relative to any folder, possibly of another operating system.
            beside: folder of the file that names it, searched first.

        Raises:
            InputError: no such image, or several.
        """
        plain = PureWindowsPath(name.replace("\0", "")).as_posix()
        for folder in (beside, beside / "images", self.root, self.root / "images"):
            if plain and Path(plain).suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(folder / plain):
                return folder / plain
        found = self._only([p for p in self._of(Path(plain).stem) if p.name == Path(plain).name], name)
        if found is None:
            raise InputError(f"there is no image {shown(name)} in {self.root}")
        return found

    def of_stem(self, file: Path) -> Path | None:
        """Find the image that has a file's name apart from the suffix; the file's own folder takes precedence.

        Raises:
            InputError: several images.
        """
        found = self._of(file.stem)
        return self._only([p for p in found if p.parent == file.parent] or found, file.stem)

    def _only(self, found: list[Path], name: str) -> Path | None:
        if len(found) > 1:
            raise InputError(f"the image {shown(name)} may be {found[0]} or {found[1]}; rename one of them")
        return found[0] if found else None

    def _of(self, stem: str) -> list[Path]:
        if self._stems is None:
            self._stems = {}
            for path in files_under(self.root, IMAGE_SUFFIXES):
                self._stems.setdefault(path.stem, []).append(path)
        return self._stems.get(stem, [])
