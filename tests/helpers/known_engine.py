"""A stand-in for the model with known maps: the pixels encode them, so that the maps of a tile are exactly those of the
whole in that tile, and results can be compared with those without tiles."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from scipy.special import expit, logit

import lisa_micro as lm
from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.language_engine import KVCache, RawReply
from lisa_micro.language import DEFAULT_VOCABULARY
from lisa_micro.large_images import tiled_segmenter
from lisa_micro.models.lisa.instances import separate
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.types import Micrograph


class KnownEngine:
    """A known model. A pixel of 0 is background; inside a particle a pixel is 0.4 + 0.6 of the distance to its
    edge over the largest such distance. Words are answered with ``reply``."""

    def __init__(self, reply: str, presence: float = 0.99):
        self.reply, self.presence = reply, presence
        config = SimpleNamespace(work_side=128, presence_threshold={}, mask_threshold={}, confidence=None)
        self.model = SimpleNamespace(config=config, exemplar_encoder=None, concept_head=None)
        self.vocabulary, self.code_names = DEFAULT_VOCABULARY, DEFAULT_VOCABULARY.names
        self.chat = SimpleNamespace(shortened=lambda words, most: words)
        self.device, self.measuring_errors = torch.device("cpu"), {}
        self.prefilled = 0
        self.seen: list[tuple[int, int]] = []

    def encode(self, pixels, tokens=True):
        self.prefilled += tokens
        self.seen.append(pixels.shape)
        return SimpleNamespace(pixels=pixels, shape=pixels.shape, work=pixels.shape)

    def prefill_image(self, features):
        return KVCache(None)

    def generate(self, cache, text, first):
        return RawReply(self.reply, [], torch.zeros(self.reply.count("[SEG]"), 4)), 0

    def concept_states(self, cache, concepts):
        return torch.zeros(len(concepts), 4)

    def nearest_concept(self, states):
        return [0] * len(states)

    def _outputs(self, pixels, n):
        mask = np.where(pixels > 0.2, 0.999, 0.001)
        distance = np.clip((pixels - 0.4) / 0.6, 0.001, 0.999)
        maps = [torch.tensor(logit(m)).float()[None].expand(n, -1, -1) for m in (mask, distance, 0 * mask + 0.001)]
        return MaskOutputs(*maps, torch.full((n,), 3.0), torch.full((n,), float(logit(self.presence))))

    def decode_words(self, features, states):
        return self._outputs(features.pixels, len(states))

    def decode_concept(self, features, number):
        return self._outputs(features.pixels, 1)

    def decode_boxes(self, features, boxes):
        """The piece of the mask under the middle of each box, cut to the box."""
        masks = []
        for x0, y0, x1, y1 in np.rint(boxes).astype(int):
            inside = np.zeros(features.shape, bool)
            inside[max(y0, 0) : y1, max(x0, 0) : x1] = True
            masks.append(np.where(inside & (features.pixels > 0.2), 0.999, 0.001))
        mask = torch.tensor(logit(np.array(masks))).float()
        return MaskOutputs(mask, mask, mask, torch.full((len(boxes),), 3.0), torch.full((len(boxes),), 3.0))

    def on_micrograph(self, maps, features, shape=None):
        return maps.numpy()


def discs(shape, *xyr) -> np.ndarray:
    """The image in which a :class:`KnownEngine` finds these discs."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for x, y, r in xyr:
        depth = 1 - np.hypot(rows - y, columns - x) / r
        image = np.where(depth > 0, np.maximum(image, 0.4 + 0.6 * depth), image)
    return image.astype(np.float32)


def ask(pixels, reply="The particles are [SEG].", tiling="tiled", tile=64, halo=16, nm=None, presence=0.99, **more):
    assistant = Assistant(KnownEngine(reply, presence), "known", "", tiled_segmenter)
    return lm.segment_large(assistant, Micrograph(pixels, nm), "words", tiling, tile=tile, halo=halo, **more)


def whole(pixels, reply="The particles are [SEG].", **more):
    return ask(pixels, reply, tiling="off", tile=None, halo=None, **more)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two label images are equal up to the order of numbers, and numbered without gaps."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    n = int(one.max())
    return pairs.shape[1] == n + 1 == len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == int(other.max()) + 1


def expected(pixels: np.ndarray) -> np.ndarray:
    """The instances of the whole without tiles, from maps in steps of 1/255, as they are kept for a large image."""
    engine = KnownEngine("")
    out = engine.decode_concept(engine.encode(lm.to_unit_range(pixels)), 0)
    maps = expit(np.stack([out.mask[0], out.distance[0], out.border[0]]))
    return separate(*(np.rint(255 * maps).astype(np.float32) / 255))


def scene(seed: int = 0, shape=(300, 260), n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return discs(
        shape, *zip(rng.uniform(0, shape[1], n), rng.uniform(0, shape[0], n), rng.uniform(6, 18, n), strict=True)
    )
