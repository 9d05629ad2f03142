"""The reply language's tokens, added to a language model without touching its vocabulary.

The rows of the new tokens live in a small matrix of their own, used for reading and, as in the base model with its
tied embeddings, for writing. So the base model stays as it is on disk, and what is learnt is a few kilobytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

FEW = 4096
"""Number of tokens from which on the logits of all tokens are computed in place of theirs."""


def add_special_tokens(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> list[int]:
    """Add the reply language's tokens as single tokens; returns their ids, which follow the vocabulary's last."""
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(t, lstrip=True, normalized=False) for t in tokens])
    return [tokenizer.convert_tokens_to_ids(t) for t in tokens]


class NewTokens(nn.Module):
    """Rows of the new tokens, ids ``first, first + 1, ...``."""

    def __init__(self, count: int, hidden: int, first: int):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(count, hidden))
        self.first = first

    @torch.no_grad()
    def start_from(self, base: Tensor) -> None:
        """Begin at the mean of the base model's rows, with a little noise to tell the tokens apart."""
        rows = base.float()
        noise = torch.randn(self.rows.shape, generator=torch.Generator().manual_seed(0))
        self.rows.copy_(rows.mean(0) + 0.5 * rows.std(0) * noise)

    def embed(self, ids: Tensor, base: nn.Embedding) -> Tensor:
        """Token ids of any shape -> embeddings ``(..., hidden)`` in the base model's precision."""
        known = ids.clamp(max=self.first - 1)
        new = (ids - self.first).clamp(min=0)
        old_rows = base(known)
        new_rows = self.rows.to(old_rows.dtype)[new]
        return torch.where((ids >= self.first).unsqueeze(-1), new_rows, old_rows)

    def logits(self, hidden: Tensor, head: nn.Module) -> Tensor:
        """Hidden states ``(..., hidden)`` -> logits over vocabulary and new tokens, float32."""
        old = head(hidden)[..., : self.first]
        return torch.cat([old.float(), (hidden @ self.rows.to(hidden.dtype).T).float()], -1)

    def logits_among(self, hidden: Tensor, head: nn.Module, ids: Tensor) -> Tensor:
        """Hidden state ``(hidden,)`` -> logits ``(N,)`` of N tokens, float32; of a few tokens without reading the rows
        of all the others."""
        if len(ids) > FEW or not isinstance(head.weight, Tensor) or not head.weight.is_floating_point():
            return self.logits(hidden, head)[ids]
        old_rows = head.weight[ids.clamp(max=self.first - 1)]
        new_rows = self.rows.to(old_rows.dtype)[(ids - self.first).clamp(min=0)]
        rows = torch.where((ids >= self.first).unsqueeze(-1), new_rows, old_rows)
        return (rows @ hidden.to(rows.dtype)).float()
