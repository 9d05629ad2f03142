"""The folders in which tools may read and write."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lisa_micro.types import InputError


@dataclass(frozen=True)
class AllowedFolders:
    """Folders that a language model may use; everything outside is refused, also behind links.

    Attributes:
        folders: real paths, at least one. A relative path is relative to the first.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Sequence[str | Path]) -> AllowedFolders:
        """Allow some folders.

        Raises:
            InputError: none, or one that does not exist.
        """
        if not folders:
            raise InputError("Name at least one folder with --allow.")
        for folder in folders:
            if not Path(folder).is_dir():
                raise InputError(f"{folder} is not a folder; --allow takes folders that exist.")
        return cls(tuple(Path(folder).resolve() for folder in folders))

    def path(self, text: str) -> Path:
        """The real path of a file or folder, which need not exist yet.

        Raises:
            InputError: it lies outside of the allowed folders.
        """
        if not text.strip() or "\0" in text:
            raise InputError("The path is empty; give one inside the allowed folders.")
        given = Path(text)
        real = (given if given.is_absolute() else self.folders[0] / given).resolve()
        if not any(real == folder or folder in real.parents for folder in self.folders):
            names = ", ".join(str(folder) for folder in self.folders)
            raise InputError(f"{text} lies outside of the allowed folders ({names}).")
        return real

    def images(self, text: str) -> str | list[str]:
        """A folder or a file, or the files that match a pattern.

        Raises:
            InputError: the folder, or a file, lies outside of the allowed folders, or nothing matches.
        """
        if not glob.has_magic(text):
            return str(self.path(text))
        pattern = text if Path(text).is_absolute() else str(self.folders[0] / text)
        found = [str(self.path(one)) for one in sorted(glob.glob(pattern, recursive=True)) if Path(one).is_file()]
        if not found:
            raise InputError(f"No file matches {text!r}.")
        return found
