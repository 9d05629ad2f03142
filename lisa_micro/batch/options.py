"""Options of a batch, and the engine they describe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from lisa_micro.batch.engines.base import Engine
from lisa_micro.batch.items import Pages
from lisa_micro.batch.job import AssistantSource, Job, Reading
from lisa_micro.extras import require
from lisa_micro.types import InputError

EngineName: TypeAlias = Literal["serial", "processes", "dask"]
OverlayChoice: TypeAlias = Literal["none", "some", "all"]


@dataclass(frozen=True)
class EngineOptions:
    """How much of which machine is used.

    Attributes:
        workers: number of worker processes or SLURM jobs; ``None``: as many as cores and memory allow.
        threads: threads of each model; ``None``: the cores are shared out (``dask``: 1).
        memory_gb: memory of each worker in GB; ``None``: the available memory is shared out.
        scheduler: address of a dask scheduler.
        slurm: YAML file that describes SLURM jobs.
    """

    workers: int | None = None
    threads: int | None = None
    memory_gb: float | None = None
    scheduler: str | None = None
    slurm: str | Path | None = None


@dataclass(frozen=True)
class BatchOptions:
    """Options of :func:`lisa_micro.batch`.

    Attributes:
        reading: how each image is read and segmented.
        pages: ``"all"`` pages of a stack, or the ``"first"``.
        engine: how much of which machine is used.
        overlays: for which images overlays are drawn: ``"none"``, ``"some"`` (24, spread evenly) or ``"all"``.
        group_by: see :func:`lisa_micro.batch.groups.parse_groups`.
        limit: number of images, the first ones of the list; ``None``: all.
        resume: whether a run in the same folder is continued.
        retry_failed: whether images that failed are tried again; implies ``resume``.
        report: whether statistics and the report are made.

    Raises:
        InputError: a choice that does not exist, or a limit that is not positive.
    """

    reading: Reading = field(default_factory=Reading)
    pages: Pages = "all"
    engine: EngineOptions = field(default_factory=EngineOptions)
    overlays: OverlayChoice = "some"
    group_by: str | None = None
    limit: int | None = None
    resume: bool = False
    retry_failed: bool = False
    report: bool = True

    def __post_init__(self) -> None:
        if self.pages not in get_args(Pages):
            raise InputError(f"Unknown choice of pages {self.pages!r}; choose all or first.")
        if self.overlays not in get_args(OverlayChoice):
            raise InputError(f"Unknown choice of overlays {self.overlays!r}; choose none, some or all.")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"The limit must be at least 1, not {self.limit}.")


def make_engine(name: str, source: AssistantSource, job: Job, options: EngineOptions) -> Engine:
    """The engine of a name.

    Raises:
        InputError: there is none of this name, an option does not apply to it, or a package is missing.
    """
    if name not in get_args(EngineName):
        raise InputError(f"Unknown engine {name!r}; choose serial, processes or dask.")
    if name != "dask" and (options.scheduler or options.slurm):
        raise InputError(f"--scheduler and --slurm belong to the engine dask, not to {name}.")
    if options.scheduler and options.slurm:
        raise InputError("Give --scheduler or --slurm, not both.")
    for what, value in (("workers", options.workers), ("threads", options.threads), ("memory", options.memory_gb)):
        if value is not None and not value > 0:
            raise InputError(f"The number of {what} must be positive, not {value}.")
    memory = None if options.memory_gb is None else int(options.memory_gb * 1e9)
    if name == "serial":
        from lisa_micro.batch.engines.serial import SerialEngine

        return SerialEngine(source, job, options.threads)
    if name == "processes":
        from lisa_micro.batch.engines.processes import ProcessEngine

        return ProcessEngine(source, job, options.workers, options.threads, memory)
    require("The engine dask", "distributed", *(["dask_jobqueue"] if options.slurm else []))
    from lisa_micro.batch.engines.distributed import DaskEngine, DaskSettings
    from lisa_micro.batch.engines.slurm import read_slurm

    slurm = None if options.slurm is None else read_slurm(options.slurm)
    threads = options.threads or (None if slurm is None else max(1, slurm.cores // slurm.processes))
    return DaskEngine(source, job, DaskSettings(options.scheduler, slurm, options.workers, threads, memory))
