"""``lisa-micro app``: the page in the browser."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.options import ModelOptions, grouped
from lisa_micro.extras import require


@dataclass(frozen=True)
class ServerOptions:
    """How the page is served."""

    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 7860
    auth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="USER:PASSWORD",
            help="Ask for a name and a password; repeatable. The environment variable LISA_MICRO_APP_AUTH holds the "
            "same, separated by spaces, where others can see the command line.",
        ),
    ] = None
    share: Annotated[
        bool, typer.Option("--share", help="Serve the page through a public address too; use it with --auth.")
    ] = False
    teach: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for training examples of users (default: their downloads)."),
    ] = None
    upload_mib: Annotated[
        int | None, typer.Option(min=1, help="Largest file that can be uploaded, in MiB (default: 512).")
    ] = None


@grouped
def app(server: ServerOptions, model: ModelOptions) -> None:
    """Open the assistant in the browser: conversations, videos, corrections, words against boxes.

    The page is bound to this computer.
    """
    require("The app", "gradio", "plotly")
    from lisa_micro_app.serve import AppSettings, parse_users, serve

    settings = AppSettings(
        port=server.port,
        preset=model.preset,
        device=model.device,
        precision=model.precision,
        projectors=model.projectors,
        auth=parse_users(server.auth or [], os.environ.get("LISA_MICRO_APP_AUTH", "")),
        share=server.share,
        teach=server.teach,
        upload_mib=server.upload_mib,
    )
    serve(settings)
