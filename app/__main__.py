"""Run ``lisa-micro app`` as ``python -m lisa_micro_app``."""

from __future__ import annotations

import sys

from lisa_micro.cli.main import run_command_line


def main(arguments: list[str] | None = None) -> int:
    """Serve the app until interrupted; return the exit code, 2 for bad options."""
    return run_command_line(["app", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
