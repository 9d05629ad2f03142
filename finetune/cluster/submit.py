"""Submit a training run to a cluster."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro.extras import require
from lisa_micro.types import InputError
from lisa_micro_finetune.cluster.settings import ClusterSettings
from lisa_micro_finetune.start import find_config, run_folder

if TYPE_CHECKING:
    from submitit import Executor, Job

JOBS = "jobs"
"""Folder in the folder of a run for the files of its jobs: logs, submission scripts, pickled arguments."""


def submit(
    config: Path,
    out: Path | None = None,
    settings: Sequence[str] = (),
    cache: Path = Path("runs/cache"),
    device: str = "auto",
    threads: int = 0,
) -> tuple[Job[str], ClusterSettings]:
    """Submit a run as a job, as its block ``submitit`` says; the configuration is validated first.

    Args:
        config, out, settings, cache, device, threads: as for :func:`lisa_micro_finetune.start.start`. The folders must
            be on a file system that the cluster's machines share.

    Returns:
        the job, whose ``result()`` waits for its end, and its settings.

    Raises:
        InputError: an invalid configuration, several processes for a stage that trains in one, a missing package, or
            a scheduler that is missing or refuses the job.
    """
    require("--submitit", "submitit")
    from lisa_micro_finetune.config import load_cluster, load_config

    path = find_config(config)
    stage, cluster = load_config(path, settings), load_cluster(path, settings)
    processes = cluster.nodes * cluster.tasks
    if processes > 1 and stage.stage != "adapt":
        raise InputError(
            f"The stage {stage.stage} trains in one process, not {processes}; set submitit.tasks_per_node=1."
        )
    folder = run_folder(path, out).resolve()
    executor = _executor(cluster, folder / JOBS)

    from lisa_micro_finetune.cluster.job import TrainingJob

    job = TrainingJob(
        path.resolve(),
        folder,
        tuple(settings),
        cache.resolve(),
        device,
        threads,
        patience=cluster.signal_delay_s / 2,
    )
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        # submitit repeats what sbatch complains of, which the error says
        with contextlib.redirect_stderr(io.StringIO()):
            return executor.submit(job), cluster
    except (FailedJobError, FailedSubmissionError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"The scheduler refused the job: {reason[-1].removeprefix('sbatch: error: ')}") from error


def wait(job: Job[str]) -> None:
    """Wait for the end of a job.

    Raises:
        InputError: the job failed; the sentence ends with its last error.
    """
    from submitit.core.utils import UncompletedJobError

    try:
        job.results()
    except UncompletedJobError as error:
        # submitit puts the traceback between two lines of dashes
        trace = re.search(r"^-{3,}\n(.*)\n-{3,}$", str(error), re.DOTALL | re.MULTILINE)
        lines = trace[1].strip().splitlines() if trace else ["it ended without a result"]
        reason = lines[-1].strip().rstrip(".")
        raise InputError(f"Job {job.job_id} failed: {reason}. Its log is {job.paths.stderr}.") from error


def _executor(cluster: ClusterSettings, folder: Path) -> Executor:
    from submitit import LocalExecutor, SlurmExecutor

    if cluster.executor == "local":
        local = LocalExecutor(folder, max_num_timeout=cluster.requeues)
        local.update_parameters(**cluster.local_parameters())
        return local
    try:
        slurm = SlurmExecutor(folder, max_num_timeout=cluster.requeues)
    except RuntimeError as error:
        raise InputError(
            "There is no SLURM on this machine (no command srun); submit from a login node of the cluster, or set "
            "submitit.executor=local."
        ) from error
    slurm.update_parameters(**cluster.slurm_parameters())
    return slurm
