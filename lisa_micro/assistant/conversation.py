"""Conversations about one micrograph: a reply is decoded, its targets are segmented, its values are measured."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import torch

from lisa_micro.assistant.answering import answer_of
from lisa_micro.assistant.choices import forks
from lisa_micro.assistant.confidence import confidence_of, is_unsure
from lisa_micro.assistant.engine import FORKS, Engine
from lisa_micro.assistant.language_engine import CONTEXT_TOKENS, KVCache, RawReply
from lisa_micro.assistant.measuring import FoundMeasures
from lisa_micro.assistant.prepare import ImageCache, PreparedImage, View, readable_prompt
from lisa_micro.assistant.targets import ImageView, TargetSegmenter, is_present
from lisa_micro.execution import execute
from lisa_micro.language.program import Program, concepts_in, describe, parse_program, same_program
from lisa_micro.protocols import Progress
from lisa_micro.results.answer import UNDERSTOOD, Answer, Reading
from lisa_micro.types import InputError, Micrograph

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

    def reinterpret(self, reading: Reading) -> Answer:
        """Replace the last answer by that of another reading of its request; only models with the reply language can.

        Raises:
            InputError: always, where a model has no other readings.
        """
        raise InputError("This model has no other reading of a request; ask again in other words.")

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
        return self._prefilled(image_cache, self.answers)

    def _prefilled(self, image_cache: KVCache, answers: Sequence[Answer]) -> KVCache:
        cache = image_cache.fork()
        for number, answer in enumerate(answers[-REPEATED_TURNS:]):
            self._engine.prefill_turn(cache, answer.prompt, answer.raw, first=number == 0)
        return cache

    def _answer(self, prompt: str, prepared: PreparedImage[ImageView], cache: KVCache, clock: Clock) -> Answer:
        engine = self._engine
        reply, start = engine.generate(cache, prompt, first=cache.length == prepared.cache.length)
        program = parse_program(reply.raw, engine.vocabulary)
        calibration = engine.model.config.confidence
        confidence = confidence_of(reply, calibration)
        other, unsure = None, is_unsure(confidence, calibration)
        if unsure:
            other = self._second_reading(cache, start, reply, program)
            reply = engine.read_reply(cache, start, reply.raw)
        clock.lap("language")
        answer = self._executed(prepared.view, cache, reply, program, clock)
        if not unsure:
            return replace(answer, confidence=confidence)
        told = answer.understood and answer.refusal not in ("unknown", "cannot")  # these say it in their first words
        text = f"{UNDERSTOOD}{answer.understood}. {answer.text}" if told else answer.text
        return replace(answer, text=text, confidence=confidence, alternative=other)

    def _second_reading(self, cache: KVCache, start: int, reply: RawReply, program: Program) -> Reading | None:
        """The next best program: from the closest decision at which the reply comes to mean something else. The cache
        ends with some other reply afterwards."""
        engine = self._engine
        for choice in forks(reply.choices)[:FORKS]:
            ids = [*reply.ids[: choice.position], choice.other]
            if choice.other == engine.chat.end:
                continue
            raw = reply.others.get(tuple(ids)) or engine.regenerate(cache, start, ids).raw
            other = parse_program(raw, engine.vocabulary)
            text = describe(other, engine.vocabulary)
            if text and not same_program(program, other):
                return Reading(raw, text)
        return None

    def reinterpret(self, reading: Reading) -> Answer:
        """Replace the last answer by that of another reading of its request.

        Args:
            reading: such as :attr:`lisa_micro.results.answer.Answer.alternative`.

        Raises:
            InputError: there is no answer yet.
        """
        if not self.answers:
            raise InputError("There is no answer to replace; ask something first.")
        engine, before = self._engine, self.answers[-1]
        clock = Clock()
        prepared = self._images.prepared(self.image)
        clock.lap("encode")
        self._cache = None
        earlier = self.answers[:-1]
        cache = self._prefilled(prepared.cache, earlier)
        engine.prefill_words(cache, before.prompt, first=not earlier)
        reply = engine.read_reply(cache, cache.length, reading.raw)
        clock.lap("language")
        program = parse_program(reading.raw, engine.vocabulary)
        answer = self._executed(prepared.view, cache, reply, program, clock)
        notes = (*answer.notes, *self.notes)
        former = Reading(before.raw, before.understood) if before.understood else None
        answer = replace(answer, prompt=before.prompt, notes=notes, seconds=clock.seconds, alternative=former)
        self._cache = cache
        self.answers[-1] = answer
        return answer

    def _prompts(self, cache: KVCache, reply: RawReply, program: Program) -> tuple[list[str], dict[str, torch.Tensor]]:
        """The concept of each target, and a [SEG] state ``(hidden,)`` for each concept that a program refers to."""
        engine = self._engine
        targets = program.targets[: len(reply.states)]
        nearest = engine.nearest_concept(reply.states)
        named = [target.concept or engine.code_names[nearest[k]] for k, target in enumerate(targets)]
        states = {concept: reply.states[k] for k, concept in reversed(list(enumerate(named)))}
        further = [concept for concept in concepts_in(program) if concept not in states]
        if further:
            states |= dict(zip(further, engine.concept_states(cache, further), strict=True))
        return named, states

    def _executed(self, view: ImageView, cache: KVCache, reply: RawReply, program: Program, clock: Clock) -> Answer:
        """Segment what a program refers to, and execute it."""
        engine = self._engine
        named, states = self._prompts(cache, reply, program)
        how, found = "", {}
        if states:
            concepts = list(states)
            instances, how = self._segmenter.segment(view, torch.stack(list(states.values())), concepts, self.progress)
            found = dict(zip(concepts, instances, strict=True))
        clock.lap("masks")
        absent = [concept for concept, one in found.items() if not is_present(engine, one)]
        measures = FoundMeasures(self.image, found, absent, engine.measuring_errors)
        result = execute(program, measures, engine.vocabulary, named)
        answer = answer_of(result, reply.raw, measures, self.image, engine.vocabulary)
        clock.lap("measure")
        return replace(answer, notes=(*answer.notes, how)) if how else answer
