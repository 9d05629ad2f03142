"""``python -m lisa_micro_finetune CONFIG --out FOLDER``: the same as ``lisa-micro finetune``."""

from __future__ import annotations

import sys

from lisa_micro.cli.main import run_command_line


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 for a configuration or data that cannot be used."""
    return run_command_line(["finetune", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
