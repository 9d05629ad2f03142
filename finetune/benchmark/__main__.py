"""``lisa-micro benchmark segmenters FOLDER``: train and measure the segmenters of the seed paper on a folder of images
and masks. A run that is killed goes on when the same command is given again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lisa_micro.cli.terminal import list_written, run
from lisa_micro_finetune.benchmark.settings import NAMES, Settings, check_names


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    p = argparse.ArgumentParser(prog="lisa-micro benchmark segmenters", description=__doc__)
    p.add_argument("folder", type=Path, help="holds images/ and masks/ (or labels/, segmaps/, or metadata.jsonl)")
    p.add_argument("--test", type=Path, help="another folder to judge on; else part of the first is held out")
    p.add_argument("--models", help=f"names with commas between (default: {','.join(NAMES)})")
    p.add_argument("--minutes", type=float, default=20.0, help="of training a model (default: %(default)g)")
    p.add_argument("--steps", type=int, help="of training, instead of minutes")
    p.add_argument("--batch", type=int, help="tiles a step, instead of each model's own")
    p.add_argument("--resolution", type=int, help="px, instead of the paper's")
    p.add_argument("--tile", type=int, default=512, help="side of what a model sees at once, px of the image (512)")
    p.add_argument("--share", type=float, default=0.2, help="of the images to hold out, where there is no fixed list")
    p.add_argument("--seed", type=int, default=0, help="of weights, tiles and division")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    p.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    p.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    p.add_argument("--efficient-sam-checkpoint", type=Path, metavar="PATH", help="efficient_sam_vitt.pt to start from")
    p.add_argument("--preset", default="micro", help="of LISA-micro")
    p.add_argument("--prompt", default="segment all particles", help="what LISA-micro is asked")
    p.add_argument("--out", "-o", type=Path, default=Path("benchmarks"), help="folder for the report (benchmarks)")
    p.add_argument("--work", type=Path, help="folder for checkpoints (runs/benchmark-NAME)")
    p.add_argument("--force", action="store_true", help="overwrite a report that is there already")
    p.add_argument("--fresh", action="store_true", help="throw away checkpoints in the work folder")
    return p


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 on success, 2 for a bad request or bad data, 130 when interrupted."""
    args = parser().parse_args(argv)
    return run(lambda: _benchmark(args))


def _benchmark(args: argparse.Namespace) -> None:
    from lisa_micro.models.memory import keep_memory
    from lisa_micro_finetune.benchmark.report import check_report
    from lisa_micro_finetune.benchmark.run import benchmark, without_missing

    name = args.folder.resolve().name
    settings = Settings(
        folder=args.folder,
        test=args.test,
        models=check_names(args.models),
        out=args.out,
        work=args.work or Path("runs") / f"benchmark-{name}",
        minutes=args.minutes,
        steps=args.steps,
        batch=args.batch,
        resolution=args.resolution,
        tile=args.tile,
        share=args.share,
        seed=args.seed,
        device=args.device,
        precision=args.precision,
        threads=args.threads,
        checkpoint=args.efficient_sam_checkpoint,
        preset=args.preset,
        prompt=args.prompt,
        fresh=args.fresh,
    )
    settings.check()
    if args.models is None:
        settings = without_missing(settings, say)
    elif "yolo" in settings.models:
        from lisa_micro_finetune.benchmark.yolo import import_ultralytics

        import_ultralytics()  # before an hour of training others, not after
    if settings.checkpoint is not None:
        from lisa_micro.models.segmenters.promptable import read_checkpoint

        read_checkpoint(settings.checkpoint)
    check_report(settings.out, name, args.force)
    keep_memory(256)
    list_written(benchmark(settings, say))


def say(line: str) -> None:
    """One line on the standard error stream, at once."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
