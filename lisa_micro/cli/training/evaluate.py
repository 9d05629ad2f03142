"""``lisa-micro evaluate``: validation suites, and presets compared on one's own records."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from lisa_micro.cli.options import AsJson, DeviceName, Force, Seed, grouped
from lisa_micro.cli.terminal import busy, list_written, print_json
from lisa_micro.types import InputError

SuiteName = Literal[
    "list",
    "all",
    "speed",
    "tem-sintering",
    "emps",
    "language",
    "programs",
    "pairs",
    "wordings",
    "declines",
    "scene",
    "concepts",
    "exemplars",
    "values",
]
SHOWN = 12
"""Lines of a table that are printed at most; the file has all."""


class SuiteByDefault(TyperGroup):
    """``evaluate NAME`` means ``evaluate suite NAME``."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        """Put ``suite`` in front of everything but a command or a request for help."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["suite", *args]
        return super().parse_args(ctx, args)


evaluate = typer.Typer(cls=SuiteByDefault, no_args_is_help=True)


@evaluate.callback()
def options() -> None:
    """Evaluate models: `evaluate NAME` runs a validation suite, `evaluate presets` compares presets on your records."""


@dataclass(frozen=True)
class SuiteOptions:
    """How a suite is run."""

    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Labelled micrographs (default: the environment variable LISA_MICRO_DATA)."),
    ] = None
    preset: Annotated[str, typer.Option(help="Model: name of a preset, folder of a model or adapter, or hub name.")] = (
        "micro"
    )
    limit: Annotated[int | None, typer.Option(help="Number of images, scenes or requests, instead of all.")] = None
    seed: Seed = 0
    prompts: Annotated[
        Path | None, typer.Option(help="YAML file of requests for the suites language, programs and wordings.")
    ] = None
    device: DeviceName = "auto"


@evaluate.command("suite")
@grouped
def run_suite(
    suite: Annotated[SuiteName, typer.Argument(help="Suite; list shows what each measures.")],
    options: SuiteOptions,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for the report.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model on a validation suite: each metric beside its limits."""
    from rich.console import Console

    from lisa_micro import evaluate as evaluation
    from lisa_micro.io import check_output

    if suite == "list":
        purposes = {name: entry.purpose for name, entry in evaluation.SUITES.items()}
        if as_json:
            print_json(purposes)
            return
        for name, purpose in purposes.items():
            print(f"{name:16} {purpose}")
        return
    if out is not None:
        check_output(out, force, names=evaluation.REPORT_FILES)
    console = Console(stderr=as_json)
    settings = evaluation.EvaluationSettings(
        options.preset, options.device, options.data, options.limit, options.seed, options.prompts
    )
    report = evaluation.evaluate(
        suite,
        settings=settings,
        out=out,
        show=lambda result: evaluation.show(result, console),
        progress=sys.stderr.isatty(),
    )
    evaluation.show_summary(report, console)
    files = [] if out is None else evaluation.report_files(report, out)
    if as_json:
        print_json({**report.record(), "files": [str(path) for path in files]})
    else:
        list_written(files)


@dataclass(frozen=True)
class PresetOptions:
    """What is asked of the presets."""

    images: Annotated[int, typer.Option(min=1, help="Number of images at most.")] = 20
    wordings: Annotated[int, typer.Option(min=0, help="Held-out wordings for each image and concept.")] = 3
    boxes: Annotated[
        bool, typer.Option("--boxes/--no-boxes", help="Also segment from the true boxes, which takes a while.")
    ] = True
    seed: Seed = 0
    device: DeviceName = "auto"


@evaluate.command("presets")
@grouped
def run_presets(
    data: Annotated[Path, typer.Argument(help="Records: their validation part, or all where they name none.")],
    options: PresetOptions,
    preset: Annotated[
        list[str] | None, typer.Option(help="Preset or folder of an adapter; repeatable (default: micro).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for judgement.json and cases.png.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare presets and adapters on your own records, by the same held-out requests."""
    presets = preset or ["micro"]
    if len(set(presets)) != len(presets):
        raise InputError(f"--preset {next(p for p in presets if presets.count(p) > 1)} is given twice.")
    with busy("Loading"):
        from lisa_micro_finetune.adapt.evaluate_presets import PresetTest, compare, report
    test = PresetTest(options.images, options.wordings, options.boxes, options.seed)
    results = compare(presets, data, test, options.device, out, say=_say)
    if as_json:
        print_json(results)
        return
    for line in report(results, SHOWN):
        print(line)
    if out is not None:
        print(f"wrote {out}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
