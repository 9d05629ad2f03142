"""Which precision a device is fast in."""

from __future__ import annotations

import torch


def fast_bf16(device: torch.device | str = "cpu") -> bool:
    """True for GPUs, and for CPUs with matrix units for bfloat16 (AMX); elsewhere bfloat16 is emulated and slower
    than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    check = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(check and check())
