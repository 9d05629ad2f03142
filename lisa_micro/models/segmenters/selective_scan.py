"""The selective scan of state space models (Gu and Dao, "Mamba", arXiv 2312.00752) in plain PyTorch.

For each channel d and state n, over the positions t of a sequence::

    h[t] = exp(delta[t] A) h[t-1] + delta[t] B[t] u[t]        y[t] = sum over n of C[t] h[t] + D u[t]

Sequences lie along axis 1 and channels last, so that the steps of all channels are contiguous in memory. On a GPU the
kernel of ``mamba_ssm`` is used if that package is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


class LinearScan(torch.autograd.Function):
    """``h[t] = decay[t] h[t-1] + drive[t]`` along axis 1, starting from h = 0.

    The sequence is cut into about sqrt(L) chunks of sqrt(L) positions. All chunks are scanned at once, each from zero;
    then the last states are propagated from chunk to chunk; then each chunk adds the state that it received, times the
    decay since. This takes 2 sqrt(L) steps instead of L, with the same sums in another order and without quotients of
    decays, which could overflow. The gradient is the same scan in reverse, so only the result is stored.
    """

    @staticmethod
    def forward(ctx, decay: Tensor, drive: Tensor) -> Tensor:
        """``(B, L, ...)`` twice -> ``(B, L, ...)``."""
        states = scan(decay, drive)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        """d drive[t] = g[t] = grad[t] + decay[t+1] g[t+1], and d decay[t] = g[t] h[t-1]."""
        decay, states = ctx.saved_tensors
        later = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], dim=1)
        g = scan(later, grad.contiguous(), backwards=True)
        before = torch.zeros_like(states)
        torch.mul(g[:, 1:], states[:, :-1], out=before[:, 1:])
        return before, g


def linear_scan(decay: Tensor, drive: Tensor) -> Tensor:
    """Linear scan with gradient; see :class:`LinearScan`."""
    return LinearScan.apply(decay, drive)


@torch.no_grad()
def scan(decay: Tensor, drive: Tensor, backwards: bool = False) -> Tensor:
    """Linear scan without gradient; with ``backwards``, ``h[t] = decay[t] h[t+1] + drive[t]``."""
    batch, length = drive.shape[:2]
    size = max(1, math.isqrt(max(0, length - 1)) + 1)
    count = -(-length // size)
    filling = (0, 0) * (drive.ndim - 2) + (0, count * size - length)
    # (B, count, size, R); the padding has neither drive nor decay
    a = F.pad(decay, filling).view(batch, count, size, -1)
    states = F.pad(drive, filling).view(batch, count, size, -1)
    if states.data_ptr() == drive.data_ptr():
        states = states.clone()
    kept = torch.empty_like(a)
    order = range(size - 1, -1, -1) if backwards else range(size)
    previous = None
    for t in order:
        if previous is None:
            kept[:, :, t] = a[:, :, t]
        else:
            states[:, :, t].addcmul_(a[:, :, t], states[:, :, previous])
            torch.mul(a[:, :, t], kept[:, :, previous], out=kept[:, :, t])
        previous = t
    received = torch.zeros_like(states[:, :, 0])  # (B, count, R): the state that each chunk starts from
    chunks = range(count - 1, -1, -1) if backwards else range(count)
    last, before = order[-1], None
    for k in chunks:
        if before is not None:
            torch.addcmul(states[:, before, last], kept[:, before, last], received[:, before], out=received[:, k])
        before = k
    states.addcmul_(kept, received[:, :, None])
    return states.view(batch, count * size, *drive.shape[2:])[:, :length]


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The selective scan, as defined at the top of this module. G groups of D / G channels share B and C.

    Args:
        u: ``(batch, L, D)`` input.
        delta: ``(batch, L, D)`` step sizes, positive.
        a: ``(D, N)`` negative.
        b, c: ``(batch, L, G, N)``.
        d: ``(D,)``.

    Returns:
        ``(batch, L, D)`` float32 (float64 for float64).
    """
    u, delta, a, b, c, d = (
        x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in (u, delta, a, b, c, d)
    )
    kernel = gpu_kernel() if u.is_cuda else None
    if kernel is not None:
        return by_kernel(kernel, u, delta, a, b, c, d)
    groups = b.shape[2]
    decay = torch.exp(delta[..., None] * a)  # (batch, L, D, N)
    drive = (delta * u).unflatten(2, (groups, -1))[..., None] * b[:, :, :, None]  # (batch, L, G, D / G, N)
    states = linear_scan(decay, drive.flatten(2, 3))
    y = (states.unflatten(2, (groups, -1)) * c[:, :, :, None]).sum(-1).flatten(2)
    return y + d * u


def plain_selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """:func:`selective_scan` position by position, following its definition: slow, for tests."""
    repeat = u.shape[2] // b.shape[2]
    b, c = b.repeat_interleave(repeat, dim=2), c.repeat_interleave(repeat, dim=2)  # (batch, L, D, N)
    state, out = torch.zeros_like(b[:, 0]), []
    for t in range(u.shape[1]):
        step = delta[:, t, :, None]
        state = torch.exp(step * a) * state + step * b[:, t] * u[:, t, :, None]
        out.append((state * c[:, t]).sum(-1) + d * u[:, t])
    return torch.stack(out, dim=1)


@cache
def gpu_kernel() -> Callable[..., Tensor] | None:
    """``selective_scan_fn`` of mamba_ssm, or ``None`` if it is not installed or not usable (it is built for one version
    of torch and CUDA)."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except (ImportError, OSError):
        return None
    return selective_scan_fn


def by_kernel(
    kernel: Callable[..., Tensor], u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Tensor:
    """:func:`selective_scan` with mamba_ssm, which has sequences last: u and delta ``(batch, D, L)``, B and C
    ``(batch, G, N, L)``."""
    u, delta = (x.transpose(1, 2).contiguous() for x in (u, delta))
    b, c = (x.permute(0, 2, 3, 1).contiguous() for x in (b, c))
    return kernel(u, delta, a, b, c, d, None, None, False).transpose(1, 2)
