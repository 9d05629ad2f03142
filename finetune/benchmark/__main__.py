"""``python -m lisa_micro_finetune.benchmark FOLDER``: the same as ``lisa-micro benchmark segmenters``."""

from __future__ import annotations

import sys

from lisa_micro.cli.main import run_command_line


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 for a bad request or bad data, 130 when interrupted."""
    return run_command_line(["benchmark", "segmenters", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
