"""``lisa-micro merge`` and ``lisa-micro push``: adapters made into presets, and shared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.terminal import busy, list_written
from lisa_micro.types import InputError


def merge(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder written by finetune, with config.json.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the preset; new or empty.")],
) -> None:
    """Merge an adapter into its base: the full preset gives the same answers and needs nothing else."""
    from lisa_micro.models.lisa.adapter import merge as merge_folder

    if not adapter.is_dir():
        raise InputError(f"There is no folder {adapter}; give the folder of an adapter.")
    with busy("Merging"):
        written = merge_folder(adapter, out)
    list_written(written)


def push(
    folder: Annotated[Path, typer.Argument(help="Folder of an adapter or of a full preset.")],
    name: Annotated[str, typer.Argument(help="Name on the hub: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Make it visible to you only.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be uploaded and stop.")] = False,
) -> None:
    """Upload an adapter or a preset to the Hugging Face hub; its name then works as a --preset.

    The token is taken from HF_TOKEN, or from `hf auth login`.
    """
    from lisa_micro.models.hub import check_pushable, push_folder

    files = check_pushable(folder, name)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        print(f"{path.stat().st_size / 1e6:9.3f} MB  {path.relative_to(folder)}")
    if dry_run:
        print(f"{len(files)} files, {total / 1e6:.1f} MB would be uploaded to {name}")
        return
    with busy(f"Uploading {total / 1e6:.1f} MB"):
        address = push_folder(folder, name, files, private)
    print(f"uploaded to {address}")
