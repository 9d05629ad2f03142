"""A stand-in for the assistant of the app, with known answers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import tifffile

from lisa_micro.assistant.exemplar_boxes import check_exemplar_boxes
from lisa_micro.execution import PlotData, Series
from lisa_micro.exemplar import Exemplar
from lisa_micro.language.program.syntax import Plot
from lisa_micro.measure import measure_particles
from lisa_micro.protocols import Capabilities
from lisa_micro.results.answer import Answer, Reading, Segmentation
from lisa_micro.types import InputError, Micrograph

SQUARES = ((4, 4, 14, 14), (14, 4, 24, 14), (30, 20, 38, 34))


OTHER = Reading("b", "the necks")
"""The reading that an unsure answer offers."""


def squares(shape, boxes=SQUARES):
    labels = np.zeros(shape, np.int32)
    for k, (x0, y0, x1, y1) in enumerate(boxes, 1):
        labels[y0:y1, x0:x1] = k
    return labels


def segment(image: Micrograph, boxes=SQUARES, concept="particle", phrase="particles", target=1) -> Segmentation:
    labels = squares(image.shape, boxes)
    table = measure_particles(labels, image.pixel_size_nm, image.pixels)
    return Segmentation(
        labels, 0.9, 0.9, concept, phrase, "", image.pixel_size_nm, properties=table, notes=(), target=target
    )


class StandIn:
    """Answers with three squares; "none" with nothing, "both" with two segments, "slow" after 0.6 s, "wait" once its
    gate is open, "plot" with a histogram, "unsure" with another reading: the necks. The reply states the number of
    earlier requests of the conversation."""

    preset, weights_sha256, device = "micro", "12" * 32, "cpu"
    capabilities = Capabilities(
        words=True, follow_ups=True, reply_language=True, boxes=True, points=True, everything=True, exemplars=True
    )

    gate = threading.Event()

    def __init__(self):
        self.encoded: list[str] = []

    def encode(self, image):
        self.encoded.append(image.source)
        return 0.0

    def chat(self, image):
        return self.open_conversation(image)

    def open_conversation(self, image, tiling="auto", *, tile=None, halo=None, history=(), progress=None):
        return StandInConversation(self, image, history, progress)

    def ask(self, image, prompt):
        return self.chat(image).ask(prompt)

    def segment_boxes(self, image, boxes):
        return Segmentation(squares(image.shape, np.asarray(boxes).astype(int)))

    def segment_points(self, image, points, point_labels=None):
        return Segmentation(squares(image.shape, SQUARES[:1]))

    def segment_everything(self, image):
        return Segmentation(squares(image.shape))

    def learn_exemplar(self, image, boxes=None, not_like=None, *, exemplar=None):
        numbers = np.ones((3, 8), np.float32), np.eye(5, dtype=np.float32), np.ones(5, np.float32)
        learnt = Exemplar(*numbers, len(boxes or []), len(not_like or []), 10.0, 10.0, None, "12" * 32, image.source)
        return learnt if exemplar is None else exemplar.joined(learnt)

    def segment_like(self, image, boxes=None, not_like=None, *, exemplar=None, words="", progress=None):
        """All three squares but those that an unlike box overlaps; with words, the last of them."""
        _, _, notes = check_exemplar_boxes(boxes, not_like, image.shape) if boxes or not_like else ((), (), ())
        self.learn_exemplar(image, boxes, not_like, exemplar=exemplar)
        kept = [s for s in SQUARES if not any(b[0] < s[2] and s[0] < b[2] and b[1] < s[3] for b in not_like or [])]
        found = segment(image, kept[-1:] if words else kept, "object", "objects like the example", 0)
        return replace(found, where="largest 1" if words else "", notes=notes)


class StandInConversation:
    notes = ()

    def __init__(self, assistant, image, history=(), progress=None):
        self.assistant, self.image, self.answers, self.progress = assistant, image, list(history), progress

    def ask(self, prompt):
        if prompt == "wait":
            self.assistant.gate.wait(60)
        if prompt == "slow":
            time.sleep(0.6)
        if prompt == "break":
            raise RuntimeError("a defect")
        if prompt == "refuse":
            raise InputError("This cannot be answered.")
        before = len(self.answers)
        if prompt == "none":
            answer = Answer("There are no pores in this micrograph.", (), prompt, declined=True)
        elif prompt == "both":
            neck = segment(self.image, ((12, 4, 16, 14),), "neck", "necks", 2)
            answer = Answer("Here are the particles and the necks.", (segment(self.image), neck), prompt)
        elif prompt == "plot":
            answer = self.plotted(prompt)
        else:
            answer = Answer(f"Here are the particles of {self.image.source}, {before}.", (segment(self.image),), prompt)
        if prompt == "unsure":
            answer = replace(answer, raw="a", understood="the particles", confidence=0.4, alternative=OTHER)
        self.answers.append(answer)
        return answer

    def plotted(self, prompt):
        whole = segment(self.image)
        unit = "px" if self.image.pixel_size_nm is None else "nm"
        values = whole.table()[f"diameter_{unit}"].to_numpy(float)
        slot = Plot("histogram", "diameter", of=(1,))
        data = PlotData(slot, (Series(1, "the particles", values),), unit)
        return Answer("Here is a histogram of the diameter of the particles.", (whole,), prompt, plots=(data,))

    def reinterpret(self, reading):
        if not self.answers:
            raise InputError("There is no answer to replace.")
        last = self.answers[-1]
        former = Reading(last.raw, last.understood)
        boxes, noun = (SQUARES[:1], "neck") if reading == OTHER else (SQUARES, "particle")
        found = segment(self.image, boxes, noun, f"{noun}s")
        text = f"Here are the {noun}s of {self.image.source}, {len(self.answers) - 1}."
        answer = Answer(text, (found,), last.prompt, reading.raw, understood=f"the {noun}s", alternative=former)
        self.answers[-1] = answer
        return answer


def film(path, shape=(48, 64), seed=0, dtype=np.uint16):
    pixels = np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "nm"})
    return path
