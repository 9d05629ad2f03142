"""The assistant: ask about a micrograph in words, get a reply with masks, instances and measurements."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Generic

import numpy as np
import torch

from lisa_micro.assistant.confidence import confidence_of, is_unsure
from lisa_micro.assistant.conversation import BaseConversation, Conversation, ConversationStart
from lisa_micro.assistant.engine import Engine
from lisa_micro.assistant.exemplars import ExemplarFinder, TiledFinder
from lisa_micro.assistant.field import FieldConversation, answer_in_field, view_of
from lisa_micro.assistant.language_engine import LanguageEngine, RawReply
from lisa_micro.assistant.prepare import ImageCache, PreparedImage, View, readable_prompt
from lisa_micro.assistant.prompted import PromptedAssistant
from lisa_micro.assistant.targets import ImageView, WholeImage
from lisa_micro.assistant.tiling import TiledSegmenters, TileSize, choose_tiling
from lisa_micro.io import MicrographLike, as_micrograph, to_unit_range
from lisa_micro.language import Vocabulary
from lisa_micro.models.segmenters.loop import PromptedSegmenter
from lisa_micro.models.segmenters.micro import MicroSegmenter
from lisa_micro.protocols import Capabilities, History, Progress, TilingMode
from lisa_micro.results.answer import Answer
from lisa_micro.types import Micrograph


class LanguageAssistant(PromptedAssistant, Generic[View]):
    """An assistant with a language model. It is a :class:`lisa_micro.protocols.Assistant`.

    Args:
        engine: the model.
        preset: name or folder that it was loaded from.
        images: encodes micrographs.
    """

    def __init__(self, engine: LanguageEngine, preset: str, images: ImageCache[View]):
        self.preset = preset
        self.device: torch.device = engine.device
        self._language, self._images = engine, images

    @property
    @abstractmethod
    def weights_sha256(self) -> str:
        """Fingerprint of the weights, hexadecimal."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the model can do."""

    @abstractmethod
    def _conversation(
        self, image: Micrograph, mode: TilingMode, size: TileSize, start: ConversationStart
    ) -> BaseConversation[View]:
        """A conversation in a mode that the model can do, other than ``auto``."""

    def prepared(self, image: Micrograph) -> PreparedImage[View]:
        """Features of a micrograph and the KV cache after its image tokens; kept for the last few micrographs."""
        return self._images.prepared(view_of(image))

    def intensities(self, pixels: np.ndarray) -> np.ndarray:
        """``(H, W)`` intensities as in the file -> float32 in 0..1, as the model takes them."""
        return self._images.intensities(pixels)

    def encode(self, image: MicrographLike) -> float:
        """Encode a micrograph ahead of requests, so that the first one is answered sooner.

        Returns:
            seconds that it took; next to none for one of the last few micrographs.
        """
        start = time.perf_counter()
        self.prepared(as_micrograph(image))
        return time.perf_counter() - start

    def readable(self, prompt: str) -> tuple[str, tuple[str, ...]]:
        """Bound a prompt in characters and in tokens; see :func:`lisa_micro.assistant.prepare.readable_prompt`."""
        return readable_prompt(self._language.chat, prompt)

    def ask(self, image: MicrographLike, prompt: str) -> Answer:
        """Answer one request.

        Args:
            image: a micrograph, or anything that :func:`lisa_micro.io.as_micrograph` accepts. Large ones are segmented
                in tiles, see :meth:`open_conversation`.
            prompt: any words; beyond :data:`lisa_micro.language.MAX_PROMPT` characters they are cut, with a notice.

        Raises:
            InputError: an empty prompt.
        """
        return self.open_conversation(image).ask(prompt)

    def chat(self, image: MicrographLike) -> BaseConversation[View] | FieldConversation:
        """Begin a conversation: later requests can refer to earlier ones. The same as :meth:`open_conversation` with
        its defaults."""
        return self.open_conversation(image)

    def open_conversation(
        self,
        image: MicrographLike,
        tiling: TilingMode | str = TilingMode.AUTO,
        *,
        tile: int | None = None,
        halo: int | None = None,
        history: Sequence[Answer] = (),
        progress: Progress | None = None,
    ) -> BaseConversation[View] | FieldConversation:
        """Begin a conversation about one micrograph; see :meth:`lisa_micro.protocols.Assistant.open_conversation`."""
        image, size = as_micrograph(image), TileSize(tile, halo)
        view = view_of(image)
        mode = choose_tiling(tiling, size, view.shape, self.capabilities, self.preset)
        if view is image:
            start = ConversationStart(tuple(history), self._scaling_notes(view, mode), progress)
            return self._conversation(view, mode, size, start)
        earlier = tuple(answer_in_field(answer, image) for answer in history)
        start = ConversationStart(earlier, self._scaling_notes(view, mode), progress)
        return FieldConversation(self._conversation(view, mode, size, start), image, history)

    def _scaling_notes(self, image: Micrograph, mode: TilingMode) -> tuple[str, ...]:
        side = self.capabilities.largest_side
        if side is None or max(image.shape) <= side or mode is not TilingMode.OFF:
            return ()
        height, width = image.shape
        return (
            f"The micrograph ({width} x {height} px) was scaled down to {side} px on its longest side, the "
            f"largest input of the model {self.preset!r}.",
        )

    def parse(self, image: MicrographLike, prompt: str, history: History = ()) -> str:
        """The raw reply to a request (special tokens as text), without segmenting anything.

        Args:
            history: earlier (request, raw reply) pairs.

        Raises:
            InputError: an empty prompt.
        """
        return self.written(image, prompt, history).raw

    def written(self, image: MicrographLike, prompt: str, history: History = ()) -> RawReply:
        """The reply to a request as the language model wrote it, without segmenting anything; arguments and errors as
        of :meth:`parse`."""
        cache = self.prepared(as_micrograph(image)).cache.fork()
        for number, (request, reply) in enumerate(history):
            self._language.prefill_turn(cache, request, reply, first=number == 0)
        return self._language.generate(cache, self.readable(prompt)[0], first=not history)[0]

    def doubts(self, reply: RawReply) -> bool:
        """Whether an answer with this reply would say how the request was understood, and ask back."""
        return False


class Assistant(LanguageAssistant[ImageView]):
    """Answers requests about micrographs in the reply language. Made by :func:`lisa_micro.load_assistant`.

    Args:
        engine: the model.
        preset: name or folder that it was loaded from.
        weights_sha256: fingerprint of the trained parts.
        tiled_segmenters: makes the segmenters of large micrographs; ``None``: the assistant cannot tile.
        tiled_finder: finds what is like an exemplar in large micrographs; ``None``: they are scaled down.
    """

    def __init__(
        self,
        engine: Engine,
        preset: str,
        weights_sha256: str,
        tiled_segmenters: TiledSegmenters | None = None,
        tiled_finder: TiledFinder | None = None,
    ):
        super().__init__(engine, preset, ImageCache(engine, to_unit_range, partial(ImageView, engine)))
        self.engine = engine
        self._sha256, self._tiled_segmenters = weights_sha256, tiled_segmenters
        self._prompted: MicroSegmenter | None = None
        has_encoder = engine.model.exemplar_encoder is not None
        self._exemplars = ExemplarFinder(engine, tiled_finder) if has_encoder else None

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the trained parts, hexadecimal."""
        return self._sha256

    def doubts(self, reply: RawReply) -> bool:
        """Whether an answer with this reply would say how the request was understood, and ask back."""
        calibration = self.engine.model.config.confidence
        return is_unsure(confidence_of(reply, calibration), calibration)

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return Capabilities(
            words=True,
            follow_ups=True,
            reply_language=True,
            boxes=True,
            points=True,
            everything=True,
            exemplars=self._exemplars is not None,
            tiling=self._tiled_segmenters is not None,
            video=True,
            video_questions=True,
            concepts=self.engine.vocabulary.names,
        )

    def _conversation(
        self, image: Micrograph, mode: TilingMode, size: TileSize, start: ConversationStart
    ) -> Conversation:
        if mode is TilingMode.OFF or self._tiled_segmenters is None:
            segmenter = WholeImage()
        else:
            segmenter = self._tiled_segmenters(self.engine, mode, size)
        return Conversation(self.engine, segmenter, self._images, image, start)

    def _segmenter(self, image: Micrograph) -> PromptedSegmenter:
        """The tower and the mask decoder that answer words, too."""
        if self._prompted is None:
            engine = self.engine
            self._prompted = MicroSegmenter("micro", engine.model, engine.device, self.weights_sha256, engine.bf16)
        self._prompted.use_features(self.prepared(image).view.features)
        return self._prompted

    def _finder(self) -> ExemplarFinder | None:
        return self._exemplars

    @property
    def vocabulary(self) -> Vocabulary:
        """The concepts of the reply language."""
        return self.engine.vocabulary
