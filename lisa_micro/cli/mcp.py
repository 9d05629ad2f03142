"""``lisa-micro mcp``: tools for language models on the standard streams."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.options import ModelOptions, grouped
from lisa_micro.extras import require


@grouped
def mcp(
    model: ModelOptions,
    allow: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder in which the tools may read and write; repeatable, at least one."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes when a folder is run.")] = None,
) -> None:
    """Serve tools for language models over MCP on the standard streams: segment a file, run a folder.

    A client starts this command itself. Nothing outside the folders named with --allow is read or written.
    """
    require("The tools for language models", "mcp", "pyarrow")
    from lisa_micro.batch.job import PresetSource
    from lisa_micro.mcp.allowed import AllowedFolders
    from lisa_micro.mcp.server import serve
    from lisa_micro.mcp.tools import Tools

    projectors = None if model.projectors is None else str(model.projectors.resolve())
    source = PresetSource(model.preset, model.device, model.precision, projectors)
    serve(Tools(AllowedFolders.of(allow or []), source, workers))
