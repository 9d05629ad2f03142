"""What DeAOT remembers of a video, and who is in which bank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lisa_micro.models.trackers.deaot.lstt import Memory
from lisa_micro.models.trackers.deaot.network import DeAOT

LEAST_SURE = 1e-5
"""Probabilities of merged banks stay this far from 0 and 1."""


class LongTermMemory(Sequence):
    """Frames that are kept for good, ``limit`` at most. As a sequence: all of them one after another, an entry a layer.

    When it is full, the oldest frame goes that nobody labelled; where all were, the oldest but the first.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.frames: list[tuple[bool, list[Memory]]] = []

    def __len__(self) -> int:
        return len(self.frames[0][1]) if self.frames else 0

    def __getitem__(self, layer: int) -> Memory:
        # Joined each time anew: that is little beside the attention to it, and to keep it would take the memory twice.
        # The order of the frames does not matter to attention.
        keys, values = zip(*(memories[layer] for _, memories in self.frames), strict=True)
        return Memory(torch.cat(keys, dim=1), torch.cat(values, dim=1))

    def add(self, memories: list[Memory], labelled: bool) -> None:
        """Keep a frame: its memory, one a layer, and whether somebody labelled it."""
        self.frames.append((labelled, memories))
        self.shrink(self.limit)

    def shrink(self, limit: int) -> None:
        """Keep ``limit`` frames at most from now on."""
        self.limit = limit
        while len(self.frames) > limit:
            tracked = [k for k, (labelled, _) in enumerate(self.frames) if not labelled]
            # the newest is never the one to go where all are labelled: it may hold what no other frame holds
            del self.frames[tracked[0] if tracked else min(1, limit - 1)]


class Bank:
    """Memories of the identities of one bank, which the network can tell apart.

    Args:
        network: shared by all banks. gap: frames between two that are kept for good. limit: how many are.
    """

    def __init__(self, network: DeAOT, gap: int, limit: int):
        self.network, self.gap = network, gap
        self.long_term = LongTermMemory(limit)
        self.short_term: list[Memory] = []
        self._last_kept = 0
        self._seen = None

    def refer(self, features: list[Tensor], one_hot: Tensor, time: int) -> None:
        """Learn from a labelled frame, ``(1, 1 + objects, H, W)``, number ``time`` of the video."""
        id_emb = self.network.identify(one_hot)
        _, seen = self.network.propagate(features, id_emb)
        self.short_term = self.network.LSTT.remember(seen, id_emb)
        self.long_term.add(self.short_term, labelled=True)
        self._last_kept = time

    def follow(self, features: list[Tensor], used: int) -> Tensor:
        """Logits ``(1, 1 + objects, h, w)`` of the next frame, of which ``used`` identities may be there."""
        tokens, self._seen = self.network.propagate(features, None, self.long_term, self.short_term)
        return self.network.decode(tokens, features, used)

    def remember(self, one_hot: Tensor, time: int) -> None:
        """Who was where in the frame that was followed to last."""
        self.short_term = self.network.LSTT.remember(self._seen, self.network.identify(one_hot))
        if time - self._last_kept >= self.gap:
            self.long_term.add(self.short_term, labelled=False)
            self._last_kept = time


def merge_banks(logits: Iterable[Tensor]) -> Tensor:
    """The most probable identity of each pixel, over all banks.

    Each bank knows its own identities, and takes those of the others for background. The probability of the
    background is the product of the banks' own, that of an identity is its own bank's; all are held between
    :data:`LEAST_SURE` and 1 - :data:`LEAST_SURE`. With one bank its logits decide.

    Args:
        logits: ``(1 + objects, H, W)`` a bank, background first; one is held at a time.

    Returns:
        ``(H, W)`` int64: 0 = background, else the identity's number: those of the first bank from 1 on, then those of
        the second, ...
    """
    first, background, best, winner, offset = None, 1.0, None, None, 0
    for k, bank in enumerate(logits):
        first = bank if k == 0 else None
        probability = bank.softmax(0)
        background = background * probability[0]
        top, index = probability[1:].clamp(LEAST_SURE, 1 - LEAST_SURE).max(0)
        index = index + 1 + offset
        # of equals the earlier one wins
        winner = index if best is None else torch.where(top > best, index, winner)
        best = top if best is None else torch.maximum(top, best)
        offset += len(bank) - 1
    if first is not None:
        return first.argmax(0)
    return torch.where(best > background.clamp(LEAST_SURE, 1 - LEAST_SURE), winner, 0)
