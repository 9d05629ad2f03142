"""``lisa-micro finetune``: train a stage, such as an adapter on one's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lisa_micro.cli.options import DeviceName, grouped
from lisa_micro.cli.terminal import busy


@grouped
def finetune(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped one, such as adapt.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run (default: runs/NAME).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Replace a setting of the file, such as data=FOLDER; repeatable."
        ),
    ] = None,
    cache: Annotated[Path, typer.Option(metavar="DIR", help="Folder for prepared data.")] = Path("runs/cache"),
    device: DeviceName = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")] = 0,
    submitit: Annotated[
        bool,
        typer.Option("--submitit", help="Run as a job, as the block submitit of the file says: SLURM, or local."),
    ] = False,
) -> None:
    """Train on your own data, as a YAML file says; the same command resumes a run that was interrupted."""
    if submitit:
        _submit(config, out, tuple(settings or ()), cache, device, threads)
        return
    with busy("Loading"):
        from lisa_micro_finetune.start import start

    start(config, out, tuple(settings or ()), cache, device, threads)


def _submit(config: Path, out: Path | None, settings: tuple[str, ...], cache: Path, device: str, threads: int) -> None:
    """Submit the run; a job on this machine is waited for, one of a cluster is not."""
    with busy("Submitting"):
        from lisa_micro_finetune.cluster.submit import submit, wait

        job, cluster = submit(config, out, settings, cache, device, threads)
    print(f"submitted job {job.job_id} ({cluster.executor}); its log is {job.paths.stdout}", flush=True)
    if cluster.executor == "local":
        with busy("Training"):
            wait(job)
        print(f"job {job.job_id} is finished")
