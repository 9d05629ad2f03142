"""``python -m lisa_micro_app``: the same as ``lisa-micro app``."""

from __future__ import annotations

import sys

from lisa_micro.cli.main import run_command_line


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; exit code 2 for options that cannot be used."""
    return run_command_line(["app", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
