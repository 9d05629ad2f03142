"""All commands of ``lisa-micro``, one file each.

Modules of commands import nothing heavy: what a command needs is imported inside it, so that ``--help`` answers at
once. Exit codes are those of :func:`lisa_micro.cli.terminal.run`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lisa_micro.cli.app import app as open_app
from lisa_micro.cli.mcp import mcp
from lisa_micro.cli.micrographs.batch import batch
from lisa_micro.cli.micrographs.chat import chat
from lisa_micro.cli.micrographs.compare import compare
from lisa_micro.cli.micrographs.correct import correct
from lisa_micro.cli.micrographs.info import info
from lisa_micro.cli.micrographs.measure import measure
from lisa_micro.cli.micrographs.segment import segment
from lisa_micro.cli.serve import serve
from lisa_micro.cli.setup import setup
from lisa_micro.cli.training.adapters import merge, push
from lisa_micro.cli.training.benchmark import benchmark
from lisa_micro.cli.training.data import data
from lisa_micro.cli.training.evaluate import evaluate, run_presets
from lisa_micro.cli.training.finetune import finetune
from lisa_micro.cli.training.simulate import simulate
from lisa_micro.cli.videos.ask import ask
from lisa_micro.cli.videos.track import track

MICROGRAPHS, MANY, VIDEOS = "One micrograph", "Many micrographs", "Video"
TRAINING, TOOLS = "Data, training, evaluation", "Tools"
COMMANDS = {
    MICROGRAPHS: (segment, chat, info, measure, compare, correct),
    MANY: (batch,),
    VIDEOS: (track, ask),
    TRAINING: (simulate, finetune, merge, push),
    TOOLS: (setup, serve, mcp),
}

app = typer.Typer(
    name="lisa-micro",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(shown: bool) -> None:
    if shown:
        from lisa_micro import __version__

        print(f"lisa-micro {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Talk to a micrograph: ask in words, get masks, instances and measured sizes."""


for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("app", rich_help_panel=TOOLS)(open_app)
app.add_typer(data, name="data", rich_help_panel=TRAINING)
app.add_typer(evaluate, name="evaluate", rich_help_panel=TRAINING)
app.add_typer(benchmark, name="benchmark", rich_help_panel=TRAINING)
app.command("judge", hidden=True)(run_presets)  # the former name of `evaluate presets`
