"""The schedule of a training run: one set of settings for all stages."""

from __future__ import annotations

import math

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator


def _named(name: str, former: str) -> AliasChoices:
    """Accept a setting under its name and under the name that earlier versions used."""
    return AliasChoices(name, former)


class Schedule(BaseModel):
    """Settings of the training loop. Intervals count steps, ``save_every`` counts seconds.

    Attributes:
        steps: number of optimiser steps.
        batch_size: examples per step, over all processes.
        accumulate: number of pieces into which each process divides its part of a batch.
        lr: peak learning rate.
        warmup: steps of linear warm-up.
        min_lr_ratio: learning rate at the end over the peak learning rate (cosine decay between them).
        weight_decay: AdamW's weight decay.
        betas: AdamW's decay rates.
        clip_norm: largest norm of the gradients; larger gradients are scaled down.
        ema_decay: decay of the exponential moving average of the weights, which is evaluated and exported; 0 turns
            averaging off.
        validate_every: steps between two validations.
        patience: validations without improvement after which the run stops.
        save_every: seconds between two checkpoints.
        log_every: steps between two lines of the log.
        workers: processes that prepare batches ahead.
        seed: seed of all random numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulate: int = Field(1, gt=0)
    lr: float = Field(1e-3, gt=0)
    warmup: int = Field(50, ge=0)
    min_lr_ratio: float = Field(0.01, ge=0, le=1, validation_alias=_named("min_lr_ratio", "final"))
    weight_decay: float = Field(0.01, ge=0, validation_alias=_named("weight_decay", "decay"))
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = Field(1.0, gt=0, validation_alias=_named("clip_norm", "clip"))
    ema_decay: float = Field(0.995, ge=0, lt=1, validation_alias=_named("ema_decay", "average"))
    validate_every: int = Field(25, gt=0)
    patience: int = Field(6, gt=0)
    save_every: float = Field(180.0, ge=0)
    log_every: int = Field(20, gt=0)
    workers: int = Field(1, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _check_pieces(self) -> Schedule:
        if self.accumulate > self.batch_size:
            raise ValueError("accumulate cannot exceed batch_size: a piece of a batch would be empty")
        return self

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear warm-up, then cosine decay."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return self.lr * (self.min_lr_ratio + (1 - self.min_lr_ratio) * cosine)
