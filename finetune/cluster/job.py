"""A training run as a job that submitit can interrupt and start again."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lisa_micro_finetune.interruption import INTERRUPTION
from lisa_micro_finetune.start import start

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


REQUEUED_IN = 15.0
"""Seconds after which the main process has surely requeued an interrupted job."""


@dataclass(frozen=True)
class TrainingJob:
    """Arguments of :func:`lisa_micro_finetune.start.start`; the object is pickled into the job.

    Attributes:
        config, out, settings, cache, device, threads: as there.
        patience: seconds after a signal at which the job ends although no step has ended.
    """

    config: Path
    out: Path
    settings: tuple[str, ...]
    cache: Path
    device: str
    threads: int
    patience: float

    def __call__(self) -> str:
        """Train, from the last checkpoint in ``out`` if there is one; return ``out``."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        environment = JobEnvironment()
        if environment.num_tasks > 1:
            # accelerate chooses the GPU by the local rank, so that every process must see all of them
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        number = environment._usr_sig()
        requeue = signal.getsignal(number)
        if callable(requeue):
            handler = requeue if environment.global_rank == 0 else _wait_for_the_end
            INTERRUPTION.postpone(number, handler, self.patience)
        return str(start(self.config, self.out, self.settings, self.cache, self.device, self.threads))

    def checkpoint(self) -> DelayedSubmission:
        """Return what the next job runs: the same, since the folder of the run holds the checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _wait_for_the_end(*_: object) -> None:
    """End this process after the main one has requeued the job: ending it at once could end the main one before."""
    time.sleep(REQUEUED_IN)
    # not sys.exit: the process group of torch would wait for the main process
    os._exit(0)
