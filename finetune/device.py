"""Where to train and in which precision."""

from __future__ import annotations

import torch

from lisa_micro.models.precision import fast_bf16


def pick_device(name: str) -> torch.device:
    """``"auto"``: the first GPU where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to run in bfloat16: as told, or where it is faster."""
    return precision == "bf16" or (precision == "auto" and fast_bf16(device))
