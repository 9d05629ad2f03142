"""State of the page Batch: plain typed data."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lisa_micro.batch import BatchResult
    from lisa_micro_app.jobs import Job


@dataclass
class BatchState:
    """State of the page Batch.

    Attributes:
        files: paths of the images relative to the folder ``batch/images`` of the session; a folder is a group.
        bytes: size of all of them.
        rows: rows of the table while it fills.
        job: the last run.
        result: of the last finished run; ``None`` before, and after files were added.
        lock: held while the files change.
    """

    files: list[str] = field(default_factory=list)
    bytes: int = 0
    rows: list[list[object]] = field(default_factory=list)
    job: Job[BatchResult] | None = None
    result: BatchResult | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether a run is in the queue or going on."""
        return self.job is not None and not self.job.finished

    def cancel(self) -> bool:
        """Stop the run; return whether there was one."""
        if not self.busy or self.job is None:
            return False
        self.job.cancel()
        return True
