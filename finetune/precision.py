"""Precision of training."""

from __future__ import annotations

import torch

from lisa_micro.models.device import fast_bf16


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16. ``"auto"``: if it is faster on this device."""
    return precision == "bf16" or (precision == "auto" and fast_bf16(device))
