"""Memory of DeAOT: long- and short-term memory of each bank of objects, and the merging of banks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lisa_micro.models.trackers.deaot.lstt import FrameState, Memory
from lisa_micro.models.trackers.deaot.network import DeAOT

LEAST_PROBABILITY = 1e-5
"""Probabilities are clamped to this distance from 0 and 1 before banks are merged."""


class LongTermMemory(Sequence):
    """Long-term memory of at most ``limit`` frames. As a sequence it has one entry per layer, with all frames joined.

    When it is full, the oldest unlabelled frame is removed; if all are labelled, the oldest except the first.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.frames: list[tuple[bool, list[Memory]]] = []

    def __len__(self) -> int:
        return len(self.frames[0][1]) if self.frames else 0

    def __getitem__(self, layer: int) -> Memory:
        # Joined on each access: this is cheap compared with attention, and a joined copy would double the memory.
        # Attention does not depend on the order of the frames.
        keys, values = zip(*(memories[layer] for _, memories in self.frames), strict=True)
        return Memory(torch.cat(keys, dim=1), torch.cat(values, dim=1))

    def add(self, memories: list[Memory], labelled: bool) -> None:
        """Add a frame: its memory, one entry per layer, and whether it was labelled."""
        self.frames.append((labelled, memories))
        self.shrink(self.limit)

    def shrink(self, limit: int) -> None:
        """Reduce the largest number of frames to ``limit``."""
        self.limit = limit
        while len(self.frames) > limit:
            tracked = [k for k, (labelled, _) in enumerate(self.frames) if not labelled]
            # if all are labelled, the newest is kept: it may have objects that no other frame has
            del self.frames[tracked[0] if tracked else min(1, limit - 1)]


class Bank:
    """Memory of one bank: as many objects as the network can tell apart.

    Args:
        network: network shared by all banks.
        gap: interval, in frames, at which a frame is added to the long-term memory.
        limit: largest number of frames in the long-term memory.
    """

    def __init__(self, network: DeAOT, gap: int, limit: int):
        self.network, self.gap = network, gap
        self.long_term = LongTermMemory(limit)
        self.short_term: list[Memory] = []
        self._last_kept = 0
        self._states: list[FrameState] = []

    def add_reference(self, features: list[Tensor], one_hot: Tensor, time: int) -> None:
        """Add a labelled frame, ``(1, 1 + objects, H, W)`` one-hot, with frame number ``time``, to both memories."""
        id_emb = self.network.identify(one_hot)
        _, states = self.network.propagate(features, id_emb)
        self.short_term = self.network.LSTT.remember(states, id_emb)
        self.long_term.add(self.short_term, labelled=True)
        self._last_kept = time

    def predict(self, features: list[Tensor], used: int) -> Tensor:
        """Return the logits ``(1, 1 + objects, h, w)`` of the next frame for the first ``used`` objects."""
        tokens, self._states = self.network.propagate(features, None, self.long_term, self.short_term)
        return self.network.decode(tokens, features, used)

    def remember(self, one_hot: Tensor, time: int) -> None:
        """Add the labels of the last predicted frame to the short-term memory, and if due to the long-term memory."""
        self.short_term = self.network.LSTT.remember(self._states, self.network.identify(one_hot))
        if time - self._last_kept >= self.gap:
            self.long_term.add(self.short_term, labelled=False)
            self._last_kept = time


def merge_banks(logits: Iterable[Tensor]) -> Tensor:
    """Return the most probable object of each pixel over all banks.

    Each bank treats the objects of the other banks as background. The probability of the background is the product over
    the banks, that of an object comes from its own bank; all are clamped to :data:`LEAST_PROBABILITY` from 0 and 1.
    With a single bank, the largest logit decides.

    Args:
        logits: ``(1 + objects, H, W)`` of each bank, background first; consumed one at a time.

    Returns:
        ``(H, W)`` int64 object numbers: 0 = background, 1, 2, ... for the first bank, continued for the next banks.
    """
    first, background, best, winner, offset = None, 1.0, None, None, 0
    for k, bank in enumerate(logits):
        first = bank if k == 0 else None
        probability = bank.softmax(0)
        background = background * probability[0]
        top, index = probability[1:].clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).max(0)
        index = index + 1 + offset
        # on ties the earlier bank wins
        winner = index if best is None else torch.where(top > best, index, winner)
        best = top if best is None else torch.maximum(top, best)
        offset += len(bank) - 1
    if first is not None:
        return first.argmax(0)
    return torch.where(best > background.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY), winner, 0)
