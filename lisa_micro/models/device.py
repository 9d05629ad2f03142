"""Choice of the device, and whether bfloat16 is fast on it."""

from __future__ import annotations

import torch

from lisa_micro.types import InputError


def pick_device(name: str) -> torch.device:
    """Find a device by name; ``"auto"`` is the first GPU if there is one, else the CPU.

    Raises:
        InputError: it cannot be used here.
    """
    try:
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {name!r} cannot be used here; try cpu.") from error
    return place


def fast_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether bfloat16 is fast: on GPUs that support it, and on CPUs with matrix units for it (AMX). Elsewhere it is
    emulated and slower than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    check = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(check and check())
