"""``lisa-micro benchmark ...``: models trained and measured side by side."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lisa_micro.cli.options import DeviceName, Force, Seed, grouped
from lisa_micro.cli.terminal import busy, list_written

benchmark = typer.Typer(no_args_is_help=True)


@benchmark.callback()
def options() -> None:
    """Train and measure models side by side."""


@dataclass(frozen=True)
class TrainingOptions:
    """How each model is trained."""

    models: Annotated[
        str | None,
        typer.Option(help="Names separated by commas (default: yolo,swin-unet,vmamba,efficient-sam,micro)."),
    ] = None
    minutes: Annotated[float, typer.Option(help="Training time of each model.")] = 20.0
    steps: Annotated[int | None, typer.Option(help="Training steps, instead of minutes.")] = None
    batch: Annotated[int | None, typer.Option(help="Tiles per step, instead of each model's own.")] = None
    resolution: Annotated[int | None, typer.Option(metavar="PX", help="Input size, instead of the paper's.")] = None
    tile: Annotated[int, typer.Option(metavar="PX", help="Side of a tile of the image.")] = 512
    seed: Seed = 0
    device: DeviceName = "auto"
    precision: Annotated[Literal["auto", "fp32", "bf16"], typer.Option(help="Precision of training.")] = "auto"
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores.")] = 0
    efficient_sam_checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--efficient-sam",
            "--efficient-sam-checkpoint",  # its former name, which help at 80 columns cuts
            metavar="PATH",
            help="efficient_sam_vitt.pt, to start EfficientSAM from.",
        ),
    ] = None


@dataclass(frozen=True)
class ReportOptions:
    """What is evaluated and where it is kept."""

    test: Annotated[
        Path | None, typer.Option(help="Another folder to evaluate on; else part of the first is held out.")
    ] = None
    share: Annotated[float, typer.Option(help="Fraction of the images held out, where there is no fixed list.")] = 0.2
    preset: Annotated[str, typer.Option(help="Preset of LISA-micro.")] = "micro"
    prompt: Annotated[str, typer.Option(help="What LISA-micro is asked.")] = "segment all particles"
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the report.")] = Path("benchmarks")
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for checkpoints (default: runs/benchmark-NAME).")
    ] = None
    force: Force = False
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the checkpoints of an earlier run.")] = False


@benchmark.command()
@grouped
def segmenters(
    folder: Annotated[Path, typer.Argument(help="Holds images/ and masks/ (or labels/, segmaps/, or metadata.jsonl).")],
    training: TrainingOptions,
    report: ReportOptions,
) -> None:
    """Train and measure the segmenters of the seed paper on a folder of images and masks.

    The same command resumes a run that was interrupted.
    """
    with busy("Loading"):
        from lisa_micro_finetune.benchmark.settings import Settings, check_names
        from lisa_micro_finetune.benchmark.start import start
    settings = Settings(
        folder=folder,
        models=check_names(training.models),
        out=report.out,
        work=report.work or Path("runs") / f"benchmark-{folder.resolve().name}",
        test=report.test,
        minutes=training.minutes,
        steps=training.steps,
        batch=training.batch,
        resolution=training.resolution,
        tile=training.tile,
        share=report.share,
        seed=training.seed,
        device=training.device,
        precision=training.precision,
        threads=training.threads,
        checkpoint=training.efficient_sam_checkpoint,
        preset=report.preset,
        prompt=report.prompt,
        fresh=report.fresh,
    )
    list_written(start(settings, named=training.models is not None, force=report.force, say=_say))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
