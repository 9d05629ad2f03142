"""Copy a shipped configuration to a file for editing: ``python -m lisa_micro_finetune.copy_config adapt mine.yaml``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lisa_micro.types import InputError
from lisa_micro_finetune.start import find_config


def copy_config(name: str, path: Path) -> None:
    """Copy the shipped configuration called ``name`` to ``path``.

    Raises:
        InputError: there is no such configuration, or the file exists or cannot be written.
    """
    text = find_config(Path(name)).read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} exists already; choose another name.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command; exit code 0 on success, 2 if the file cannot be copied."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of a shipped configuration, such as adapt")
    parser.add_argument("path", type=Path, help="file to write")
    args = parser.parse_args(argv)
    try:
        copy_config(args.name, args.path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
