"""``lisa-micro merge`` and ``lisa-micro push``: what to do with an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.terminal import busy, list_written
from lisa_micro.types import InputError


def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder that finetune wrote, with config.json.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the full preset; new or empty.")],
) -> None:
    """Make a full preset from an adapter and its base: it answers the same and needs nothing else."""
    from lisa_micro.models.lisa.adapter import merge as merge_folder

    if not adapter.is_dir():
        raise InputError(f"there is no folder {adapter}; give that of an adapter")
    with busy("Merging"):
        written = merge_folder(adapter, out)
    list_written(written)


def push(
    folder: Annotated[Path, typer.Argument(help="An adapter's folder, or a full preset's.")],
    name: Annotated[str, typer.Argument(help="Where to on the hub: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Nobody else sees it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be sent.")] = False,
) -> None:
    """Put an adapter or a preset on the hub; afterwards its name works as a --preset. The token is that of HF_TOKEN, or
    of `hf auth login`."""
    from lisa_micro.models.hub import check_pushable, push_folder

    files = check_pushable(folder, name)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        print(f"{path.stat().st_size / 1e6:9.3f} MB  {path.relative_to(folder)}")
    if dry_run:
        print(f"{len(files)} files, {total / 1e6:.1f} MB would go to {name}")
        return
    with busy(f"Sending {total / 1e6:.1f} MB"):
        address = push_folder(folder, name, files, private)
    print(f"sent to {address}")
