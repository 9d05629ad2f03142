"""Gated propagation of DeAOT: attention to long-term memory, to the previous frame, and within the frame.

A visual branch and an identification branch share one attention map: section 4 of Yang and Yang, "Decoupling Features
in Hierarchical Propagation for Video Object Segmentation", arXiv 2210.09782. With queries and keys Q = K, values V and
gates U of a frame, a layer computes

    GP(U, Q, K, V) = Linear(DepthwiseConv(U * softmax(Q K^T / sqrt(d)) V)).

Parameter names are those of the official checkpoints (yoxu515/aot-benchmark, BSD-3), which load strictly. Tokens are
``(B, N, C)`` with N = h w in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lisa_micro.models.trackers.deaot.layers import (
    DepthwiseTokens,
    DropPath,
    GroupNormTokens,
    init_xavier,
    to_grid,
    to_tokens,
)

LOGITS_AT_ONCE = 1 << 24
"""Largest number of attention logits in memory; more queries are processed in chunks."""
BAND = 8
"""Number of query rows processed together in windowed attention."""


class Memory(NamedTuple):
    """Memory of one layer for M frames: keys ``(B, M N, A)``, values of both branches ``(B, M N, 2 E)``."""

    key: Tensor
    value: Tensor


class FrameState(NamedTuple):
    """State of one layer for a frame before its labels are known: keys, values, and the normalized identification
    branch ``(B, N, D)``, which is ``None`` in the first layer."""

    key: Tensor
    value: Tensor
    identity: Tensor | None


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute single-head attention softmax(Q K^T / sqrt(A)) V.

    Args:
        query: ``(B, N, A)``.
        key: ``(B, M, A)``.
        value: ``(B, M, C)``.

    Returns:
        ``(B, N, C)``.
    """
    scale = 1 / math.sqrt(query.shape[-1])
    rows = max(1, LOGITS_AT_ONCE // (len(query) * key.shape[1]))
    parts = [torch.softmax(q @ key.transpose(1, 2), dim=-1) @ value for q in (query * scale).split(rows, dim=1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def attend_window(
    query: Tensor, key: Tensor, value: Tensor, relative: Tensor, size: tuple[int, int], window: int
) -> Tensor:
    """Single-head attention of each token to the ``window`` x ``window`` tokens around it.

    Args:
        query, key: ``(B, N, A)``.
        value: ``(B, N, C)``.
        relative: ``(B, N, window window)`` relative position bias of the logits. Entry (dy + r) window + dx + r belongs
            to the token dy rows below and dx columns to the right, with r = window // 2.
        size: h, w of the grid.
        window: side of the window, odd.

    Returns:
        ``(B, N, C)``.
    """
    height, width = size
    reach, scale = window // 2, 1 / math.sqrt(query.shape[-1])
    column = torch.arange(width, device=query.device)
    parts = []
    for top in range(0, height, BAND):
        bottom = min(height, top + BAND)
        first, last = max(0, top - reach), min(height, bottom + reach)
        mine = slice(top * width, bottom * width)
        theirs = slice(first * width, last * width)
        dy = torch.arange(first, last, device=query.device) - torch.arange(top, bottom, device=query.device)[:, None]
        dx = column - column[:, None]
        # (rows, columns) of the query, (rows, columns) of the key
        dy, dx = dy[:, None, :, None], dx[None, :, None, :]
        inside = ((dy.abs() <= reach) & (dx.abs() <= reach)).reshape(mine.stop - mine.start, -1)
        index = (dy.clamp(-reach, reach) + reach) * window + dx.clamp(-reach, reach) + reach
        index = index.reshape(1, *inside.shape).expand(len(query), -1, -1)
        logits = (query[:, mine] * scale) @ key[:, theirs].transpose(1, 2) + relative[:, mine].gather(2, index)
        parts.append(torch.softmax(logits.masked_fill(~inside, -torch.inf), dim=-1) @ value[:, theirs])
    return torch.cat(parts, dim=1)


class GatedPropagation(nn.Module):
    """Gates and filters attended values and projects them to the channels of both branches.

    Args:
        dim: channels D of a branch.
        expansion: value channels E of a branch.
        dropout: channel dropout.
    """

    def __init__(self, dim: int, expansion: int, dropout: float):
        super().__init__()
        self.dw_conv = DepthwiseTokens(2 * expansion, dropout)
        self.projection = nn.Linear(2 * expansion, 2 * dim)

    def propagate(self, attended: Tensor, gate: Tensor, size: tuple[int, int]) -> Tensor:
        """Combine attended values and gates, ``(B, N, 2 E)`` each, to ``(B, N, 2 D)``."""
        return self.projection(self.dw_conv(attended * gate, size))


class LongTermPropagation(GatedPropagation):
    """Propagation from all tokens of all frames in the long-term memory."""

    def forward(self, query: Tensor, memory: Memory, gate: Tensor, size: tuple[int, int]) -> Tensor:
        return self.propagate(attend(query, memory.key, memory.value), gate, size)


class ShortTermPropagation(GatedPropagation):
    """Propagation from neighbouring tokens of the previous frame, with a relative position bias."""

    def __init__(self, dim: int, attention: int, expansion: int, dropout: float, window: int):
        super().__init__(dim, expansion, dropout)
        self.window = window
        self.relative_emb_k = nn.Conv2d(attention, window * window, 1)

    def forward(self, query: Tensor, memory: Memory, gate: Tensor, size: tuple[int, int]) -> Tensor:
        relative = to_tokens(self.relative_emb_k(to_grid(query, size)))
        attended = attend_window(query, memory.key, memory.value, relative, size, self.window)
        return self.propagate(attended, gate, size)


class SelfPropagation(GatedPropagation):
    """Propagation within the frame: keys from both branches together, values and gates from each branch."""

    def __init__(self, dim: int, attention: int, expansion: int, dropout: float):
        super().__init__(dim, expansion, dropout)
        self.linear_QK = nn.Linear(2 * dim, attention)
        self.linear_V1 = nn.Linear(dim, expansion)
        self.linear_V2 = nn.Linear(dim, expansion)
        self.linear_U1 = nn.Linear(dim, expansion)
        self.linear_U2 = nn.Linear(dim, expansion)

    def forward(self, visual: Tensor, identity: Tensor, size: tuple[int, int]) -> Tensor:
        key = self.linear_QK(torch.cat([visual, identity], dim=-1))
        value = F.silu(torch.cat([self.linear_V1(visual), self.linear_V2(identity)], dim=-1))
        gate = F.silu(torch.cat([self.linear_U1(visual), self.linear_U2(identity)], dim=-1))
        return self.propagate(attend(key, key, value), gate, size)


class GatedPropagationLayer(nn.Module):
    """One gated propagation layer.

    Args:
        first: whether this is the first layer, in which the identification branch is empty. The other arguments are
            fields of :class:`lisa_micro.models.trackers.deaot.config.DeaotConfig`.
    """

    def __init__(
        self, first: bool, dim: int, attention: int, expansion: int, window: int, drop_path: float, drop_channel: float
    ):
        super().__init__()
        self.sizes = (attention, expansion)
        self.norm1 = nn.LayerNorm(dim)
        self.linear_QV = nn.Linear(dim, attention + expansion)
        self.linear_U = nn.Linear(dim, expansion)
        if first:
            self.linear_ID_V = nn.Linear(dim, expansion)
        else:
            self.id_norm1 = nn.LayerNorm(dim)
            self.linear_ID_V = nn.Linear(2 * dim, expansion)
            self.linear_ID_U = nn.Linear(dim, expansion)
        self.long_term_attn = LongTermPropagation(dim, expansion, drop_channel)
        self.short_term_attn = ShortTermPropagation(dim, attention, expansion, drop_channel, window)
        self.norm2 = nn.LayerNorm(dim)
        self.id_norm2 = nn.LayerNorm(dim)
        self.self_attn = SelfPropagation(dim, attention, expansion, drop_channel)
        self.droppath = DropPath(drop_path)
        init_xavier(self)

    def remember(self, state: FrameState, id_emb: Tensor) -> Memory:
        """Combine the state of a frame with its label embedding ``(B, N, D)`` to the memory of that frame."""
        given = id_emb if state.identity is None else torch.cat([state.identity, id_emb], dim=-1)
        return Memory(state.key, torch.cat([state.value, F.silu(self.linear_ID_V(given))], dim=-1))

    def forward(
        self,
        visual: Tensor,
        identity: Tensor | None,
        size: tuple[int, int],
        id_emb: Tensor | None,
        long_term: Memory | None,
        short_term: Memory | None,
    ) -> tuple[Tensor, Tensor, FrameState]:
        """Apply the layer.

        Either ``id_emb`` is given, for a reference frame, which then attends to itself, or both memories are.

        Returns:
            the visual and the identification branch, ``(B, N, D)`` each, and the state of the frame.
        """
        normed = self.norm1(visual)
        key, value = self.linear_QV(normed).split(self.sizes, dim=-1)
        gate = F.silu(self.linear_U(normed))
        if identity is None:
            state = FrameState(key, F.silu(value), None)
            gate = torch.cat([gate, torch.ones_like(gate)], dim=-1)
        else:
            state = FrameState(key, F.silu(value), self.id_norm1(identity))
            gate = torch.cat([gate, F.silu(self.linear_ID_U(state.identity))], dim=-1)
        if id_emb is not None:
            long_term = short_term = self.remember(state, id_emb)
        moved = self.long_term_attn(key, long_term, gate, size) + self.short_term_attn(key, short_term, gate, size)
        for_visual, for_identity = moved.chunk(2, dim=-1)
        visual = visual + for_visual
        identity = for_identity if identity is None else identity + for_identity
        moved = self.self_attn(self.norm2(visual), self.id_norm2(identity), size)
        for_visual, for_identity = moved.chunk(2, dim=-1)
        return visual + self.droppath(for_visual), identity + self.droppath(for_identity), state


class LongShortTermPropagation(nn.Module):
    """Stack of gated propagation layers.

    Args:
        layers: number of layers. The other arguments are fields of
            :class:`lisa_micro.models.trackers.deaot.config.DeaotConfig`.
    """

    def __init__(
        self,
        layers: int,
        dim: int,
        attention: int,
        expansion: int,
        window: int,
        drop_path: float,
        drop_channel: float,
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            GatedPropagationLayer(k == 0, dim, attention, expansion, window, drop_path, drop_channel)
            for k in range(layers)
        )
        # a list of one, to match the names in the checkpoints
        self.decoder_norms = nn.ModuleList([GroupNormTokens(2, 2 * dim)])

    def forward(
        self,
        visual: Tensor,
        size: tuple[int, int],
        id_emb: Tensor | None = None,
        long_term: Sequence[Memory] | None = None,
        short_term: Sequence[Memory] | None = None,
    ) -> tuple[Tensor, list[FrameState]]:
        """Apply all layers to ``(B, N, D)`` visual tokens; see :meth:`GatedPropagationLayer.forward`.

        Returns:
            both branches of the last layer, normalized, ``(B, N, 2 D)``, and the state of the frame in each layer.
        """
        identity, states = None, []
        for k, layer in enumerate(self.layers):
            memories = (None, None) if id_emb is not None else (long_term[k], short_term[k])
            visual, identity, state = layer(visual, identity, size, id_emb, *memories)
            states.append(state)
        return self.decoder_norms[0](torch.cat([visual, identity], dim=-1)), states

    def remember(self, states: list[FrameState], id_emb: Tensor) -> list[Memory]:
        """Return the memory of a frame, one entry per layer, from its states and its label embedding ``(B, N, D)``."""
        return [layer.remember(state, id_emb) for layer, state in zip(self.layers, states, strict=True)]
