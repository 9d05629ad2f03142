"""``python -m lisa_micro_finetune CONFIG --out FOLDER``: run one stage of training, or go on with it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from lisa_micro.models.memory import keep_memory
from lisa_micro.types import InputError
from lisa_micro_finetune.config import load_config


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 for a bad configuration or missing data."""
    parser = argparse.ArgumentParser(prog="finetune", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, default=None, help="folder of the run (default: runs/NAME)")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="prepared data")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the file's, such as data=FOLDER"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_memory(256)
    try:
        from lisa_micro_finetune.run import RUNNERS

        stage = load_config(args.config, args.set)
        folder = args.out or Path("runs") / args.config.stem
        os.makedirs(folder, exist_ok=True)
        RUNNERS[stage.stage](stage, folder, args.cache, args.device)
    except (InputError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
