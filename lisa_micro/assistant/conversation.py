"""Conversations about one micrograph: a reply is decoded, its targets are segmented, its values are measured."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np

from lisa_micro.assistant import constraints, values
from lisa_micro.assistant.engine import CONTEXT_TOKENS, Engine, KVCache, RawReply, concepts_of
from lisa_micro.assistant.prepare import ImageCache, PreparedImage, View, readable_prompt
from lisa_micro.assistant.targets import ImageView, TargetInstances, TargetSegmenter, is_present, renumbered
from lisa_micro.language import Reply, Target, ValueSlot, parse_reply
from lisa_micro.language.display import UNREADABLE_VALUE, display, noun_phrase
from lisa_micro.measure.tables import particle_table
from lisa_micro.protocols import Progress
from lisa_micro.results.answer import Answer, Segmentation
from lisa_micro.types import Micrograph, Value

REPEATED_TURNS = 3
"""Number of last turns that are prefilled when a conversation starts over."""


class Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Add the time since the last call to stage ``name``."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class ConversationStart:
    """What a conversation begins with.

    Attributes:
        history: answers of an earlier conversation about the same micrograph.
        notes: see :class:`lisa_micro.protocols.Conversation`.
        progress: see there.
    """

    history: Sequence[Answer] = ()
    notes: tuple[str, ...] = ()
    progress: Progress | None = None


class BaseConversation(ABC, Generic[View]):
    """Requests about one image, in order. It is a :class:`lisa_micro.protocols.Conversation`.

    Args:
        images: encodes the micrograph.
        image: the micrograph.
        start: what it begins with.
    """

    def __init__(self, images: ImageCache[View], image: Micrograph, start: ConversationStart):
        self.image, self.notes, self.progress = image, start.notes, start.progress
        self.answers: list[Answer] = list(start.history)
        self._images = images
        self._cache: KVCache | None = None

    def ask(self, prompt: str) -> Answer:
        """Answer the next request.

        Args:
            prompt: any words. Beyond :data:`lisa_micro.language.MAX_PROMPT` characters they are cut, with a notice.

        Raises:
            InputError: an empty prompt.
        """
        prompt, notices = readable_prompt(self._images.engine.chat, prompt)
        clock = Clock()
        prepared = self._images.prepared(self.image)
        clock.lap("encode")
        # assigned again at the end: a request that fails leaves no half-read cache behind
        cache, self._cache = self._cache, None
        if cache is None or not self._has_room(cache, prompt):
            cache = self._restarted(prepared.cache, prompt)
        answer = self._answer(prompt, prepared, cache, clock)
        notes = tuple(dict.fromkeys((*notices, *answer.notes)))
        answer = replace(answer, prompt=prompt, notes=(*notes, *self.notes), seconds=clock.seconds)
        self._cache = cache
        self.answers.append(answer)
        return answer

    @abstractmethod
    def _has_room(self, cache: KVCache, prompt: str) -> bool:
        """Whether the conversation can continue with this cache."""

    @abstractmethod
    def _restarted(self, image_cache: KVCache, prompt: str) -> KVCache:
        """A new cache with the image and the last turns.

        Args:
            image_cache: after the image tokens; not changed.
        """

    @abstractmethod
    def _answer(self, prompt: str, prepared: PreparedImage[View], cache: KVCache, clock: Clock) -> Answer:
        """Answer a prompt; the notes are those of this answer alone.

        Args:
            cache: of the conversation so far; extended by this turn.
        """


class Conversation(BaseConversation[ImageView]):
    """A conversation in the reply language.

    Args:
        engine: the model.
        segmenter: segments the targets of a reply.
        images, image, start: see :class:`BaseConversation`.
    """

    def __init__(
        self,
        engine: Engine,
        segmenter: TargetSegmenter,
        images: ImageCache[ImageView],
        image: Micrograph,
        start: ConversationStart,
    ):
        super().__init__(images, image, start)
        self._engine, self._segmenter = engine, segmenter

    def _has_room(self, cache: KVCache, prompt: str) -> bool:
        return cache.length <= CONTEXT_TOKENS

    def _restarted(self, image_cache: KVCache, prompt: str) -> KVCache:
        cache = image_cache.fork()
        for number, answer in enumerate(self.answers[-REPEATED_TURNS:]):
            self._engine.prefill_turn(cache, answer.prompt, answer.raw, first=number == 0)
        return cache

    def _answer(self, prompt: str, prepared: PreparedImage[ImageView], cache: KVCache, clock: Clock) -> Answer:
        engine = self._engine
        generated, start = engine.generate(cache, prompt, first=cache.length == prepared.cache.length)
        reply = parse_reply(generated.raw, engine.vocabulary)
        clock.lap("language")
        found, how = self._segment(prepared.view, generated, reply)
        clock.lap("masks")
        absent = {k for k, one in enumerate(found, 1) if not is_present(engine, one)}
        if found and len(absent) == len(found):
            raw = engine.regenerate_absent(cache, start).raw
            clock.lap("language")
            text = display(reply, (), absent, vocabulary=engine.vocabulary)
            answer = Answer(text, raw=raw, declined=True, notes=reply.notes, image=self.image)
        else:
            answer = self._assembled(generated.raw, reply, found, absent)
        clock.lap("measure")
        return replace(answer, notes=(*answer.notes, how)) if how else answer

    def _segment(self, view: ImageView, generated: RawReply, reply: Reply) -> tuple[list[TargetInstances], str]:
        targets = reply.targets[: len(generated.states)]
        if not targets:
            return [], ""
        concepts = concepts_of(self._engine, targets, generated.states)
        return self._segmenter.segment(view, generated.states, concepts, self.progress)

    def _assembled(self, raw: str, reply: Reply, found: list[TargetInstances], absent: set[int]) -> Answer:
        """The answer from the instances of each target: constraints are applied, value slots filled.

        Args:
            absent: numbers of the targets, from 1, that are not in the micrograph.
        """
        segments: list[Segmentation] = []
        kept: list[dict[str, np.ndarray]] = []
        notes = list(reply.notes)
        empty: set[int] = set()
        for number, (target, one) in enumerate(zip(reply.targets, found, strict=False), 1):
            keep, remarks = constraints.apply(
                target.clauses, one.properties, self.image.shape, self.image.pixel_size_nm, one.concept
            )
            if number in absent:
                kept.append(values.subset(one.properties, np.zeros(len(keep), bool)))
                continue
            kept.append(values.subset(one.properties, keep))
            notes += remarks
            if not keep.any():
                empty.add(number)
                notes.append(self._none_matches(one.concept, len(keep), target.where))
                continue
            segments.append(self._segmentation(number, target, one, keep, remarks))
        filled: list[Value] = []
        for slot in reply.values:
            value, remarks = self._value(slot, found, kept)
            filled.append(value)
            notes += remarks
        return Answer(
            text=display(reply, filled, absent, empty, self._engine.vocabulary),
            segments=tuple(segments),
            raw=raw,
            values=tuple(filled),
            declined=reply.absent and not segments,
            notes=tuple(notes),
            image=self.image,
        )

    def _none_matches(self, concept: str, count: int, where: str) -> str:
        singular, plural = self._engine.vocabulary.nouns(concept)
        if count == 1:
            return f"The only {singular} found does not match '{where}'."
        return f"None of the {count} {plural} found matches '{where}'."

    def _segmentation(
        self, number: int, target: Target, found: TargetInstances, keep: np.ndarray, notes: tuple[str, ...]
    ) -> Segmentation:
        properties = values.subset(found.properties, keep)
        properties["label"] = np.arange(1, int(keep.sum()) + 1)
        return Segmentation(
            labels=renumbered(found.labels, keep),
            score=found.score,
            presence=found.presence,
            concept=found.concept,
            phrase=noun_phrase(found.concept, target.clauses, self._engine.vocabulary),
            where=target.where,
            pixel_size_nm=self.image.pixel_size_nm,
            properties=particle_table(properties, self.image.pixel_size_nm),
            notes=notes,
            target=number,
            image=self.image,
        )

    def _value(
        self, slot: ValueSlot, found: list[TargetInstances], kept: list[dict[str, np.ndarray]]
    ) -> tuple[Value, tuple[str, ...]]:
        if slot.measure is None or not 1 <= slot.of <= len(kept):
            return Value(slot.raw, float("nan"), "", UNREADABLE_VALUE, slot.of), ()
        return values.evaluate(
            slot.measure,
            kept[slot.of - 1],
            self.image.shape,
            self.image.pixel_size_nm,
            found[slot.of - 1].concept,
            slot.of,
        )
