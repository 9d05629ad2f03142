"""Settings of the block ``submitit`` of a configuration; ``configs/adapt.yaml`` explains every key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ClusterSettings(BaseModel):
    """How a run becomes a job.

    Attributes:
        executor: ``"slurm"``, or ``"local"`` for a job on this machine with the same time limit and restarts.
        name: name of the job.
        partition, account, qos, constraint: as those options of ``sbatch``; ``None``: the cluster's default.
        nodes: number of machines.
        tasks_per_node: processes on each; ``None``: one per GPU, or one.
        gpus_per_node: GPUs on each.
        cpus_per_task: CPU cores of each process.
        mem_gb: memory on each machine, GB; ``None``: the cluster's default.
        timeout_min: time limit of one job, minutes. The run may need several.
        signal_delay_s: seconds before the time limit at which the job is told to write a checkpoint.
        requeues: how often a job is put back in the queue after its time limit; pre-emptions do not count. The local
            executor stops after six starts.
        setup: shell commands that run before the training, such as ``module load cuda``.
        sbatch: further options of ``sbatch`` by name.
    """

    model_config = ConfigDict(extra="forbid")

    executor: Literal["slurm", "local"] = "slurm"
    name: str = "lisa-micro"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = Field(1, gt=0)
    tasks_per_node: int | None = Field(None, gt=0)
    gpus_per_node: int = Field(0, ge=0)
    cpus_per_task: int = Field(4, gt=0)
    mem_gb: float | None = Field(None, gt=0)
    timeout_min: int = Field(240, gt=0)
    signal_delay_s: int = Field(120, gt=0)
    requeues: int = Field(20, ge=0)
    setup: list[str] = []
    sbatch: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> ClusterSettings:
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise ValueError("signal_delay_s must be shorter than timeout_min")
        if self.executor == "local" and self.nodes > 1:
            raise ValueError("the local executor has one node; set nodes: 1")
        return self

    @property
    def tasks(self) -> int:
        """Processes on each machine."""
        return self.tasks_per_node or max(self.gpus_per_node, 1)

    def local_parameters(self) -> dict[str, Any]:
        """Parameters of submitit's local executor."""
        return {
            "timeout_min": self.timeout_min,
            "tasks_per_node": self.tasks,
            "gpus_per_node": self.gpus_per_node,
            "signal_delay_s": self.signal_delay_s,
            "setup": list(self.setup),
        }

    def slurm_parameters(self) -> dict[str, Any]:
        """Parameters of submitit's SLURM executor, by SLURM's names; what is ``None`` is left to the cluster."""
        parameters = {
            "job_name": self.name,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks,
            "gpus_per_node": self.gpus_per_node or None,
            "cpus_per_task": self.cpus_per_task,
            "mem": None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}M",
            "time": self.timeout_min,
            "signal_delay_s": self.signal_delay_s,
            "setup": list(self.setup) or None,
            "additional_parameters": {"requeue": True, **self.sbatch},
        }
        return {name: value for name, value in parameters.items() if value is not None}
