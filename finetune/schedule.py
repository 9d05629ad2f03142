"""The schedule of a stage, as its configuration gives it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Schedule(BaseModel):
    """See :class:`finetune.loop.LoopConfig`."""

    model_config = ConfigDict(extra="forbid")
    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    warmup: int = 50
    final: float = 0.01
    decay: float = 0.01
    clip: float = 1.0
    average: float = Field(0.995, ge=0, lt=1)
    save_every: float = 180.0
    log_every: int = 20
    workers: int = 1
    seed: int = 0
