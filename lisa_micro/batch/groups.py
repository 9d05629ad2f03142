"""Groups of images: by folder, by a pattern in the name, or from a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from lisa_micro.batch.items import Item
from lisa_micro.types import InputError

GroupOf: TypeAlias = Callable[[Item], str]
"""Name of the group of an item, ``""`` for one without."""


def parse_groups(text: str | None) -> GroupOf | None:
    """How images are put into groups.

    Args:
        text: ``"folder"``: the folder of the file, relative to the one that was given. ``"name:REGEX"``: the first
            group of the regular expression in the name, or the whole match. A path of a CSV file: its columns ``image``
            (name, file name with or without suffix, or path) and ``group``. ``None``: no groups.

    Raises:
        InputError: none of these, a pattern that is not valid, or a CSV file that cannot be used.
    """
    if text is None:
        return None
    if text == "folder":
        return _folder
    if text.startswith("name:"):
        return _by_pattern(text.removeprefix("name:"))
    if text.lower().endswith(".csv"):
        return _by_table(Path(text))
    raise InputError(f"Unknown grouping {text!r}; choose folder, name:REGEX or the path of a CSV file.")


def _folder(item: Item) -> str:
    parent = PurePosixPath(item.name).parent.as_posix()
    return Path(item.path).parent.name if parent == "." else parent


def _by_pattern(pattern: str) -> GroupOf:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"The pattern {pattern!r} is not a valid regular expression: {error}.") from error

    def group(item: Item) -> str:
        found = compiled.search(item.name)
        if found is None:
            return ""
        return (found.group(1) or "") if compiled.groups else found.group(0)

    return group


def _by_table(path: Path) -> GroupOf:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"image", "group"} <= set(reader.fieldnames or ()):
                raise InputError(f"{path} needs the columns 'image' and 'group'.")
            table = {row["image"].strip().replace("\\", "/"): (row["group"] or "").strip() for row in reader}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8.") from error

    def group(item: Item) -> str:
        name = PurePosixPath(item.name)
        for key in (item.name, item.path, name.name, name.stem):
            if key in table:
                return table[key]
        return ""

    return group
