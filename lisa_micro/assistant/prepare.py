"""What happens before a request is answered: prompts are bounded, micrographs are encoded and kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from lisa_micro.assistant.language_engine import Chat, KVCache, LanguageEngine
from lisa_micro.language import check_prompt
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.types import Micrograph

MAX_PROMPT_TOKENS = 800
"""Largest number of tokens of a prompt; 2000 characters of English are about 450."""
KEPT_IMAGES = 4
"""Number of micrographs whose features are kept."""

View = TypeVar("View")


@dataclass(frozen=True, eq=False)
class PreparedImage(Generic[View]):
    """An encoded micrograph.

    Attributes:
        view: what targets are segmented on.
        cache: KV cache after the image tokens; to be forked, never changed.
    """

    view: View
    cache: KVCache


class ImageCache(Generic[View]):
    """Encodes micrographs and keeps the last few of them.

    Args:
        engine: the model.
        intensities: ``(H, W)`` intensities as in the file -> float32 in 0..1, as the model takes them.
        make_view: pixels and features of a micrograph -> :attr:`PreparedImage.view`.
    """

    def __init__(
        self,
        engine: LanguageEngine,
        intensities: Callable[[np.ndarray], np.ndarray],
        make_view: Callable[[np.ndarray, ImageFeatures], View],
    ):
        self.engine, self.intensities, self._make_view = engine, intensities, make_view
        self._kept: OrderedDict[str, PreparedImage[View]] = OrderedDict()

    def prepared(self, image: Micrograph) -> PreparedImage[View]:
        """Encode a micrograph and prefill its image tokens, or take both from the cache."""
        key = hashlib.blake2b(np.ascontiguousarray(image.pixels).ravel(), digest_size=16).hexdigest()
        key += str(image.shape)
        if key not in self._kept:
            features = self.engine.encode(self.intensities(image.pixels))
            view = self._make_view(image.pixels, features)
            self._kept[key] = PreparedImage(view, self.engine.prefill_image(features))
            while len(self._kept) > KEPT_IMAGES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def readable_prompt(chat: Chat, prompt: str) -> tuple[str, tuple[str, ...]]:
    """Bound a prompt in characters and in tokens.

    Returns:
        the prompt as the model reads it, and notices about it.

    Raises:
        InputError: an empty prompt.
    """
    words, notes = check_prompt(prompt)
    short = chat.shortened(words, MAX_PROMPT_TOKENS)
    if short != words:
        notes = (*notes, f"The prompt is long; its first {len(short)} characters are used.")
    return short, notes
