"""The assistant on an official LISA checkpoint: the reply is the model's own text, every [SEG] in it gives one mask.

There is no reply language here: no constraints, no measured values, no "not in this image". Connected parts of a mask
are its instances.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from lisa_micro.assistant.assistant import Assistant, Clock, Conversation
from lisa_micro.assistant.engine import Engine, Memory, Written
from lisa_micro.assistant.outline import ImageView
from lisa_micro.io import to_unit_range
from lisa_micro.language import DEFAULT_VOCABULARY
from lisa_micro.measure import particle_properties
from lisa_micro.measure.tables import particle_table
from lisa_micro.models.lisa.instances import connected
from lisa_micro.models.lisa.mask_head import MaskOutputs
from lisa_micro.models.lisa.model import ImageFeatures
from lisa_micro.models.lisa.official_checkpoint import fingerprint
from lisa_micro.models.lisa.official_images import photo_range
from lisa_micro.models.lisa.official_load import Loaded, load_official
from lisa_micro.models.lisa.official_prompt import OfficialChat
from lisa_micro.models.lisa.official_sam import OfficialSam
from lisa_micro.types import Answer, InputError, Micrograph, Segmentation

MAX_REPLY_TOKENS = 512
MAX_MASKS = 32
"""Of one reply; a model that goes round in circles writes hundreds of [SEG]."""
_NO_CONCEPTS = "an official LISA checkpoint looks at a micrograph as a whole; use how='whole', or --tiles off"


class OfficialEngine(Engine):
    """Runs an official checkpoint for one reply at a time.

    Args:
        loaded: model and tokenizer. device: where the model is.
        template: conversation format, one of :data:`lisa_micro.models.lisa.official_prompt.TEMPLATES`.
        most: tokens of a reply at most.
    """

    def __init__(self, loaded: Loaded, device: torch.device, template: str = "llava_v1", most: int = MAX_REPLY_TOKENS):
        # not the other engine's: it needs the reply language's tokens
        self.model, self.device = loaded.model, device
        self.bf16 = False  # the language model has its own precision, all else stays in float32
        self.chat = OfficialChat(loaded.tokenizer, template)
        self.vocabulary = DEFAULT_VOCABULARY
        self.code_names = DEFAULT_VOCABULARY.names
        self.before, self.seg_id = True, loaded.tokenizer.seg
        self.most, self.context = most, loaded.config.max_position_embeddings

    def _continue(self, memory: Memory, state: Tensor, reply: list[int]) -> Written:
        """Greedy decoding; what prompts the decoder is the state that wrote [SEG], which is the one before it."""
        found: list[Tensor] = []
        unread: list[int] = []
        while len(reply) < self.most and memory.length + len(unread) < self.context:
            if unread:
                state = self._read_ids(memory, unread)[-1]
            token = int(self.model.logits(state[None])[0].argmax())
            if token == self.seg_id:
                found.append(state)
            unread = [token]
            if token == self.chat.end:
                break
            reply.append(token)
        # the last token is read with the next question, and the end of the turn with it
        memory.pending = unread if unread == [self.chat.end] else [*unread, self.chat.end]
        hidden = torch.stack(found).float() if found else torch.zeros(0, 0)
        return Written(self.chat.text(reply), reply, hidden)

    def decode_concept(self, features: ImageFeatures, number: int) -> MaskOutputs:
        """Raises:
        InputError: always; official LISA knows words only.
        """
        raise InputError(_NO_CONCEPTS)

    def nearest_concept(self, states: Tensor) -> list[int]:
        """Raises:
        InputError: always, as :meth:`decode_concept`.
        """
        raise InputError(_NO_CONCEPTS)


class OfficialAssistant(Assistant):
    """Answers requests with an official checkpoint; made by :func:`lisa_micro.load_assistant`.

    Args:
        engine: the model at work. preset: name or folder that it came from. folder: where its weights are.
    """

    def __init__(self, engine: OfficialEngine, preset: str, folder: Path):
        self.engine, self.preset, self.folder, self.device = engine, preset, folder, engine.device
        self._views: OrderedDict[str, tuple[ImageView, Memory]] = OrderedDict()

    @cached_property
    def weights_sha256(self) -> str:
        """Of all files with weights, read when it is first asked for."""
        return fingerprint(self.folder)

    @staticmethod
    def intensities(pixels: np.ndarray) -> np.ndarray:
        """8-bit images as they are, as in the official code; others with robust contrast."""
        photo = photo_range(pixels)
        return to_unit_range(pixels) if photo is None else photo

    def chat(self, image: Micrograph) -> OfficialConversation:
        """A conversation: later requests may refer to what was said."""
        return OfficialConversation(self, image)

    def _segmenter(self, image: Micrograph) -> OfficialSam:
        view, _ = self.view(image)
        flat = bool(image.pixels.min() == image.pixels.max())
        return OfficialSam(self.engine.model, view.features, self.device, flat)


class OfficialConversation(Conversation):
    """Requests about one image, in order."""

    def ask(self, prompt: str) -> Answer:
        """The next request.

        Args:
            prompt: any words; the published models were trained on such as "Can you segment the particles in this
                image?" and "... Please output segmentation mask."

        Returns:
            an answer whose text is the model's own, ``[SEG]`` included, with one segment per mask that is not empty.

        Raises:
            InputError: an empty prompt.
        """
        prompt, notes = self.assistant.readable(prompt)
        clock = Clock()
        view, begun = self.assistant.view(self.image)
        clock.lap("encode")
        engine = self.assistant.engine
        # given back at the end: a request that fails half-way leaves nothing half-read behind
        memory, self._memory = self._memory, None
        turn = len(engine.ask_ids(Memory(None), prompt, first=False))
        if memory is None or memory.length + turn + engine.most > engine.context:
            memory = self._recalled(begun, turn)
        written, _ = engine.write(memory, prompt, first=memory.length == begun.length)
        clock.lap("language")
        segments, remarks = self._segments(view, written)
        clock.lap("masks")
        if not len(written.states):
            remarks.append("The model outlined nothing: its reply has no [SEG]; ask it to segment something.")
        if re.search(r"\d", written.raw):
            remarks.append("Numbers in this reply are the model's own, not measured.")
        answer = Answer(
            text=written.raw,
            segments=tuple(segments),
            prompt=prompt,
            raw=written.raw,
            notes=tuple(dict.fromkeys((*notes, *remarks))),
            seconds=clock.seconds,
        )
        self._memory = memory
        self.answers.append(answer)
        return answer

    def _recalled(self, begun: Memory, turn: int) -> Memory:
        """The image, and as many of the last turns as leave room for one of ``turn`` tokens and its reply."""
        engine = self.assistant.engine
        memory = engine.fork(begun)
        kept: list[Answer] = []
        room = engine.context - begun.length - turn - engine.most
        for answer in reversed(self.answers[-3:]):
            room -= len(engine.ask_ids(Memory(None), answer.prompt, first=True)) + len(
                engine.chat.reply_ids(answer.raw)
            )
            if room < 0:
                break
            kept.insert(0, answer)
        for number, answer in enumerate(kept):
            engine.recite(memory, answer.prompt, answer.raw, first=number == 0)
        return memory

    def _segments(self, view: ImageView, written: Written) -> tuple[list[Segmentation], list[str]]:
        engine, image = self.assistant.engine, self.image
        segments, remarks = [], []
        if len(written.states) > MAX_MASKS:
            remarks.append(f"The reply has {len(written.states)} [SEG]; the first {MAX_MASKS} are outlined.")
        for number in range(min(len(written.states), MAX_MASKS)):
            # one at a time: at the size of a large micrograph a map takes a gigabyte
            out = engine.decode_words(view.features, written.states[number : number + 1])
            mask = engine.on_micrograph(out.mask, view.features)[0] > 0
            if not mask.any():
                remarks.append(f"The mask of [SEG] number {number + 1} is empty.")
                continue
            labels = connected(mask, smallest=1)
            segments.append(
                Segmentation(
                    labels=labels,
                    score=float(expit(float(out.iou[0]))),
                    phrase="objects",
                    pixel_size_nm=image.pixel_size_nm,
                    properties=particle_table(particle_properties(labels, image.pixels), image.pixel_size_nm),
                    target=number + 1,
                )
            )
        return segments, remarks


def load_official_assistant(
    folder: Path, preset: str, device: torch.device, precision: str = "auto", template: str = "llava_v1"
) -> OfficialAssistant:
    """An assistant from a folder in the official layout.

    Args:
        folder: the checkpoint. preset: the name that it was asked for by.
        device, precision: see :func:`lisa_micro.models.lisa.official_load.load_official`.
        template: conversation format.

    Raises:
        InputError: see there.
    """
    loaded = load_official(folder, device, precision)
    return OfficialAssistant(OfficialEngine(loaded, device, template), preset, folder)
