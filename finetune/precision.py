"""In which precision to train."""

from __future__ import annotations

import torch

from lisa_micro.models.device import fast_bf16


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to run in bfloat16: as told, or where it is faster."""
    return precision == "bf16" or (precision == "auto" and fast_bf16(device))
