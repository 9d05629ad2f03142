"""Workers as SLURM jobs, described in a YAML file, through dask-jobqueue."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lisa_micro.types import InputError


@dataclass(frozen=True)
class SlurmSettings:
    """One SLURM job, and how many of them.

    Attributes:
        memory: memory of a job, such as ``"32GB"``.
        cores: cores of a job.
        processes: worker processes of a job; each loads one model and takes ``cores / processes`` threads.
        jobs: number of jobs.
        walltime: ``"HH:MM:SS"``. A job that reaches it ends; its items are done by others.
        queue: partition. account: to be charged.
        directives: further lines of ``#SBATCH``, such as ``"--gres=gpu:1"``.
        prologue: shell lines that run first, such as ``"module load cuda"``.
        python: interpreter of the workers; ``None``: that of the driver.
        interface: network interface, such as ``"ib0"``.
        log_directory: folder for the logs of the jobs.
    """

    memory: str
    cores: int = 1
    processes: int = 1
    jobs: int = 1
    walltime: str = "04:00:00"
    queue: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    interface: str | None = None
    log_directory: str | None = field(default=None)


def read_slurm(path: str | Path) -> SlurmSettings:
    """Read the settings from a YAML file; its keys are the attributes of :class:`SlurmSettings`.

    Raises:
        InputError: the file cannot be read, has an unknown key, lacks ``memory``, or has a value of the wrong type.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML; see docs/batch.md for an example.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold keys and values, such as 'memory: 32GB'.")
    known = {one.name: one for one in dataclasses.fields(SlurmSettings)}
    for key in content:
        if key not in known:
            raise InputError(f"{path}: unknown key {key!r}; choose one of {', '.join(known)}.")
    if "memory" not in content:
        raise InputError(f"{path} lacks 'memory', the memory of a job, such as '32GB'.")
    values: dict[str, Any] = {}
    for key, value in content.items():
        values[key] = _checked(path, key, value)
    return SlurmSettings(**values)


def _checked(path: str | Path, key: str, value: object) -> object:
    if key in ("cores", "processes", "jobs"):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{path}: {key!r} must be a whole number of at least 1, not {value!r}.")
        return value
    if key in ("directives", "prologue"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise InputError(f"{path}: {key!r} must be a list of texts.")
        return tuple(value)
    if key == "walltime" and isinstance(value, int):  # YAML reads 04:00:00 as a number in base 60
        hours, rest = divmod(value, 3600)
        return f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    if not isinstance(value, str):
        raise InputError(f"{path}: {key!r} must be a text, not {value!r}.")
    return value


def start_cluster(settings: SlurmSettings, jobs: int | None = None) -> Any:
    """Submit the jobs; the cluster of dask-jobqueue is returned at once, while they wait in the queue.

    Args:
        settings: of a job.
        jobs: instead of ``settings.jobs``.

    Raises:
        InputError: SLURM's commands are not found.
    """
    if shutil.which("sbatch") is None:
        raise InputError(
            "--slurm needs the command sbatch, which is not found; run this on a login node of the cluster."
        )
    cluster = make_cluster(settings)
    cluster.scale(jobs=jobs or settings.jobs)
    return cluster


def make_cluster(settings: SlurmSettings) -> Any:
    """The ``SLURMCluster`` of the settings, without any job yet."""
    from dask_jobqueue import SLURMCluster

    threads = max(1, settings.cores // settings.processes)
    exports = [f"export {name}={threads}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")]
    more: dict[str, Any] = {}
    if settings.python is not None:
        more["python"] = settings.python
    return SLURMCluster(
        queue=settings.queue,
        account=settings.account,
        # one dask thread for each process: the threads belong to the model
        cores=settings.processes,
        processes=settings.processes,
        job_cpu=settings.cores,
        memory=settings.memory,
        walltime=settings.walltime,
        interface=settings.interface,
        log_directory=settings.log_directory,
        job_extra_directives=list(settings.directives),
        job_script_prologue=[*exports, *settings.prologue],
        **more,
    )
