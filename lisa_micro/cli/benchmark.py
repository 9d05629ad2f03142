"""``lisa-micro benchmark ...``: models trained and measured side by side, by the training code of a checkout."""

from __future__ import annotations

import typer

from lisa_micro.cli.terminal import run_installed

benchmarks = typer.Typer(help="Train and measure models side by side.", no_args_is_help=True)


@benchmarks.callback()
def options() -> None:
    """Train and measure models side by side."""


@benchmarks.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def segmenters(context: typer.Context) -> None:
    """The seed paper's segmenters on a folder of images and masks: all arguments go to `python -m
    lisa_micro_finetune.benchmark`."""
    raise typer.Exit(run_installed("lisa_micro_finetune.benchmark", context.args))
