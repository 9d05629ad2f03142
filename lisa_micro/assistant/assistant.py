"""The assistant: ask a micrograph, get a reply, masks, instances and measurements."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np

from lisa_micro.assistant import constraints, values
from lisa_micro.assistant.engine import CONTEXT_TOKENS, Engine, Memory, Written, concepts_of
from lisa_micro.assistant.outline import ImageView, Outline, renumbered
from lisa_micro.assistant.prompted import PromptedMixin
from lisa_micro.assistant.reply import UNREADABLE_VALUE, display, noun_phrase
from lisa_micro.io import to_unit_range
from lisa_micro.language import Reply, Target, ValueSlot, check_prompt, parse_reply
from lisa_micro.measure.tables import particle_table
from lisa_micro.types import Answer, Micrograph, Segmentation, Value

MAX_PROMPT_TOKENS = 800
"""Tokens of a prompt that are read; 2000 characters of English are about 450."""
KEPT_IMAGES = 4
UNSURE = 0.5


class Assistant(PromptedMixin):
    """Answers requests about micrographs. Made by :func:`lisa_micro.load_assistant`.

    Args:
        engine: the model at work.
        preset: name or folder that it came from.
        weights_sha256: of the trained parts, for the record.
    """

    def __init__(self, engine: Engine, preset: str, weights_sha256: str):
        self.engine, self.preset, self.weights_sha256 = engine, preset, weights_sha256
        self.device = engine.device
        self._views: OrderedDict[str, tuple[ImageView, Memory]] = OrderedDict()

    @staticmethod
    def intensities(pixels: np.ndarray) -> np.ndarray:
        """``(H, W)`` as in the file -> float32 in 0..1, as the model is shown it."""
        return to_unit_range(pixels)

    def view(self, image: Micrograph) -> tuple[ImageView, Memory]:
        """Features and the language model's reading of an image, kept for the last few images."""
        key = hashlib.blake2b(np.ascontiguousarray(image.pixels).ravel(), digest_size=16).hexdigest()
        key += str(image.shape)
        if key not in self._views:
            features = self.engine.encode(self.intensities(image.pixels))
            view = ImageView(self.engine, image.pixels, features)
            self._views[key] = (view, self.engine.begin(features))
            while len(self._views) > KEPT_IMAGES:
                self._views.popitem(last=False)
        self._views.move_to_end(key)
        return self._views[key]

    def encode(self, image: Micrograph) -> float:
        """Look at an image ahead of requests, so that the first one need not wait; seconds that it took (next to none
        for one of the last few images)."""
        start = time.perf_counter()
        self.view(image)
        return time.perf_counter() - start

    def chat(self, image: Micrograph) -> Conversation:
        """A conversation: later requests may refer to what was said."""
        return Conversation(self, image)

    def ask(self, image: Micrograph, prompt: str) -> Answer:
        """One request.

        Args:
            image: see :func:`lisa_micro.read_micrograph`.
            prompt: any words; beyond :data:`lisa_micro.language.MAX_PROMPT` characters they are cut, with a notice.

        Raises:
            InputError: an empty prompt.
        """
        return self.chat(image).ask(prompt)

    def readable(self, prompt: str) -> tuple[str, tuple[str, ...]]:
        """A prompt as it is read, bounded in characters and in tokens, and notices about it.

        Raises:
            InputError: an empty prompt.
        """
        words, notes = check_prompt(prompt)
        short = self.engine.chat.shortened(words, MAX_PROMPT_TOKENS)
        if short != words:
            notes = (*notes, f"The prompt is long; its first {len(short)} characters are used.")
        return short, notes

    def parse(self, image: Micrograph, prompt: str, history: tuple[tuple[str, str], ...] = ()) -> str:
        """The reply as the language model writes it (special tokens as text), without outlining anything.

        Args:
            history: earlier (request, reply in the reply language) pairs.
        """
        _, begun = self.view(image)
        memory = self.engine.fork(begun)
        for number, (request, reply) in enumerate(history):
            self.engine.recite(memory, request, reply, first=number == 0)
        written, _ = self.engine.write(memory, self.readable(prompt)[0], first=not history)
        return written.raw


class Conversation:
    """Requests about one image, in order; see :meth:`Assistant.chat`."""

    def __init__(self, assistant: Assistant, image: Micrograph):
        self.assistant, self.image = assistant, image
        self.answers: list[Answer] = []
        self._memory: Memory | None = None

    def ask(self, prompt: str) -> Answer:
        """The next request; as :meth:`Assistant.ask`."""
        prompt, notes = self.assistant.readable(prompt)
        clock = Clock()
        view, begun = self.assistant.view(self.image)
        clock.lap("encode")
        engine = self.assistant.engine
        # given back at the end: a request that fails half-way leaves nothing half-read behind
        memory, self._memory = self._memory, None
        if memory is None or memory.length > CONTEXT_TOKENS:
            # a conversation that has become too long goes on with its last turns
            memory = engine.fork(begun)
            for number, answer in enumerate(self.answers[-3:]):
                engine.recite(memory, answer.prompt, answer.raw, first=number == 0)
        written, start = engine.write(memory, prompt, first=not self.answers)
        reply = parse_reply(written.raw, engine.vocabulary)
        clock.lap("language")
        outlines = self._outline(view, written, reply)
        clock.lap("masks")
        absent = {k for k, o in enumerate(outlines, 1) if not self._there(o)}
        raw = written.raw
        if outlines and len(absent) == len(outlines):
            rewritten = engine.rewrite_absent(memory, start)
            clock.lap("language")
            raw = rewritten.raw
            text = display(reply, (), absent, vocabulary=engine.vocabulary)
            answer = Answer(text, (), prompt, raw, (), True, (*notes, *reply.notes))
        else:
            answer = self._assemble(prompt, raw, reply, outlines, absent, (*notes, *reply.notes))
        clock.lap("measure")
        answer = replace(answer, seconds=clock.seconds)
        self._memory = memory
        self.answers.append(answer)
        return answer

    def _outline(self, view: ImageView, written: Written, reply: Reply) -> list[Outline]:
        targets = reply.targets
        if not targets or not len(written.states):
            return []
        engine = self.assistant.engine
        out = engine.decode_words(view.features, written.states)
        concepts = concepts_of(engine, targets[: len(written.states)], written.states)
        return [view.outline(out, k, concept) for k, concept in enumerate(concepts)]

    def _there(self, outline: Outline) -> bool:
        threshold = self.assistant.engine.model.config.presence_threshold.get(outline.concept, UNSURE)
        return outline.presence >= threshold and bool(outline.labels.any())

    def _assemble(
        self,
        prompt: str,
        raw: str,
        reply: Reply,
        outlines: list[Outline],
        absent: set[int],
        notes: tuple[str, ...],
    ) -> Answer:
        size = self.image.pixel_size_nm
        segments, kept = [], []
        found: list[str] = []
        empty: set[int] = set()
        for number, (target, outline) in enumerate(zip(reply.targets, outlines, strict=False), 1):
            keep, remarks = constraints.apply(
                target.clauses, outline.properties, self.image.shape, size, outline.concept
            )
            if number in absent:
                kept.append(values.subset(outline.properties, np.zeros(len(keep), bool)))
                continue
            kept.append(values.subset(outline.properties, keep))
            found += remarks
            if not keep.any():
                empty.add(number)
                found.append(f"None of the {len(keep)} that were found fulfils '{target.where}'.")
                continue
            segments.append(self._segmentation(number, target, outline, keep, tuple(remarks)))
        filled: list[Value] = []
        for slot in reply.values:
            value, remarks = self._value(slot, reply.targets, outlines, kept)
            filled.append(value)
            found += remarks
        return Answer(
            text=display(reply, filled, absent, empty, self.assistant.engine.vocabulary),
            segments=tuple(segments),
            prompt=prompt,
            raw=raw,
            values=tuple(filled),
            declined=reply.absent and not segments,
            notes=tuple(dict.fromkeys((*notes, *found))),
        )

    def _segmentation(
        self, number: int, target: Target, outline: Outline, keep: np.ndarray, notes: tuple[str, ...]
    ) -> Segmentation:
        properties = values.subset(outline.properties, keep)
        properties["label"] = np.arange(1, int(keep.sum()) + 1)
        return Segmentation(
            labels=renumbered(outline.labels, keep),
            score=outline.score,
            presence=outline.presence,
            concept=outline.concept,
            phrase=noun_phrase(outline.concept, target.clauses, self.assistant.engine.vocabulary),
            where=target.where,
            pixel_size_nm=self.image.pixel_size_nm,
            properties=particle_table(properties, self.image.pixel_size_nm),
            notes=notes,
            target=number,
        )

    def _value(
        self, slot: ValueSlot, targets: tuple[Target, ...], outlines: list[Outline], kept: list[dict]
    ) -> tuple[Value, tuple[str, ...]]:
        if slot.measure is None or not 1 <= slot.of <= len(kept):
            return Value(slot.raw, float("nan"), "", UNREADABLE_VALUE, slot.of), ()
        outline = outlines[slot.of - 1]
        return values.evaluate(
            slot.measure,
            kept[slot.of - 1],
            self.image.shape,
            self.image.pixel_size_nm,
            outline.concept,
            slot.of,
        )


class Clock:
    """Seconds per stage."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def load_assistant(
    preset: str = "micro", device: str = "auto", precision: str = "auto", projectors: str | Path | None = None
) -> Assistant:
    """Load a preset.

    Args:
        preset: ``"micro"`` (shipped, works offline), ``"smollm2-360m"`` or ``"smollm2-1.7b"`` (larger language models,
            whose projectors are untrained where ``projectors`` brings none), a folder written by ``finetune`` (a full
            preset, or an adapter, which is laid over the preset that it names), an official LISA checkpoint as a folder
            or by its name (``"xinlai/LISA-7B-v1"``), or another name on the hub.
        device: ``"auto"`` (a GPU where there is one, else the CPU), ``"cpu"``, ``"cuda"``, ...
        precision: of an official checkpoint's language model: ``"auto"``, ``"fp32"``, ``"bf16"``, ``"fp16"``,
            ``"8bit"`` or ``"4bit"``.
        projectors: folder with what lies between towers and language model, for the larger presets.

    Raises:
        InputError: no such preset, its parts are missing or do not fit, or ``precision`` or ``projectors`` of a preset
            that takes none.
    """
    import torch

    from lisa_micro.models.checkpoints import sha256
    from lisa_micro.models.device import fast_bf16, pick_device
    from lisa_micro.models.lisa.adapter import find_preset, load_folder
    from lisa_micro.models.lisa.official_config import looks_official
    from lisa_micro.models.lisa.presets import BASE_MODELS, BETWEEN, SEEING, build_preset
    from lisa_micro.models.memory import keep_memory
    from lisa_micro.types import InputError

    larger = preset in BASE_MODELS
    folder = find_preset("micro" if larger else preset)
    place = pick_device(device)
    if projectors is not None and not larger:
        raise InputError(f"{preset} has its projectors; they are given for {' and '.join(BASE_MODELS)}")
    if looks_official(folder):
        from lisa_micro.assistant.official import load_official_assistant

        return load_official_assistant(folder, preset, place, precision)
    if precision != "auto":
        raise InputError(f"precision is chosen for official LISA checkpoints; {preset} runs in the one that is fastest")
    bf16 = fast_bf16(place)
    dtype = torch.bfloat16 if bf16 else torch.float32
    keep_memory()
    if larger:
        given = None if projectors is None else Path(projectors)
        model, tokenizer = build_preset(preset, folder, dtype, given)
        read = [(folder, SEEING)] if given is None else [(folder, SEEING), (given, (*BETWEEN, "lora"))]
        files = [source / f"{name}.safetensors" for source, names in read for name in names]
    else:
        model, tokenizer, files = load_folder(folder, dtype)
    model = model.to(place).eval()
    if place.type == "cpu":
        for part in (model.sam_tower, model.own_top, model.concept_top):
            if part is not None:
                part.to(memory_format=torch.channels_last)
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(sha256(path).encode())
    return Assistant(Engine(model, tokenizer, place, bf16), preset, digest.hexdigest())
